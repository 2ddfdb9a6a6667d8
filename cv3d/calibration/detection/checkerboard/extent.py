"""Where a lattice ends: its trustworthy rectangle, and which of its sides the picture cuts off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.checkerboard.completion import predictions
from cv3d.calibration.detection.checkerboard.lattice import Lattice

SPARSE_RIM = 0.5
"""A rim row with fewer corners than this part of the row inside it is taken for an accident."""
MARGIN_STEPS = 0.4
"""A corner can be judged where so many lattice steps around it are in the picture."""
SEEN_PART = 0.7
"""A side is seen to end where this part of the next row's corners would have been in the picture."""

TOP, LEFT, BOTTOM, RIGHT = range(4)
"""Sides of a lattice in cell coordinates: row 0, column 0, last row, last column."""


@dataclass(frozen=True)
class Extent:
    """What the picture says about the size of the board behind a lattice."""

    rows: int
    cols: int
    corners: int
    """Corners present in the rows x cols rectangle."""
    ends: NDArray[np.bool_]
    """Sides (top, left, bottom, right) where the next row would be in the picture but is not there, (4,)."""

    @property
    def whole(self) -> bool:
        """Whether no corner is missing and the board is seen to end on every side."""
        return bool(self.corners == self.rows * self.cols and self.ends.all())


def without_sparse_rims(lattice: Lattice) -> Lattice:
    """Drop rim rows and columns that hold far fewer corners than the row inside them."""
    while min(lattice.shape) > 2:
        rows, cols = lattice.shape
        per_row = np.bincount(lattice.cells[:, 0], minlength=rows)
        per_col = np.bincount(lattice.cells[:, 1], minlength=cols)
        keep = np.ones(len(lattice), dtype=bool)
        for axis, count in ((0, per_row), (1, per_col)):
            for rim, inner in ((0, 1), (len(count) - 1, len(count) - 2)):
                if count[rim] < SPARSE_RIM * count[inner]:
                    keep &= lattice.cells[:, axis] != rim
        if keep.all() or not keep.any():
            break
        lattice = lattice.take(keep)
    return lattice


def extent_of(lattice: Lattice, picture: tuple[int, int]) -> Extent:
    """The size of a lattice and the sides on which the board is seen to end.

    Args:
        lattice: with its sparse rims already dropped.
        picture: height and width of the picture in pixels.
    """
    rows, cols = lattice.shape
    height, width = picture
    missing = predictions(lattice)
    cells, predicted = missing.cells, missing.predicted
    reach = MARGIN_STEPS * (np.abs(missing.frame[:, :2]).sum(axis=1))
    inside = (
        (predicted[:, 0] - reach[:, 0] > 0)
        & (predicted[:, 1] - reach[:, 1] > 0)
        & (predicted[:, 0] + reach[:, 0] < width - 1)
        & (predicted[:, 1] + reach[:, 1] < height - 1)
    )
    ends = np.zeros(4, dtype=bool)
    beyond = (cells[:, 0] < 0, cells[:, 1] < 0, cells[:, 0] >= rows, cells[:, 1] >= cols)
    for side, members in enumerate(beyond):
        ends[side] = members.any() and inside[members].mean() >= SEEN_PART
    return Extent(rows, cols, len(lattice), ends)
