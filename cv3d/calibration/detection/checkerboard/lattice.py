"""Corners with integer cell coordinates, and the neighbourhood arithmetic on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.checkerboard.pyramid import Float64

Cells = NDArray[np.int64]

DIRECTIONS: Cells = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]], dtype=np.int64)
"""(row, col) steps to the four neighbours, in the sense from +x towards +y of the picture."""


@dataclass(frozen=True)
class Lattice:
    """Corners of one checkerboard, or of a part of one. Columns, then rows turn from +x towards +y: never mirrored."""

    cells: Cells
    """Row and column of each corner, (n, 2); the smallest of each is 0."""
    pixels: Float64
    """Positions in the picture, (n, 2)."""
    light_origin: bool
    """Whether the squares diagonally next to the corner at (0, 0), towards (1, 1) and (-1, -1), are the light ones."""

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the bounding rectangle."""
        rows, cols = self.cells.max(axis=0) + 1
        return int(rows), int(cols)

    def light(self, cells: Cells) -> NDArray[np.bool_]:
        """Whether the squares towards (+1, +1) and (-1, -1) of each corner are the light ones."""
        return np.asarray((cells.sum(axis=-1) % 2 == 0) == self.light_origin, dtype=bool)

    def dense(self, margin: int = 0) -> Float64:
        """Positions on the grid, (rows + 2 margin, cols + 2 margin, 2); nan where there is no corner."""
        rows, cols = self.shape
        grid = np.full((rows + 2 * margin, cols + 2 * margin, 2), np.nan)
        grid[self.cells[:, 0] + margin, self.cells[:, 1] + margin] = self.pixels
        return grid

    def take(self, keep: NDArray[np.bool_]) -> Lattice:
        """The lattice of some of its corners, its origin moved to their smallest row and column."""
        return make_lattice(self.cells[keep], self.pixels[keep], self.light(self.cells[keep]))


def make_lattice(cells: Cells, pixels: Float64, light: NDArray[np.bool_]) -> Lattice:
    """A lattice in normal form: row-major order, smallest row and column 0. `light` as in :meth:`Lattice.light`."""
    if len(cells) == 0:
        return Lattice(np.zeros((0, 2), np.int64), np.zeros((0, 2)), True)
    moved = cells - cells.min(axis=0)
    order = np.lexsort((moved[:, 1], moved[:, 0]))
    light_origin = bool(((moved.sum(axis=1) % 2 == 0) == light).mean() > 0.5)
    return Lattice(moved[order].astype(np.int64), pixels[order].astype(np.float64), light_origin)


def turned(lattice: Lattice, quarter_turns: int) -> Lattice:
    """The same corners with the cell axes turned by quarter turns; handedness is kept."""
    cells, light = lattice.cells, lattice.light(lattice.cells)
    for _ in range(quarter_turns % 4):
        cells = np.stack([cells[:, 1], -cells[:, 0]], axis=1)
        light = ~light
    return make_lattice(cells, lattice.pixels, light)


def frames(grid: Float64) -> Float64:
    """Steps from every place of a dense grid to its four neighbours, in the order of :data:`DIRECTIONS`.

    (rows, cols, 4, 2). Where a neighbour is missing, the mirrored step to the opposite one; nan where that is missing.
    """
    away = [shifted(grid, -int(step[axis]), axis) - grid for axis, step in zip((1, 0, 1, 0), DIRECTIONS, strict=True)]
    return np.stack([np.where(np.isnan(away[k]), -away[(k + 2) % 4], away[k]) for k in range(4)], axis=2)


def shifted(grid: Float64, by: int, axis: int) -> Float64:
    """`grid` moved by some places along an axis, nan moving in: `shifted(g, 1, 0)[r] == g[r - 1]`."""
    moved = np.full_like(grid, np.nan)
    size = grid.shape[axis]
    if abs(by) >= size:
        return moved
    source = [slice(None)] * grid.ndim
    target = [slice(None)] * grid.ndim
    source[axis] = slice(max(0, -by), size - max(0, by))
    target[axis] = slice(max(0, by), size - max(0, -by))
    moved[tuple(target)] = grid[tuple(source)]
    return moved


def neighbour_mean(grid: Float64, *, with_centre: bool = False) -> Float64:
    """Mean over the eight neighbours (and the place itself) that have a value; nan where none has."""
    total, count = np.zeros_like(grid), np.zeros(grid.shape)
    for by_row in (-1, 0, 1):
        for by_col in (-1, 0, 1):
            if (by_row, by_col) == (0, 0) and not with_centre:
                continue
            moved = shifted(shifted(grid, by_row, 0), by_col, 1)
            known = np.isfinite(moved)
            total += np.where(known, moved, 0.0)
            count += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
