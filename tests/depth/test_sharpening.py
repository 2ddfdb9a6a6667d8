"""Edges of depth are drawn to those of the picture."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from cv3d.depth.sharpening import sharpened

HEIGHT, WIDTH = 80, 100
NEAR = (1.0, 2e-3, -1e-3)
FAR = (0.4, -1e-3, 5e-4)
"""Inverse depth in the middle of the picture, and its change along a row and a column."""


def disc(radius: float) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray((u - WIDTH / 2) ** 2 + (v - HEIGHT / 2) ** 2 < radius**2)


def planes_of(is_near: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Tensor:
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    both = [
        np.stack([w + a * (u - WIDTH / 2) + b * (v - HEIGHT / 2), np.full_like(u, a), np.full_like(u, b)])
        for w, a, b in (NEAR, FAR)
    ]
    return torch.from_numpy(np.where(is_near, *both).astype(np.float32))


def picture(seed: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """A mottled blue disc before a mottled brown wall."""
    mottled = cv2.GaussianBlur(np.random.default_rng(seed).normal(0.0, 30.0, (HEIGHT, WIDTH)), (0, 0), 1.5)
    colors = np.where(disc(22.0)[..., None], (60.0, 80.0, 160.0), (130.0, 100.0, 70.0)) + mottled[..., None]
    return np.asarray(colors.clip(0.0, 255.0), np.uint8)


COSTS = torch.full((HEIGHT, WIDTH), 0.1)


def test_what_is_too_large_shrinks_to_its_outline() -> None:
    # By a pixel or two at a time: depth is sharpened after each step.
    for seed in range(3):
        fat = planes_of(disc(25.0))
        found = fat
        for _ in range(3):
            found = sharpened(found, COSTS, picture(seed))
        true = planes_of(disc(22.0))
        band = torch.from_numpy(disc(25.0) & ~disc(22.0))
        assert not torch.isclose(fat[0][band], true[0][band]).any()
        # What a pixel takes over continues the plane of its surface: to the true depth there, not that of its origin.
        right = torch.isclose(found, true, rtol=1e-4, atol=1e-6).all(dim=0)
        assert right[band].float().mean() > 0.98
        assert right[~band].float().mean() > 0.999


def test_single_pixels_near_an_edge_that_lie_elsewhere_are_taken_along() -> None:
    planes, costs = planes_of(disc(22.0)), COSTS.clone()
    rng = np.random.default_rng(0)
    stray = torch.from_numpy((rng.random((HEIGHT, WIDTH)) < 0.05) & disc(26.0) & ~disc(18.0))
    planes[0][stray] *= 0.7
    costs[stray] = 0.4
    found = sharpened(planes, costs, picture(0))
    assert torch.isclose(found[0], planes_of(disc(22.0))[0], rtol=1e-4)[stray].float().mean() > 0.95


def test_surfaces_without_edges_stay_as_they_are() -> None:
    planes = planes_of(disc(0.0))
    assert torch.equal(sharpened(planes, COSTS, picture(0)), planes)
    # Slanted, and as noisy as depth is: no ratio of 1.03 anywhere.
    planes[0] *= 1.0 + 0.003 * torch.randn(planes[0].shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sharpened(planes, COSTS, picture(0)), planes)


def test_a_larger_picture_is_reduced() -> None:
    large = cv2.resize(picture(0), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_NEAREST)
    fat = planes_of(disc(25.0))
    assert torch.equal(sharpened(fat, COSTS, np.asarray(large, np.uint8)), sharpened(fat, COSTS, picture(0)))


def test_the_planes_given_are_not_changed() -> None:
    fat = planes_of(disc(25.0))
    before = fat.clone()
    sharpened(fat, COSTS, picture(0))
    assert torch.equal(fat, before)
