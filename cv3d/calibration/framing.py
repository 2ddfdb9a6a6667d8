"""Bringing pictures of different size or orientation into one image frame.

A camera has one sensor; a set of pictures may still mix portrait with landscape, upside-down ones, or copies resized or
cropped on their way. Each such picture gets the ways in which its pixels may map into the common frame; the calibrated
camera then tells which of them, if any, is true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
_SAME_ASPECT = 2e-3


@dataclass(frozen=True)
class Framing:
    """A way in which a picture's pixels map into the common image frame: `common = matrix @ pixel + offset`."""

    matrix: NDArray[np.float64]
    """(2, 2)."""
    offset: NDArray[np.float64]
    """(2,), pixels."""
    note: str
    """In words for the user; empty for a picture that is in the common frame as it is."""

    def apply(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (n, 2) in the common frame."""
        return pixels @ self.matrix.T + self.offset


AS_IS = Framing(np.eye(2), np.zeros(2), "")


def common_frame(sizes: Sequence[Size], orientations: Sequence[int]) -> tuple[Size, int]:
    """The size, and the EXIF orientation, that most pictures have."""
    return Counter(zip(sizes, orientations, strict=True)).most_common(1)[0][0]


def framings(size: Size, orientation: int, common: Size, common_orientation: int) -> list[Framing]:
    """The ways in which a picture may relate to the common frame; empty: none that is plausible.

    Args:
        size: width and height of the picture as displayed, pixels.
        orientation: EXIF orientation that was applied to display it (1: none).
        common: width and height of the common frame.
        common_orientation: EXIF orientation applied in the common frame.
    """
    turns = _turns(orientation, common_orientation)
    if turns is None or not any(_alike(_turned(size, quarter), common) for quarter in turns):
        turns = [0] if _alike(size, common) else [1, 3]
    found: list[Framing] = []
    for quarter in turns:
        turned = _turned(size, quarter)
        found.extend(_scaled(rotation, common) for rotation in [_rotated(size, quarter)] if _alike(turned, common))
        if turned != common and max(abs(turned[0] - common[0]), abs(turned[1] - common[1])) <= 2:
            found.append(_rotated(size, quarter).framing("cropped by a row or column"))
    return found


@dataclass(frozen=True)
class _Rotated:
    """A picture turned by quarters, and its size after."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    size: Size
    quarter: int

    def framing(self, note: str) -> Framing:
        return Framing(self.matrix, self.offset, note)


def _rotated(size: Size, quarter: int) -> _Rotated:
    """Clockwise quarter turns of a picture about its own frame."""
    width, height = size
    matrices = {0: [[1, 0], [0, 1]], 1: [[0, -1], [1, 0]], 2: [[-1, 0], [0, -1]], 3: [[0, 1], [-1, 0]]}
    offsets = {0: [0, 0], 1: [height - 1, 0], 2: [width - 1, height - 1], 3: [0, width - 1]}
    return _Rotated(
        np.array(matrices[quarter], float), np.array(offsets[quarter], float), _turned(size, quarter), quarter
    )


def _turned(size: Size, quarter: int) -> Size:
    return size if quarter % 2 == 0 else (size[1], size[0])


def _scaled(rotated: _Rotated, common: Size) -> Framing:
    """Scale a turned picture to the common size; pixel centres are at integers, hence the half pixel."""
    factor = np.array([common[0] / rotated.size[0], common[1] / rotated.size[1]])
    matrix = factor[:, None] * rotated.matrix
    offset = factor * (rotated.offset + 0.5) - 0.5
    notes = []
    if rotated.quarter:
        notes.append(f"turned by {90 * rotated.quarter} degrees")
    if not np.allclose(factor, 1.0):
        notes.append(f"scaled from {rotated.size[0]}x{rotated.size[1]}")
    return Framing(matrix, offset, ", ".join(notes))


def _turns(orientation: int, common: int) -> list[int] | None:
    """Clockwise quarter turns from the displayed picture to the common frame; None where EXIF does not tell."""
    clockwise = {1: 0, 6: 1, 3: 2, 8: 3}
    if orientation == common or orientation not in clockwise or common not in clockwise:
        return None
    return [(clockwise[common] - clockwise[orientation]) % 4]


def _alike(size: Size, common: Size) -> bool:
    return abs(size[0] / size[1] / (common[0] / common[1]) - 1.0) < _SAME_ASPECT
