"""The constant border that undistortion, letterboxes and scanners leave around a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 12
"""Grey levels by which a border's pixels may differ from its level: what JPEG makes of a constant."""
_SHARE = 0.99
"""Of a line's pixels that have to be at the border's level."""
_DEEPEST = 0.15
"""Of a picture's side that a border may take up; what is more is a dark part of the scene."""
_RINGING = 2
"""Lines next to a border that the compression of its edge still touches."""


@dataclass(frozen=True)
class Frame:
    """The part of a picture inside its border."""

    left: int
    """First column of it."""
    top: int
    """First row of it."""
    right: int
    """First column after it."""
    bottom: int
    """First row after it."""

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """That part of the pixels (H, W) or (H, W, C), contiguous."""
        return np.ascontiguousarray(pixels[self.top : self.bottom, self.left : self.right])


def inside_border(pixels: NDArray[np.uint8]) -> Frame:
    """The part of a picture that a constant border surrounds; the whole picture where there is none.

    A side's outermost lines count as border as long as nearly all of their pixels are of the outermost line's level.
    Two further lines go with it, for what compression does beside an edge. A side without anything but level is left
    alone: it is no border but a dark picture, or a bright sky.

    Args:
        pixels: (H, W) grey or (H, W, 3) RGB.
    """
    height, width = pixels.shape[:2]
    left = _depth(lambda index: _grey(pixels[:, index]), width)
    right = _depth(lambda index: _grey(pixels[:, width - 1 - index]), width)
    top = _depth(lambda index: _grey(pixels[index]), height)
    bottom = _depth(lambda index: _grey(pixels[height - 1 - index]), height)
    return Frame(left, top, width - right, height - bottom)


def _depth(line: Callable[[int], NDArray[np.uint8]], count: int) -> int:
    """How many of the first of `count` lines are border. Most pictures have none, so lines are looked at one by one."""
    deepest = int(_DEEPEST * count)
    level = int(np.median(line(0)))
    for depth in range(deepest + 1):
        off = np.abs(line(depth).astype(np.int16) - level) > _TOLERANCE
        if not off.mean() <= 1.0 - _SHARE:
            return depth + _RINGING if depth else 0
    return 0


def _grey(line: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return line if line.ndim == 1 else line.mean(axis=1).astype(np.uint8)
