"""Procedural surfaces as bitmaps of linear RGB, and their interpolated lookup."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rendering.lens import Floats
from rendering.photo import linear


@dataclass(frozen=True)
class Texture:
    """A bitmap laid on a surface, mirrored beyond its border."""

    pixels: Floats
    """Linear RGB, (h, w, 3)."""
    pixels_per_metre: float

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Colour (3, n) at surface coordinates (n,), metres from the centre of the first texel; bilinear."""
        height, width = self.pixels.shape[:2]
        u, v = _mirrored(x * self.pixels_per_metre, width), _mirrored(y * self.pixels_per_metre, height)
        left, top = np.minimum(u.astype(np.int64), width - 2), np.minimum(v.astype(np.int64), height - 2)
        fu, fv = (u - left)[:, None], (v - top)[:, None]
        flat = self.pixels.reshape(-1, 3)
        first = top * width + left
        upper = flat[first] * (1.0 - fu) + flat[first + 1] * fu
        lower = flat[first + width] * (1.0 - fu) + flat[first + width + 1] * fu
        colour: Floats = (upper * (1.0 - fv) + lower * fv).T
        return colour


def _mirrored(u: Floats, size: int) -> Floats:
    """Coordinates folded into [0, size - 1]."""
    period = 2.0 * (size - 1)
    folded = np.mod(u, period)
    return np.minimum(folded, period - folded)


def cloud(rng: np.random.Generator, height: int, width: int, cell: tuple[float, float], octaves: int = 4) -> Floats:
    """Smooth noise (h, w), zero mean, unit deviation: octaves of upsampled random grids, finer ones weaker."""
    total = np.zeros((height, width))
    for octave in range(octaves):
        step_y, step_x = (max(1.0, size / 2.0**octave) for size in cell)
        grid = rng.standard_normal((int(height / step_y) + 3, int(width / step_x) + 3))
        smooth = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += np.asarray(smooth, np.float64) / 1.7**octave
    total -= total.mean()
    scaled: Floats = total / total.std()
    return scaled


def wood(rng: np.random.Generator, height: int, width: int, contrast: float = 1.0) -> Floats:
    """Planed wood, grain along x, linear RGB (h, w, 3)."""
    grain = cloud(rng, height, width, (height / 12.0, width / 1.5), 5)
    rings = np.sin(5.0 * grain)
    fibre = cloud(rng, height, width, (3.0, 60.0), 2)
    tone = np.clip(0.5 + contrast * (0.16 * rings + 0.07 * fibre), 0.0, 1.0)[..., None]
    return linear((134, 92, 56)) * (1.0 - tone) + linear((190, 146, 98)) * tone


def speckled(rng: np.random.Generator, height: int, width: int, colour: tuple[int, int, int], depth: float) -> Floats:
    """A painted or carpeted surface: one colour, mottled by the relative `depth`."""
    mottle = 1.0 + depth * cloud(rng, height, width, (24.0, 24.0), 4)
    return linear(colour) * np.clip(mottle, 0.2, 2.0)[..., None]
