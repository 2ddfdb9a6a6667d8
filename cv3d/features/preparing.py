"""A picture as extractors get it: without its border, no larger than asked for, and the way back to its own pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.media.trimming import inside_border

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as extractors get it."""

    pixels: NDArray[np.uint8]
    """(H, W, C)."""
    scale: Floats
    """Its width and height over those of the same part of the picture as it was read, (2,)."""
    origin: Floats
    """The pixel of the picture as it was read that is its first, (2,)."""

    def as_read(self, points: Floats) -> Floats:
        """Its pixels (..., 2) in the picture as it was read."""
        # Resizing keeps the picture's corner in place, half a pixel off the centre of the first pixel.
        return (points + 0.5) / self.scale - 0.5 + self.origin


def prepare(pixels: NDArray[np.uint8], max_side: int | None, *, trims_border: bool) -> Prepared:
    """A picture without its constant border, and no larger than asked for.

    Args:
        pixels: (H, W, C).
        max_side: longest side, pixels; None takes it as it is.
        trims_border: whether to leave out a constant border; see :mod:`cv3d.media.trimming`.
    """
    origin = np.zeros(2)
    if trims_border:
        frame = inside_border(pixels)
        pixels, origin = frame.of(pixels), np.array([frame.left, frame.top], dtype=np.float64)
    return Prepared(*shrunk(pixels, max_side), origin)


def shrunk(pixels: NDArray[np.uint8], max_side: int | None) -> tuple[NDArray[np.uint8], Floats]:
    """A picture no larger than asked for.

    Args:
        pixels: (H, W, C).
        max_side: longest side, pixels; None takes it as it is.

    Returns:
        The picture, and new over old width and height, (2,), which rounding may make differ.
    """
    height, width = pixels.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return pixels, np.ones(2)
    factor = max_side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    # OpenCV drops the only channel of a grey picture.
    small = small.reshape(size[1], size[0], -1)
    return small, np.array([size[0] / width, size[1] / height])
