"""Calibration boards: what they are, and where their points lie on the printed plane.

Point order is row by row, left to right, top to bottom of the printed board, the board's own frame being x right,
y down, z into the board (away from a camera that faces it), the first point at the origin. Lengths are in units of
`pitch`:
the side of a square, the period of tags, or the distance of neighbouring circles; `square_m` gives that unit in metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import UsageError


class BoardType(StrEnum):
    """The kinds of board that are recognised."""

    CHECKERBOARD = "checkerboard"
    CHARUCO = "charuco"
    APRILGRID = "aprilgrid"
    CIRCLES = "circles"
    CIRCLES_ASYMMETRIC = "circles_asymmetric"
    CIRCLES_HEX = "circles_hex"


@dataclass(frozen=True)
class Board:
    """A planar calibration target.

    `rows` and `cols` count what the field counts for each type: inner corners (checkerboard), squares (charuco),
    tags (aprilgrid), circles (circles). circles_asymmetric and circles_hex shift every other row by half a step:
    `cols` counts the circles of one row; their rows lie 1/2 and sqrt(3)/2 of a step apart.
    """

    type: BoardType
    rows: int
    cols: int
    square_m: float | None = None
    """Side of a square, side of a tag, or distance of neighbouring circles, in metres; None: unknown scale."""
    dictionary: str | None = None
    """Marker dictionary in OpenCV's naming without its prefix, e.g. "6X6_250", "APRILTAG_36h11"."""
    marker_ratio: float | None = None
    """charuco: marker side / square side. aprilgrid: gap between tags / tag side (Kalibr's tagSpacing)."""
    first_marker: int = 0
    """The smallest marker id on the board."""
    markers_on_white_first: bool = False
    """charuco: whether the top-left square carries a marker (OpenCV's legacy pattern with an even row count)."""
    inverted: bool = False
    """charuco: black and white exchanged."""
    ids_upward: bool = False
    """aprilgrid: whether the ids ascend from the bottom row to the top one, as Kalibr prints them."""
    first_row_shifted: bool = False
    """Staggered boards: whether the first row, and not the second, starts half a step further right."""

    @property
    def point_count(self) -> int:
        """Number of points that a fully visible board shows."""
        return len(self.points())

    def points(self) -> NDArray[np.float64]:
        """Board-frame coordinates of every point, (n, 3), z = 0, in units of `square_m` (or 1 where unknown)."""
        if self.type is BoardType.APRILGRID:
            return _aprilgrid_points(self.rows, self.cols, self.marker_ratio or 0.0)
        if self.type is BoardType.CIRCLES_ASYMMETRIC:
            return _staggered_points(self.rows, self.cols, 0.5, self.first_row_shifted)
        if self.type is BoardType.CIRCLES_HEX:
            return _staggered_points(self.rows, self.cols, math.sqrt(3.0) / 2.0, self.first_row_shifted)
        inner = 1 if self.type is BoardType.CHARUCO else 0
        rows, cols = self.rows - inner, self.cols - inner
        y, x = np.mgrid[0:rows, 0:cols]
        return np.stack([x.ravel(), y.ravel(), np.zeros(rows * cols)], axis=1).astype(np.float64)

    def points_m(self) -> NDArray[np.float64]:
        """As :meth:`points`, in metres; in units of the square where its size is unknown."""
        return self.points() * (self.square_m if self.square_m is not None else 1.0)

    def with_square(self, square_m: float | None) -> Board:
        """The same board at another scale."""
        return replace(self, square_m=square_m)

    def __str__(self) -> str:
        size = f" {self.square_m * 1000:g} mm" if self.square_m is not None else ""
        dictionary = f" {self.dictionary}" if self.dictionary else ""
        return f"{self.type.value} {self.cols}x{self.rows}{dictionary}{size}"


def _aprilgrid_points(rows: int, cols: int, spacing: float) -> NDArray[np.float64]:
    """Four corners a tag (top-left, top-right, bottom-right, bottom-left), tags row by row from the top-left."""
    if spacing <= 0:
        raise UsageError("an AprilGrid needs its tag spacing (gap / tag side) to place its corners")
    period = 1.0 + spacing
    y, x = np.mgrid[0:rows, 0:cols]
    origin = np.stack([x.ravel(), y.ravel()], axis=1) * period
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
    planar = (origin[:, None, :] + corners[None]).reshape(-1, 2)
    return np.concatenate([planar, np.zeros((len(planar), 1))], axis=1)


def _staggered_points(rows: int, cols: int, row_step: float, first_row_shifted: bool) -> NDArray[np.float64]:
    """`rows` rows of `cols` circles, every other one shifted right by half a step; the unit is the step in a row.

    x = 0 is where the rows that are not shifted start, so that the first point is at x = 0.5 if its row is shifted.
    """
    row, col = np.mgrid[0:rows, 0:cols]
    x = col + 0.5 * ((row + first_row_shifted) % 2)
    y = row_step * row
    return np.stack([x.ravel(), y.ravel(), np.zeros(rows * cols)], axis=1).astype(np.float64)
