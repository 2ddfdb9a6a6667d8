"""Which part of a known board the dots of one picture are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.base import Gray, Scan
from cv3d.calibration.detection.circles.frames import Frame, candidate_frames, frame_of, trimmed
from cv3d.calibration.detection.circles.identify import DotLattice

OUTER_SHARE = 0.5
BLANK_TOLERANCE, BLANK_SHARE = 0.3, 0.85
"""Beyond the last line of a board this share of places is as light as between its dots, to this part of the
contrast."""


def place(gray: Gray, lattice: DotLattice, board: Board, scan: Scan) -> tuple[Frame, tuple[int, int]] | None:
    """How the dots lie on `board`: their frame and the row and column where it starts; None where they cannot.

    Among the frames that fit and are not plainly of a smaller board: least clutter dropped, ends in view where the
    board has them, fewest dots missing, most upright.
    """
    candidates = candidate_frames(board.type, lattice.cells, lattice.gram)
    # Dots that start on the other side than the board start at its second row, or lose theirs where it is as large.
    candidates += [
        frame_of(board.type, lattice.cells, frame.kept[frame.row > 0], frame.turn, board.first_row_shifted)
        for frame in candidates
        if _lead(frame, board) and (frame.row > 0).any()
    ]
    cut = [
        trimmed(frame, lattice.cells, OUTER_SHARE, (board.rows - _lead(frame, board), board.cols))
        for frame in candidates
    ]
    fitting = [frame for frame in cut if _lead(frame, board) + frame.rows <= board.rows and frame.cols <= board.cols]
    if not fitting:
        return None
    most = max(len(frame.row) for frame in fitting)
    options = [(frame, _board_ends(gray, frame, scan)) for frame in fitting if len(frame.row) == most]

    def rank(option: tuple[Frame, _Ends]) -> tuple[int, int, float]:
        frame, ends = option
        along = _directions(frame, np.asarray(scan.arrays["centres"], np.float64))[0]
        return ends.conflicts(frame, board), frame.missing, -float(along[0] / np.linalg.norm(along))

    possible = [option for option in options if not option[1].exclude(option[0], board)]
    if not possible:
        return None
    best, ends = min(possible, key=rank)
    return best, ends.offsets(best, board)


def _lead(frame: Frame, board: Board) -> int:
    """How many rows of `board` come before `frame` at least: 1 where their first rows are shifted differently."""
    return int(frame.shifted != board.first_row_shifted)


def _directions(frame: Frame, centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean step in the picture along the row (staggered: half a step) and from row to row, rows of (2, 2)."""
    design = np.stack([frame.along, frame.row, np.ones_like(frame.row)], axis=1).astype(np.float64)
    return np.asarray(np.linalg.lstsq(design, centres[frame.kept], rcond=None)[0][:2], np.float64)


@dataclass(frozen=True)
class _Ends:
    """At which sides of a frame the board's blank margin is in view, so that it certainly ends there."""

    top: bool
    bottom: bool
    left: bool
    right: bool

    def exclude(self, frame: Frame, board: Board) -> bool:
        """Whether `frame` is a whole board that is smaller than `board`."""
        allowance = 0 if board.type is BoardType.CIRCLES else 1
        lacks_rows = board.rows - frame.rows - _lead(frame, board) > allowance and self.top and self.bottom
        lacks_cols = board.cols - frame.cols > allowance and self.left and self.right
        return lacks_rows or lacks_cols

    def conflicts(self, frame: Frame, board: Board) -> int:
        """In how many directions the ends in view are not where the board has them, placed as well as can be."""
        row, _ = self.offsets(frame, board)
        rows = (self.top and row > 0) or (self.bottom and row + frame.rows < board.rows)
        cols = self.left and self.right and frame.cols != board.cols
        return int(rows) + int(cols)

    def offsets(self, frame: Frame, board: Board) -> tuple[int, int]:
        """Row and column of `board` where `frame` starts: the end that is in view, where staggered rows agree."""
        row = board.rows - frame.rows if self.bottom and not self.top else 0
        if board.type is not BoardType.CIRCLES and (row - _lead(frame, board)) % 2:
            row += -1 if row > 0 else 1
        return row, board.cols - frame.cols if self.right and not self.left else 0


def _board_ends(gray: Gray, frame: Frame, scan: Scan) -> _Ends:
    """Looks where the next line of dots would be, on all four sides, for paper without dots."""
    centres = np.asarray(scan.arrays["centres"], np.float64)[frame.kept]
    place_along = frame.along
    along, across = _directions(frame, np.asarray(scan.arrays["centres"], np.float64))
    between = along if frame.type is BoardType.CIRCLES else 2.0 * along
    ink = np.nanmedian(_grey_at(gray, centres))
    paper = np.nanmedian(_grey_at(gray, centres + 0.5 * between))
    sides: list[tuple[NDArray[np.int64], int, int, NDArray[np.float64], int]] = [
        (frame.row, 0, -1, across, 0),
        (frame.row, frame.rows - 1, 1, across, 0),
        (place_along, int(place_along.min()), -1, between, 1),
        (place_along, int(place_along.max()), 1, between, 1),
    ]
    at = {(int(r), int(h)): i for i, (r, h) in enumerate(zip(frame.row, place_along, strict=True))}
    inward = 1 if frame.type is BoardType.CIRCLES else 2
    found = []
    for line, outer, sense, typical, axis in sides:
        edge = np.flatnonzero(line == outer)
        # The last step seen on this side carries the perspective, where the dot further in is there.
        beyond = []
        for i in edge.tolist():
            cell = (int(frame.row[i]), int(place_along[i]))
            inner = at.get((cell[0] - sense * inward, cell[1]) if axis == 0 else (cell[0], cell[1] - sense * inward))
            step = sense * typical * (inward if axis == 0 else 1)
            beyond.append(centres[i] + (step if inner is None else centres[i] - centres[inner]))
        level = (_grey_at(gray, np.array(beyond)) - ink) / (paper - ink if paper != ink else 1.0)
        with np.errstate(invalid="ignore"):
            found.append(bool((np.abs(level - 1.0) < BLANK_TOLERANCE).mean() > BLANK_SHARE))
    return _Ends(*found)


def _grey_at(gray: Gray, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grey value at the pixel nearest to each of `points` (n, 2); NaN outside of the picture."""
    height, width = gray.shape
    nearest = np.rint(points).astype(np.intp)
    inside = np.asarray(((nearest >= 0) & (nearest < np.array([width, height]))).all(axis=1), np.bool_)
    nearest = np.where(inside[:, None], nearest, 0)
    return np.where(inside, gray[nearest[:, 1], nearest[:, 0]].astype(np.float64), np.nan)
