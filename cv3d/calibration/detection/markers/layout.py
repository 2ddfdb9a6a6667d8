"""Which marker stands where on the board, read off the steps between numbered markers.

Markers are numbered row by row, so the number of columns and the id at which a row begins fix the cell of every id.
All such numberings are tried on the steps that the pictures show, and the one that explains most of them wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.markers.lattice import Lattice

_MAX_COLS = 64
KALIBR_TURN = 2
"""OpenCV's AprilTag dictionaries hold the codes upside down relative to the AprilTag library's, which Kalibr prints."""
_MIN_SUPPORT = 0.6
"""Least share of the observed steps that the numbering must explain."""
_MIN_MARKERS = 3
"""Two markers side by side happen by chance and fit many numberings."""
_TURNS = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]])
"""tag_from_board: quarter turns that take a step on the board to the same step in the frame of a tag printed turned."""


@dataclass(frozen=True)
class Numbering:
    """Cell of every marker id on a board numbered row by row."""

    checkered: bool
    """Markers on every other cell only: those with x + y odd."""
    cols: int
    """Cells in a row."""
    phase: int
    """An id that would stand first in an even row."""
    turn: int = 0
    """Quarter turns between the board's axes and the markers' own."""
    upward: bool = False
    """Whether the rows are numbered from the bottom."""

    def cells(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Column and row, (n, 2), of marker ids (n,). Rows count from that of id `phase`; y points down the board."""
        return np.asarray(_cells(ids, np.array([self.phase]), self.cols, self.checkered, self.upward)[0])

    def first_of_row(self, row: int) -> int:
        """The id at the left end of a row (rows as :meth:`cells` gives them)."""
        if not self.checkered:
            return self.phase + (-row if self.upward else row) * self.cols
        return self.phase + (row // 2) * self.cols + (self.cols // 2 if row % 2 else 0)

    def starts_row(self, marker_id: int) -> bool:
        """Whether the marker stands at the left end of its row."""
        row = int(self.cells(np.array([marker_id]))[0, 1])
        return self.first_of_row(row) == marker_id


@dataclass(frozen=True)
class Layout:
    """A numbering together with the part of it that the board covers."""

    numbering: Numbering
    top_row: int
    """Row of the numbering that is the board's first."""
    rows: int
    first_marker: int
    max_id: int
    support: float
    """Share of the observed steps that agree."""


def _cells(
    ids: NDArray[np.int64], phases: NDArray[np.int64], cols: int, checkered: bool, upward: bool
) -> NDArray[np.int64]:
    """Cells (p, n, 2) of ids (n,) for each of the phases (p,)."""
    block, rest = np.divmod(ids[None] - phases[:, None], cols)
    if not checkered:
        return np.stack([rest, -block if upward else block], axis=2)
    odd = cols // 2
    second = rest >= odd
    x = np.where(second, 2 * (rest - odd), 2 * rest + 1)
    return np.stack([x, 2 * block + second], axis=2)


def find_layout(sightings: Sequence[tuple[NDArray[np.int64], Lattice]]) -> Layout | None:
    """The layout that explains most of the steps between numbered markers over a set of pictures.

    Args:
        sightings: for each picture the ids of its markers, (n,), and their lattice. All lattices are of one kind.

    Returns:
        The layout; None where there are too few steps or no numbering explains them.
    """
    if not sightings:
        return None
    checkered = sightings[0][1].checkered
    steps = np.concatenate(
        [
            np.column_stack([ids[lattice.pairs.first], ids[lattice.pairs.second], lattice.moves])
            for ids, lattice in sightings
        ]
    )
    steps, weight = np.unique(steps, axis=0, return_counts=True)
    best = _best_numbering(steps, weight, checkered)
    if best is None:
        return None
    numbering, agreed = best
    own = _of_one_board(steps, weight, agreed)
    steps, weight, agreed = steps[own], weight[own], agreed[own]
    support = float(weight[agreed].sum() / weight.sum())
    if support < _MIN_SUPPORT:
        return None
    seen = np.unique(steps[agreed, :2])
    if len(seen) < _MIN_MARKERS:
        return None
    rows_seen = numbering.cells(seen)[:, 1]
    low, high = int(rows_seen.min()), int(rows_seen.max())
    zero = int(numbering.cells(np.array([0]))[0, 1])
    nearest = high if numbering.upward else low
    if numbering.starts_row(0) and abs(zero - nearest) <= 1:
        # Ids from 0 are the rule; a single row that no picture shows is more likely than a board that begins elsewhere.
        low, high = min(low, zero), max(high, zero)
    first = numbering.first_of_row(high if numbering.upward else low)
    return Layout(numbering, low, high - low + 1, first, int(seen.max()), support)


def _of_one_board(steps: NDArray[np.int64], weight: NDArray[np.int64], agreed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which steps (m,) hang together with the best explained ones, or are explained as well.

    Another board of the same dictionary has ids that no step links to this one's, and its rows contradict the
    numbering, but some of its steps along a row agree by accident.
    """
    ids, ends = np.unique(steps[:, :2], return_inverse=True)
    ends = ends.reshape(-1, 2)
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(ids), len(ids)))
    count, part = connected_components(links, directed=False)
    group = part[ends[:, 0]]
    explained = np.bincount(group, weights=weight * agreed, minlength=count)
    share = explained / np.bincount(group, weights=weight, minlength=count)
    keep = share >= _MIN_SUPPORT
    keep[int(explained.argmax())] = True
    return np.asarray(keep[group])


def _best_numbering(
    steps: NDArray[np.int64], weight: NDArray[np.int64], checkered: bool
) -> tuple[Numbering, NDArray[np.bool_]] | None:
    """The numbering that explains the most of the weighted steps (m, 4): two ids and the move between them.

    Among equals: one where id 0 begins a row, then the fewest columns. None where the ids lie too far apart for any.
    """
    best: tuple[tuple[int, bool, int, bool, bool], Numbering] | None = None
    orientations = [(0, False)] if checkered else [(turn, upward) for upward in (False, True) for turn in range(4)]
    for cols in _candidate_cols(steps):
        phases = np.arange(cols)
        for turn, upward in orientations:
            score = (_explained(steps, phases, cols, checkered, turn, upward) * weight).sum(axis=1)
            for phase in np.flatnonzero(score == score.max()):
                numbering = Numbering(checkered, cols, int(phase), turn, upward)
                rank = (int(score[phase]), numbering.starts_row(0), -cols, not upward, turn == 0)
                if best is None or rank > best[0]:
                    best = rank, numbering
    if best is None:
        return None
    chosen = best[1]
    agreed = _explained(steps, np.array([chosen.phase]), chosen.cols, checkered, chosen.turn, chosen.upward)[0]
    return chosen, agreed


def _candidate_cols(steps: NDArray[np.int64]) -> list[int]:
    """Column counts that the id differences between neighbours suggest, ascending.

    A step of one row changes the id by the column count, or on a checkered board by about half of it; where a single
    row is seen, it is taken for a whole one.
    """
    difference = np.abs(steps[:, 1] - steps[:, 0])
    doubled = 2 * difference[:, None] + np.arange(-2, 3)
    candidates = np.concatenate(
        [difference, difference - 1, difference + 1, doubled.ravel(), [np.ptp(steps[:, :2]) + 1]]
    )
    return [int(cols) for cols in np.unique(candidates) if 2 <= cols <= _MAX_COLS]


def _explained(
    steps: NDArray[np.int64], phases: NDArray[np.int64], cols: int, checkered: bool, turn: int, upward: bool
) -> NDArray[np.bool_]:
    """Whether each step (m, 4) agrees with the numbering, for each phase, (p, m)."""
    move = _cells(steps[:, 1], phases, cols, checkered, upward) - _cells(steps[:, 0], phases, cols, checkered, upward)
    return np.asarray((move @ _TURNS[turn].T == steps[None, :, 2:]).all(axis=2))


def turned(moves: NDArray[np.int64], turn: int) -> NDArray[np.int64]:
    """Steps on the board, (n, 2), as a tag sees them that is printed `turn` quarter turns off the board's axes."""
    return np.asarray(moves @ _TURNS[turn].T)


def board_numbering(board: Board) -> tuple[Numbering, int]:
    """The numbering of a known board, and the row of it that is the board's top row."""
    if board.type is BoardType.CHARUCO:
        if not board.markers_on_white_first:
            return Numbering(True, board.cols, board.first_marker), 0
        return Numbering(True, board.cols, board.first_marker - board.cols // 2), 1
    if board.ids_upward:
        return Numbering(False, board.cols, board.first_marker, KALIBR_TURN, True), 1 - board.rows
    return Numbering(False, board.cols, board.first_marker), 0


def marker_count(board: Board) -> int:
    """How many markers the board carries."""
    cells = board.rows * board.cols
    if board.type is not BoardType.CHARUCO:
        return cells
    return (cells + 1) // 2 if board.markers_on_white_first else cells // 2
