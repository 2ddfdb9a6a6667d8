"""The pictures on the room's surfaces: bricks, planks, posters, blots. Drawn as bitmaps, rich in corners."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rendering.photo import linear
from rendering.textures import Texture, cloud

Canvas = NDArray[np.uint8]
"""sRGB, (h, w, 3)."""

_WARM = ((178, 58, 46), (224, 164, 60), (236, 226, 196), (40, 60, 92), (72, 130, 120), (30, 30, 34), (150, 80, 110))
_COOL = ((36, 76, 120), (110, 170, 190), (238, 236, 228), (222, 120, 60), (60, 66, 72), (130, 170, 90), (24, 26, 40))


def finish(canvas: Canvas, per_metre: float, rng: np.random.Generator, mottle: float = 0.08) -> Texture:
    """A drawn canvas as a texture, its colours made linear and mottled by the relative `mottle`."""
    height, width = canvas.shape[:2]
    grain = 1.0 + mottle * cloud(rng, height, width, (12.0, 12.0), 3)
    return Texture(linear(canvas) * np.clip(grain, 0.3, 1.7)[..., None], per_metre)


def bricks(rng: np.random.Generator, height: int, width: int, per_metre: float) -> Canvas:
    """Running bond, every brick of its own shade."""
    canvas: Canvas = np.full((height, width, 3), (176, 170, 160), np.uint8)
    long, tall, joint = 0.24 * per_metre, 0.085 * per_metre, 0.012 * per_metre
    for row in range(int(height / tall) + 1):
        shift = 0.5 * long * (row % 2)
        for col in range(-1, int(width / long) + 1):
            shade = np.array([158, 86, 66]) * rng.uniform(0.62, 1.18) + rng.normal(0.0, 7.0, 3)
            left, top = int(col * long + shift + joint / 2), int(row * tall + joint / 2)
            corner = (int(left + long - joint), int(top + tall - joint))
            cv2.rectangle(canvas, (left, top), corner, np.clip(shade, 0, 255).tolist(), -1, cv2.LINE_AA)
    return canvas


def planks(rng: np.random.Generator, height: int, width: int, per_metre: float, board_m: float) -> Canvas:
    """Boards of wood along x, with joints and knots."""
    tall = board_m * per_metre
    grain = cloud(rng, height, width, (tall / 5.0, width / 3.0), 5)
    canvas = np.empty((height, width, 3), np.float64)
    dark, bright = np.array([104, 66, 38.0]), np.array([204, 158, 108.0])
    for row in range(int(height / tall) + 1):
        lines = slice(int(row * tall), min(int((row + 1) * tall), height))
        start = -rng.uniform(0.0, 0.9) * per_metre
        while start < width:
            end = start + rng.uniform(0.6, 1.1) * per_metre
            columns = slice(max(int(start), 0), max(int(end), 0))
            tone = 0.5 + 0.3 * np.sin(4.5 * grain[lines, columns] + rng.uniform(0, 6.3)) + rng.normal(0.0, 0.14)
            canvas[lines, columns] = dark + np.clip(tone, 0, 1)[..., None] * (bright - dark)
            canvas[lines, columns][:, :2] = (46, 30, 20)
            start = end
        canvas[lines][:2] = (46, 30, 20)
    drawn: Canvas = canvas.astype(np.uint8)
    for _ in range(int(height * width / (0.12 * per_metre**2))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        axes = (int(rng.uniform(0.006, 0.016) * per_metre), int(rng.uniform(0.004, 0.009) * per_metre))
        cv2.ellipse(drawn, centre, axes, rng.uniform(0, 40), 0, 360, (62, 36, 22), -1, cv2.LINE_AA)
    return drawn


def plaster(height: int, width: int, colour: tuple[int, int, int]) -> Canvas:
    """One flat coat of paint."""
    canvas: Canvas = np.full((height, width, 3), colour, np.uint8)
    return canvas


def poster(rng: np.random.Generator, height: int, width: int, *, cool: bool) -> Canvas:
    """A framed sheet of random triangles, discs, bars and rows of marks like lettering."""
    palette = _COOL if cool else _WARM
    canvas: Canvas = np.full((height, width, 3), palette[int(rng.integers(len(palette)))], np.uint8)
    size = min(height, width)
    for _ in range(46):
        colour = palette[int(rng.integers(len(palette)))]
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        reach = size * rng.uniform(0.04, 0.28)
        kind = int(rng.integers(3))
        if kind == 0:
            corners = np.array([x, y]) + rng.uniform(-reach, reach, (int(rng.integers(3, 6)), 2))
            cv2.fillPoly(canvas, [corners.astype(np.int32).reshape(-1, 1, 2)], colour, cv2.LINE_AA)
        elif kind == 1:
            cv2.circle(canvas, (int(x), int(y)), int(0.4 * reach) + 2, colour, -1, cv2.LINE_AA)
        else:
            box = cv2.boxPoints(((x, y), (1.6 * reach, 0.3 * reach + 2), rng.uniform(0, 180)))
            cv2.fillPoly(canvas, [box.astype(np.int32).reshape(-1, 1, 2)], colour, cv2.LINE_AA)
    letter = max(4, int(size * 0.05))
    for line in range(3):
        y, x = int(height * 0.74) + line * int(1.7 * letter), int(0.1 * width)
        while x < 0.85 * width:
            wide = int(rng.integers(letter // 2, 2 * letter))
            cv2.rectangle(canvas, (x, y), (x + wide, y + letter), palette[5], -1)
            x += wide + int(rng.integers(2, letter))
    cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), (26, 24, 22), max(3, size // 40))
    return canvas


def hang(wall: Canvas, picture: Canvas, left: int, top: int) -> None:
    """Put a picture onto a wall, with a thin shadow below and beside it."""
    height, width = picture.shape[:2]
    shade = wall[top + 6 : top + height + 6, left + 6 : left + width + 6]
    shade[:] = (shade * 0.55).astype(np.uint8)
    wall[top : top + height, left : left + width] = picture


def blots(rng: np.random.Generator, height: int, width: int, *, cool: bool, count: int) -> Canvas:
    """Glazed pottery: overlapping blots, wedges and dots of all sizes."""
    palette = _COOL if cool else _WARM
    canvas: Canvas = np.full((height, width, 3), palette[2], np.uint8)
    for _ in range(count):
        colour = tuple(int(c) for c in np.clip(np.array(palette[int(rng.integers(7))]) * rng.uniform(0.7, 1.2), 0, 255))
        x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        reach = 0.02 * width + 0.10 * width * rng.uniform() ** 3
        if rng.uniform() < 0.6:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            corners = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)
            cv2.fillPoly(canvas, [corners.astype(np.int32).reshape(-1, 1, 2)], colour, cv2.LINE_AA)
        else:
            cv2.circle(canvas, (x, y), int(0.5 * reach) + 1, colour, -1, cv2.LINE_AA)
    return canvas
