"""What is printed black on each kind of board: outlines in units of its pitch (see :class:`Board`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.markers.decode import families, family_of, members
from cv3d.calibration.detection.markers.layout import board_numbering, marker_count
from cv3d.errors import UsageError
from cv3d.formats.vector_page import Circle, Outline, rectangle

_DOT_RATIO = 0.5
"""Diameter of a dot over the distance of its nearest neighbour."""
_QUIET_SQUARES = 0.4
"""Width of the light margin that a board of squares needs around it, in squares."""
_QUIET_DOTS = 0.25
"""The same around dots, in steps."""


@dataclass(frozen=True)
class Extent:
    """How large a board's print is in units of its pitch: `step * count + rest` in each direction."""

    step_x: float
    rest_x: float
    step_y: float
    rest_y: float
    quiet: float
    """Width of the light margin around the print, in the same unit."""

    def size(self, cols: int, rows: int) -> tuple[float, float]:
        """Width and height of the print."""
        return self.step_x * cols + self.rest_x, self.step_y * rows + self.rest_y

    def most(self, width: float, height: float) -> tuple[int, int]:
        """The largest counts whose print is no larger than that."""
        fits = (width - self.rest_x) / self.step_x, (height - self.rest_y) / self.step_y
        return math.floor(fits[0] + 1e-9), math.floor(fits[1] + 1e-9)


def extent(kind: BoardType, marker_ratio: float | None) -> Extent:
    """The extent of boards of a kind.

    Args:
        kind: the kind.
        marker_ratio: as :class:`Board` has it; needed for an AprilGrid.
    """
    if kind is BoardType.CHECKERBOARD:
        return Extent(1.0, 1.0, 1.0, 1.0, _QUIET_SQUARES)
    if kind is BoardType.CHARUCO:
        return Extent(1.0, 0.0, 1.0, 0.0, _QUIET_SQUARES)
    if kind is BoardType.APRILGRID:
        gap = marker_ratio or 0.0
        return Extent(1.0 + gap, gap, 1.0 + gap, gap, gap)
    dot = dot_diameter(kind)
    if kind is BoardType.CIRCLES:
        return Extent(1.0, dot - 1.0, 1.0, dot - 1.0, _QUIET_DOTS)
    row_step = 0.5 if kind is BoardType.CIRCLES_ASYMMETRIC else math.sqrt(3.0) / 2.0
    return Extent(1.0, dot - 0.5, row_step, dot - row_step, _QUIET_DOTS)


def dot_diameter(kind: BoardType) -> float:
    """Diameter of the dots of a circle grid, in steps."""
    return _DOT_RATIO * (math.sqrt(0.5) if kind is BoardType.CIRCLES_ASYMMETRIC else 1.0)


def outlines(board: Board) -> tuple[Outline, ...]:
    """The outlines of everything printed, its top-left corner at the origin, in units of the pitch.

    Black is where an odd number of outlines lies around a place. Of an inverted board the light margin is black too.

    Raises:
        UsageError: the board lacks something that its print needs, or its dictionary lacks markers.
    """
    kind = board.type
    if kind is BoardType.CHECKERBOARD:
        drawn = _squares(board.cols + 1, board.rows + 1, black=0)
    elif kind is BoardType.CHARUCO:
        drawn = _squares(board.cols, board.rows, black=int(board.markers_on_white_first)) + _charuco_markers(board)
    elif kind is BoardType.APRILGRID:
        drawn = _april_tags(board)
    else:
        radius = 0.5 * dot_diameter(kind)
        drawn = [Circle(float(x) + radius, float(y) + radius, radius) for x, y, _ in board.points()]
    if board.inverted:
        shape = extent(kind, board.marker_ratio)
        width, height = shape.size(board.cols, board.rows)
        drawn.append(rectangle(-shape.quiet, -shape.quiet, width + 2.0 * shape.quiet, height + 2.0 * shape.quiet))
    return tuple(drawn)


def _squares(cols: int, rows: int, black: int) -> list[Outline]:
    """The squares whose column and row add up to an even (`black` 0) or odd (1) number. They touch at corners only."""
    return [rectangle(x, y, 1.0, 1.0) for y in range(rows) for x in range(cols) if (x + y) % 2 == black]


def _charuco_markers(board: Board) -> list[Outline]:
    ratio = board.marker_ratio
    if ratio is None or not 0.0 < ratio < 1.0:
        raise UsageError("the markers of a ChArUco board are larger than 0 and smaller than its squares")
    masks, cells = _markers(board, border=1, turn=0)
    placed: list[Outline] = []
    for mask, cell in zip(masks, cells, strict=True):
        placed += [cell + 0.5 + ratio * (loop / len(mask) - 0.5) for loop in mask_outlines(mask)]
    return placed


def _april_tags(board: Board) -> list[Outline]:
    """Tags with small squares at their corners, as Kalibr prints them: AprilTags there have a border of two bits."""
    gap = board.marker_ratio
    if gap is None or gap <= 0.0:
        raise UsageError("an AprilGrid needs a spacing (gap / tag side) larger than 0")
    border = max(families()[family_of(_dictionary(board))].borders)
    masks, cells = _markers(board, border, board_numbering(board)[0].turn)
    placed: list[Outline] = []
    for mask, cell in zip(masks, cells, strict=True):
        placed += [gap + (1.0 + gap) * cell + loop / len(mask) for loop in mask_outlines(mask)]
    for row in range(board.rows + 1):
        placed += [rectangle((1.0 + gap) * col, (1.0 + gap) * row, gap, gap) for col in range(board.cols + 1)]
    return placed


def _dictionary(board: Board) -> str:
    if board.dictionary is None:
        raise UsageError(f"a {board.type.value} board needs a marker dictionary")
    return board.dictionary


def _markers(board: Board, border: int, turn: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Black cells of every marker, border included, (n, w, w), and the board's cell, column and row, of each, (n, 2).

    Args:
        board: with its dictionary.
        border: width of the black border, bits.
        turn: quarter turns by which the markers are printed turned.
    """
    name = _dictionary(board)
    index = family_of(name)
    numbering, top_row = board_numbering(board)
    ids = board.first_marker + np.arange(marker_count(board), dtype=np.int64)
    held = dict(members(index))[name]
    if ids[-1] >= held:
        raise UsageError(f"{board} needs the markers {ids[0]} to {ids[-1]}, but {name} has only {held}")
    family = families()[index]
    bits = (family.codes[ids, 0][:, None] >> np.arange(family.bits**2, dtype=np.uint64)) & np.uint64(1)
    side = family.bits + 2 * border
    masks = np.ones((len(ids), side, side), bool)
    masks[:, border:-border, border:-border] = bits.reshape(-1, family.bits, family.bits) == 0
    return np.rot90(masks, turn, axes=(1, 2)), numbering.cells(ids) - np.array([0, top_row])


def mask_outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """The borders between black and white cells of a mask (rows, cols), as closed polygons (n, 2) of x, y.

    Neighbouring cells have one outline, so that no viewer shows a seam between them. Filled by the even-odd rule the
    polygons give the mask; where black cells touch at a corner, either way to go on there is right.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    ahead: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Edges run with black on their right: rightwards above a black cell, downwards on its right, and so on.
    for y, x in zip(*np.nonzero(np.diff(padded, axis=0)[:, 1:-1]), strict=True):
        ends = [(int(x), int(y)), (int(x) + 1, int(y))]
        start, end = ends if padded[y + 1, x + 1] else ends[::-1]
        ahead.setdefault(start, []).append(end)
    for y, x in zip(*np.nonzero(np.diff(padded, axis=1)[1:-1]), strict=True):
        ends = [(int(x), int(y) + 1), (int(x), int(y))]
        start, end = ends if padded[y + 1, x + 1] else ends[::-1]
        ahead.setdefault(start, []).append(end)
    loops = []
    while ahead:
        first = next(iter(ahead))
        loop, here = [first], _step(ahead, first)
        while here != first:
            loop.append(here)
            here = _step(ahead, here)
        loops.append(_without_straight_joints(np.array(loop, dtype=np.float64)))
    return loops


def _step(ahead: dict[tuple[int, int], list[tuple[int, int]]], here: tuple[int, int]) -> tuple[int, int]:
    """Take an edge that leaves `here`."""
    ends = ahead[here]
    end = ends.pop()
    if not ends:
        del ahead[here]
    return end


def _without_straight_joints(loop: NDArray[np.float64]) -> NDArray[np.float64]:
    before, after = loop - np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0) - loop
    return np.asarray(loop[(before != after).any(axis=1)])
