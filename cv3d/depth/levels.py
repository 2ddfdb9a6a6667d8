"""Views at halving sizes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

COARSEST_SIDE = 120
"""Pixels along the longer side of the smallest pictures, at least: fewer would show nothing to match."""


@dataclass(frozen=True, eq=False)
class Level:
    """One view at one size."""

    gray: Bytes
    """(h, w)."""
    matrix: Floats
    """Pinhole camera matrix of this size, (3, 3)."""
    cam_from_world: Floats
    """(4, 4)."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = self.gray.shape
        return height, width


def pyramid(color: Bytes, camera: Camera, cam_from_world: Floats) -> tuple[Level, ...]:
    """A view at its own size, half of it, and so on, the smallest last; each pixel is a mean over its area.

    Args:
        color: RGB, (h, w, 3).
        camera: pinhole, of that size.
        cam_from_world: (4, 4).
    """
    gray = np.asarray(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), np.uint8)
    fx, fy, cx, cy = camera.params[:4]
    whole = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    height, width = gray.shape
    levels = [Level(gray, whole, cam_from_world)]
    while max(levels[-1].size) >= 2 * COARSEST_SIDE and min(levels[-1].size) >= 32:
        part = 0.5 ** len(levels)
        h, w = max(1, round(height * part)), max(1, round(width * part))
        small = np.asarray(cv2.resize(gray, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
        # The corner of the picture stays in place, not the centre of its first pixel.
        matrix = whole.copy()
        for row, share in ((0, w / width), (1, h / height)):
            matrix[row] *= share
            matrix[row, 2] += 0.5 * share - 0.5
        levels.append(Level(small, matrix, cam_from_world))
    return tuple(levels)
