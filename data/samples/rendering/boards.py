"""Printed boards, evaluated analytically: how much ink lies at a point of the paper, and where the corners are.

Board frame: x right, y down, z into the board, metres; the origin is the first inner corner. Points go row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rendering.lens import Floats


class Target(Protocol):
    """A board on a sheet of paper."""

    @property
    def sheet(self) -> tuple[float, float, float, float]:
        """The paper's rectangle: left, top, right, bottom, metres."""

    @property
    def outline(self) -> tuple[float, float, float, float]:
        """The printed pattern's rectangle: left, top, right, bottom, metres."""

    def points(self) -> Floats:
        """The inner corners, (3, n), metres, z = 0."""

    def ink(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Whether the paper is printed black at board-frame (x, y)."""

    def describe(self) -> dict[str, Any]:
        """The ground-truth entry."""


def _inner_corners(rows: int, cols: int, square: float) -> Floats:
    y, x = np.mgrid[0:rows, 0:cols] * square
    return np.stack([x.ravel(), y.ravel(), np.zeros(rows * cols)]).astype(np.float64)


def _squares_outline(rows: int, cols: int, square: float) -> tuple[float, float, float, float]:
    """The rectangle of `rows` x `cols` squares, the origin being the first inner corner."""
    return -square, -square, (cols - 1) * square, (rows - 1) * square


def _grow(rectangle: tuple[float, float, float, float], dx: float, dy: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = rectangle
    return left - dx, top - dy, right + dx, bottom + dy


@dataclass(frozen=True)
class Checkerboard:
    """Black and white squares with `rows` x `cols` inner corners; the top-left square is black."""

    rows: int
    cols: int
    square: float
    margin: tuple[float, float]
    """White paper beside and above the pattern, metres."""

    @property
    def outline(self) -> tuple[float, float, float, float]:
        """The printed pattern's rectangle."""
        return _squares_outline(self.rows + 1, self.cols + 1, self.square)

    @property
    def sheet(self) -> tuple[float, float, float, float]:
        """The paper's rectangle."""
        return _grow(self.outline, *self.margin)

    def points(self) -> Floats:
        """The inner corners, (3, n)."""
        return _inner_corners(self.rows, self.cols, self.square)

    def ink(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Black where column and row of squares are both odd or both even."""
        col, row = np.floor(x / self.square).astype(np.int32), np.floor(y / self.square).astype(np.int32)
        inside = (col >= -1) & (col < self.cols) & (row >= -1) & (row < self.rows)
        black: NDArray[np.bool_] = inside & (((col + row) & 1) == 0)
        return black

    def describe(self) -> dict[str, Any]:
        """The ground-truth entry; rows and cols count inner corners."""
        return {"type": "checkerboard", "rows": self.rows, "cols": self.cols, "square_m": self.square}


@dataclass(frozen=True)
class Charuco:
    """OpenCV's ChArUco board in its current (not legacy) layout: a black square first, markers on the white ones."""

    rows: int
    cols: int
    square: float
    marker_ratio: float
    dictionary: str
    """OpenCV's name of the marker dictionary without its prefix."""
    margin: tuple[float, float]
    """White paper beside and above the pattern, metres."""

    @property
    def outline(self) -> tuple[float, float, float, float]:
        """The printed pattern's rectangle."""
        return _squares_outline(self.rows, self.cols, self.square)

    @property
    def sheet(self) -> tuple[float, float, float, float]:
        """The paper's rectangle."""
        return _grow(self.outline, *self.margin)

    def points(self) -> Floats:
        """The inner corners, (3, n)."""
        return _inner_corners(self.rows - 1, self.cols - 1, self.square)

    @cached_property
    def _cells(self) -> NDArray[np.bool_]:
        """Black cells of every marker, (markers, n, n), its black border included."""
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{self.dictionary}"))
        side = dictionary.markerSize + 2
        count = self.rows * self.cols // 2
        return np.stack([cv2.aruco.generateImageMarker(dictionary, i, side) == 0 for i in range(count)])

    @cached_property
    def _marker_at(self) -> NDArray[np.int32]:
        """Marker id of every square, (rows, cols); -1 on black squares. Ids go row by row."""
        row, col = np.mgrid[0 : self.rows, 0 : self.cols]
        white = (row + col) % 2 == 1
        ids = np.full((self.rows, self.cols), -1, np.int32)
        ids[white] = np.arange(int(white.sum()))
        return ids

    def ink(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Black squares, and the black cells of the markers centred in the white ones."""
        u, v = x / self.square + 1.0, y / self.square + 1.0
        col, row = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
        inside = (col >= 0) & (col < self.cols) & (row >= 0) & (row < self.rows)
        black: NDArray[np.bool_] = inside & (((col + row) & 1) == 0)
        where = np.flatnonzero(inside & ~black)
        side = self._cells.shape[1]
        cells_per_square = side / self.marker_ratio
        border = 0.5 * (1.0 - self.marker_ratio)
        cell_x = np.floor((u[where] - col[where] - border) * cells_per_square).astype(np.int32)
        cell_y = np.floor((v[where] - row[where] - border) * cells_per_square).astype(np.int32)
        on = (cell_x >= 0) & (cell_x < side) & (cell_y >= 0) & (cell_y < side)
        where, cell_x, cell_y = where[on], cell_x[on], cell_y[on]
        black[where] = self._cells[self._marker_at[row[where], col[where]], cell_y, cell_x]
        return black

    def describe(self) -> dict[str, Any]:
        """The ground-truth entry; rows and cols count squares."""
        return {
            "type": "charuco",
            "rows": self.rows,
            "cols": self.cols,
            "square_m": self.square,
            "dictionary": self.dictionary,
            "marker_ratio": self.marker_ratio,
        }
