"""Which corner of the board is which corner of a lattice.

Convention: where the colours tell the board's orientations apart (rows + cols odd; or, up to half a turn, a square
board with an odd number of rows), the outer square at the top left of the printed pattern, diagonally outside
corner (0, 0), is black. Of orientations that remain equivalent, the one whose x axis points most to the right of the
picture is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board
from cv3d.calibration.detection.checkerboard.extent import BOTTOM, LEFT, RIGHT, TOP, extent_of
from cv3d.calibration.detection.checkerboard.lattice import Lattice, turned
from cv3d.calibration.detection.checkerboard.pyramid import Float64

_SIDE_MERIT = {(True, True): 1.0, (False, False): 1.0, (True, False): 0.75, (False, True): 0.0}
"""By whether the lattice's side lies on the board's rim, and whether the board is seen to end there."""
_FULL_MERIT = 0.6
"""For showing exactly as many rows or columns as the board has, which chance seldom does."""


@dataclass(frozen=True)
class Placement:
    """A lattice in the frame of the board."""

    lattice: Lattice
    """Turned into the board's orientation."""
    row: int
    """Board row of the lattice's row 0."""
    col: int
    """Board column of the lattice's column 0."""


def place(lattice: Lattice, board: Board, picture: tuple[int, int]) -> Placement | None:
    """The most plausible placement of a lattice on the board; None where it does not fit.

    A smaller lattice goes where the sides that the picture cuts off have board left beyond them and the sides that are
    seen to end lie on the board's rim; what remains open is decided for the smallest row and column.
    """
    best: tuple[tuple[float, ...], Placement] | None = None
    ends = extent_of(lattice, picture).ends
    for turns in range(4):
        candidate = turned(lattice, turns)
        rows, cols = candidate.shape
        if rows > board.rows or cols > board.cols:
            continue
        upright = _rightwards(candidate)
        for row in range(board.rows - rows + 1):
            for col in range(board.cols - cols + 1):
                black_first = candidate.light_origin == ((row + col) % 2 == 1)
                if _colours_decide(board) and not black_first:
                    continue
                merit = (_agreement(candidate, np.roll(ends, -turns), board, row, col), upright, -row, -col)
                if best is None or merit > best[0]:
                    best = merit, Placement(candidate, row, col)
    return best[1] if best is not None else None


def _colours_decide(board: Board) -> bool:
    return (board.rows + board.cols) % 2 == 1 or (board.rows == board.cols and board.rows % 2 == 1)


def _agreement(lattice: Lattice, ends: NDArray[np.bool_], board: Board, row: int, col: int) -> float:
    """How well the sides fit: the board should go on beyond a side exactly if it is not seen to end there."""
    rows, cols = lattice.shape
    spare = {TOP: row, LEFT: col, BOTTOM: board.rows - row - rows, RIGHT: board.cols - col - cols}
    sides = sum(_SIDE_MERIT[(beyond == 0, bool(ends[side]))] for side, beyond in spare.items())
    return sides + _FULL_MERIT * ((rows == board.rows) + (cols == board.cols))


def _rightwards(lattice: Lattice) -> float:
    """Cosine of the angle between the lattice's x axis and the picture's."""
    grid = lattice.dense()
    mean: Float64 = np.nanmean((grid[:, 1:] - grid[:, :-1]).reshape(-1, 2), axis=0)
    return round(float(mean[0] / np.linalg.norm(mean)), 6)
