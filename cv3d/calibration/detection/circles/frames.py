"""Rows and columns for the dots of a lattice: every way in which a board can be laid onto it.

A staggered board is addressed by its row and by half-steps along the row, `half = 2 * col`, and one more in the rows
that are shifted: every odd one, or every even one. A regular board is addressed by row and column. The
candidates are the rotations that map the lattice onto itself (a board is never mirrored), each with the smallest board
of that type that holds the dots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import BoardType

CIRCLE_TYPES = (BoardType.CIRCLES, BoardType.CIRCLES_ASYMMETRIC, BoardType.CIRCLES_HEX)

_QUARTER = np.array([[0, -1], [1, 0]])
_SIXTH = np.array([[0, -1], [1, 1]])
"""Rotation of the lattice by its own symmetry, columns: images of the two steps."""


@dataclass(frozen=True)
class Frame:
    """One way to number the dots of a lattice."""

    type: BoardType
    rows: int
    cols: int
    """The smallest board that holds them."""
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    """Of each dot, (n,)."""
    kept: NDArray[np.intp]
    """Which dots of the lattice these are, (n,)."""
    turn: NDArray[np.int64]
    """(2, 2): maps lattice coordinates to (half, row), or to (col, row) of a regular board."""
    shifted: bool = False
    """Staggered boards: whether the rows further right are the first, third, ... and not the second, fourth, ..."""

    @property
    def along(self) -> NDArray[np.int64]:
        """Place of each dot along its row, (n,): in half-steps, or in steps of a regular board."""
        if self.type is BoardType.CIRCLES:
            return self.col
        return 2 * self.col + (self.row + self.shifted) % 2

    @property
    def missing(self) -> int:
        """How many dots of that smallest board are not there."""
        return self.rows * self.cols - len(self.row)

    @property
    def fill(self) -> float:
        """Which share of that smallest board is there."""
        return len(self.row) / (self.rows * self.cols)


def candidate_frames(board_type: BoardType, cells: NDArray[np.int64], gram: NDArray[np.float64]) -> list[Frame]:
    """All frames of `board_type` for dots at `cells` (n, 2) of a lattice with Gram matrix `gram` (2, 2)."""
    kept = np.arange(len(cells))
    frames = []
    for turn in _turns(board_type, gram):
        frame = frame_of(board_type, cells, kept, turn)
        frames.append(frame)
        if board_type is not BoardType.CIRCLES:
            frames.append(frame_of(board_type, cells, kept, turn, shifted=True))
    return frames


def frame_of(
    board_type: BoardType,
    cells: NDArray[np.int64],
    kept: NDArray[np.intp],
    turn: NDArray[np.int64],
    shifted: bool = False,
) -> Frame:
    """The frame of the dots `kept` whose (half, row), or (col, row) of a regular board, are `turn` times their cell.

    `shifted` reads a staggered board as one whose first row starts further right than the next one.
    """
    along, row = turn @ cells[kept].T
    row = row - row.min()
    if board_type is BoardType.CIRCLES:
        col = along - along.min()
        return Frame(board_type, int(row.max()) + 1, int(col.max()) + 1, row, col, kept, turn)
    # Smallest shift that gives rows on the left even half-steps from 0 and those on the right odd ones from 1.
    odd = (row + shifted) % 2
    shift = int((odd - along).max())
    if (int(along[0]) + shift - int(odd[0])) % 2:
        shift += 1
    col = (along + shift - odd) // 2
    return Frame(board_type, int(row.max()) + 1, int(col.max()) + 1, row, col, kept, turn, shifted)


def trimmed(frame: Frame, cells: NDArray[np.int64], share: float, size: tuple[int, int] | None = None) -> Frame:
    """`frame` without outer lines that hold less than `share` of what they could: clutter beside the board.

    With `size` (rows, cols) only as long as the frame is larger than that. Weakest line first.
    """
    while len(frame.row) > 4:
        along = frame.along
        per_line = frame.rows if frame.type is BoardType.CIRCLES else 0.5 * frame.rows
        lines = []
        if size is None or frame.rows > size[0]:
            lines += [(float((frame.row == r).sum()) / frame.cols, frame.row == r) for r in (0, frame.rows - 1)]
        if size is None or frame.cols > size[1]:
            lines += [(float((along == a).sum()) / per_line, along == a) for a in (int(along.min()), int(along.max()))]
        if not lines:
            break
        weakest, dots = min(lines, key=lambda line: line[0])
        if weakest >= share:
            break
        frame = frame_of(frame.type, cells, frame.kept[~dots], frame.turn, frame.shifted)
    return frame


def _turns(board_type: BoardType, gram: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Integer maps from lattice coordinates to (along, row), one for each rotation of the lattice onto itself."""
    if board_type is BoardType.CIRCLES_HEX:
        # Steps at 60 degrees: (2, 0) along the row, and (1, 1). Where the basis is obtuse, b turns to a + b first.
        acute = np.eye(2, dtype=np.int64) if gram[0, 1] >= 0 else np.array([[1, 1], [0, 1]])
        base, rotation, order = np.array([[2, 1], [0, 1]]) @ _inverse(acute), _SIXTH, 6
        rotation = acute @ rotation @ _inverse(acute)
    elif board_type is BoardType.CIRCLES_ASYMMETRIC:
        base, rotation, order = np.array([[1, -1], [1, 1]]), _QUARTER, 4
    else:
        base, rotation, order = np.eye(2, dtype=np.int64), _QUARTER, 4
    return [np.asarray(base @ np.linalg.matrix_power(rotation, k), np.int64) for k in range(order)]


def _inverse(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """Inverse of an integer matrix of determinant one."""
    (a, b), (c, d) = matrix
    return np.array([[d, -b], [-c, a]], np.int64)
