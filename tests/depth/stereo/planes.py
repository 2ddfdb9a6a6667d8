"""Rectified pairs of textured planes with exact disparities of both sides, made without any renderer."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

HEIGHT, WIDTH = 120, 200


@dataclass(frozen=True)
class Plane:
    """A surface whose disparity is a + b x + c y at the column x and the row y of the left picture."""

    a: float
    b: float = 0.0
    c: float = 0.0
    columns: tuple[float, float] = (-1e6, 1e6)
    """Its extent in the left picture."""
    rows: tuple[float, float] = (-1e6, 1e6)


@dataclass(frozen=True)
class PlanePair:
    left: np.ndarray
    right: np.ndarray
    truth: np.ndarray
    right_truth: np.ndarray


def pair_of(planes: list[Plane], noise: float = 1.0, gain: float = 1.0, seed: int = 0) -> PlanePair:
    """What both cameras see of planes; the right one has another gain, both have noise of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    pictures = [np.zeros((HEIGHT, WIDTH)) for _ in range(2)]
    truths = [np.full((HEIGHT, WIDTH), -1.0) for _ in range(2)]
    for number, plane in enumerate(planes):
        texture = _texture(seed + number)
        for side in range(2):
            # The column of the left picture where the right picture's pixel lies.
            left_x = x if side == 0 else (x + plane.a + plane.c * y) / (1.0 - plane.b)
            disparity = plane.a + plane.b * left_x + plane.c * y
            inside = (left_x >= plane.columns[0]) & (left_x < plane.columns[1])
            inside &= (y >= plane.rows[0]) & (y < plane.rows[1]) & (disparity > truths[side])
            pictures[side][inside] = _sampled(texture, left_x, y)[inside]
            truths[side][inside] = disparity[inside]
    noisy = [
        one * factor + rng.normal(0.0, noise, one.shape) for one, factor in zip(pictures, (1.0, gain), strict=True)
    ]
    left, right = (np.clip(np.rint(one), 0, 255).astype(np.uint8) for one in noisy)
    return PlanePair(left, right, truths[0].astype(np.float32), truths[1].astype(np.float32))


def _texture(seed: int) -> np.ndarray:
    """Four samples a pixel, with detail of two pixels and more, and 60 pixels around."""
    noise = np.random.default_rng([7, seed]).normal(0.0, 1.0, (4 * (HEIGHT + 20), 4 * (WIDTH + 120)))
    fine, coarse = cv2.GaussianBlur(noise, (0, 0), 4.0), cv2.GaussianBlur(noise, (0, 0), 20.0)
    mixed = fine / fine.std() + 0.7 * coarse / coarse.std()
    return (125.0 + 30.0 * mixed).astype(np.float32)


def _sampled(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    places = [(4.0 * (one + margin)).astype(np.float32) for one, margin in ((x, 60.0), (y, 10.0))]
    return cv2.remap(texture, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
