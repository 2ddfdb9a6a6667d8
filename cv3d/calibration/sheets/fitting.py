"""How a board goes on a sheet: which way the paper lies, and what the user left open of counts and pitch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cv3d.calibration.boards import BoardType
from cv3d.calibration.sheets.paper import PAPERS, Paper
from cv3d.calibration.sheets.pattern import Extent, extent
from cv3d.errors import UsageError

FOOTER_MM = 16.0
"""Height of what is written under the board."""
_FOOTER_GAP_MM = 4.0
"""Least distance of the writing from the board."""
_SMALLEST = {BoardType.CHECKERBOARD: 3, BoardType.CHARUCO: 3, BoardType.APRILGRID: 1}
_WANTED_LONG: dict[BoardType, float] = {
    BoardType.CHECKERBOARD: 10.0,
    BoardType.CHARUCO: 9.0,
    BoardType.APRILGRID: 8.1,
    BoardType.CIRCLES: 10.0,
    BoardType.CIRCLES_ASYMMETRIC: 5.5,
    BoardType.CIRCLES_HEX: 10.0,
}
"""Length of a board's longer side, in units of its pitch, where the user leaves both counts and pitch open."""
_TOLERANCE = math.log(1.2)
"""How far that length may be off at no loss, as a logarithm."""
_ROUND_BONUS = 1.15
"""Worth of a pitch in whole multiples of 5 mm, as a factor on the area."""
_NUMBERED = (BoardType.CHARUCO, BoardType.APRILGRID)
_STAGGERED = (BoardType.CIRCLES_ASYMMETRIC, BoardType.CIRCLES_HEX)
TURNABLE = (BoardType.CHECKERBOARD, BoardType.CIRCLES)
"""Kinds whose boards of COLSxROWS and of ROWSxCOLS are one board, turned."""

_SURELY_METRES_MM = 1000.0
"""A square from here on was probably meant in millimetres."""


@dataclass(frozen=True)
class Wish:
    """What the user asks for; None is left open."""

    kind: BoardType
    counts: tuple[int, int] | None
    """Columns and rows; of a kind that is :data:`TURNABLE` in either order."""
    pitch_mm: float | None
    marker_ratio: float | None
    """As :class:`Board` has it; never left open here."""
    margin_mm: float

    @property
    def extent(self) -> Extent:
        """Of the boards of that kind."""
        return extent(self.kind, self.marker_ratio)

    def __str__(self) -> str:
        counts = f" {self.counts[0]}x{self.counts[1]}" if self.counts else ""
        return f"{self.kind.value}{counts}" + (f" at {self.pitch_mm:g} mm" if self.pitch_mm else "")


@dataclass(frozen=True)
class Placement:
    """A board on a sheet."""

    paper: Paper
    """As it lies."""
    cols: int
    """Columns as they lie on the paper."""
    rows: int
    """Likewise."""
    pitch_mm: float
    left_mm: float
    """Distance of the print from the left edge of the paper."""
    top_mm: float
    """Its distance from the upper edge."""
    width_mm: float
    """Of the print."""
    height_mm: float


def fit(wish: Wish, paper: Paper) -> Placement:
    """The largest board that a wish allows on a sheet, and which way the sheet lies.

    Raises:
        UsageError: it does not fit; the message says what would.
    """
    sheets = (paper, paper.turned) if paper.width_mm != paper.height_mm else (paper,)
    found = [p for sheet in sheets for p in _placements(wish, sheet)]
    if not found:
        raise UsageError(_what_would_fit(wish, paper))
    return max(found, key=lambda placement: _worth(wish, placement))


def _placements(wish: Wish, sheet: Paper) -> Iterator[Placement]:
    """The boards worth comparing on a sheet that lies as it is."""
    for pitch in [wish.pitch_mm] if wish.pitch_mm is not None else _round_pitches():
        width, height = _room(wish, sheet, pitch)
        most = wish.extent.most(width / pitch, height / pitch)
        for counts in _ways(wish) or [_telling(wish.kind, *most)]:
            if counts[0] <= most[0] and counts[1] <= most[1] and min(counts) >= _SMALLEST.get(wish.kind, 3):
                yield _placed(wish, sheet, counts, pitch)


def _ways(wish: Wish) -> list[tuple[int, int]]:
    """The counts asked for, as they may lie on the paper; empty where they are left open."""
    if wish.counts is None:
        return []
    cols, rows = wish.counts
    return [(cols, rows), (rows, cols)] if wish.kind in TURNABLE and cols != rows else [(cols, rows)]


def _placed(wish: Wish, sheet: Paper, counts: tuple[int, int], pitch: float) -> Placement:
    width, height = (pitch * side for side in wish.extent.size(*counts))
    side = _side(wish, pitch)
    free = sheet.height_mm - wish.margin_mm - FOOTER_MM - height
    # Where there is room the board stands in the middle between the upper edge and the writing.
    top = max(side, 0.5 * free)
    return Placement(sheet, *counts, pitch, 0.5 * (sheet.width_mm - width), top, width, height)


def _worth(wish: Wish, placement: Placement) -> tuple[float, float]:
    """What makes one placement better than another, most important first."""
    sheet = placement.paper
    slack = min(sheet.width_mm - placement.width_mm, sheet.height_mm - placement.height_mm)
    if wish.counts is not None:
        return placement.pitch_mm, slack
    area = placement.width_mm * placement.height_mm / (sheet.width_mm * sheet.height_mm)
    if wish.pitch_mm is not None:
        return area, slack
    longer = max(placement.width_mm, placement.height_mm) / placement.pitch_mm
    off = max(0.0, abs(math.log(longer / _WANTED_LONG[wish.kind])) - _TOLERANCE)
    return area * (_ROUND_BONUS if placement.pitch_mm % 5.0 == 0.0 else 1.0) - off, slack


def _side(wish: Wish, pitch: float) -> float:
    """Least distance of the print from the edge of the paper."""
    return max(wish.margin_mm, wish.extent.quiet * pitch)


def _room(wish: Wish, sheet: Paper, pitch: float) -> tuple[float, float]:
    side = _side(wish, pitch)
    below = wish.margin_mm + FOOTER_MM + max(_FOOTER_GAP_MM, wish.extent.quiet * pitch)
    return sheet.width_mm - 2.0 * side, sheet.height_mm - side - below


def _round_pitches() -> list[float]:
    """Whole millimetres, beyond 50 in steps of five."""
    return [*map(float, range(2, 50)), *map(float, range(50, 1001, 5))]


def _telling(kind: BoardType, cols: int, rows: int) -> tuple[int, int]:
    """Counts up to those given that leave no doubt which way up the board is, where the kind allows that."""
    if kind in _STAGGERED:
        return cols, rows - (rows + 1) % 2
    if kind is BoardType.CHECKERBOARD and (cols + rows) % 2 == 0:
        return (cols - 1, rows) if cols > rows else (cols, rows - 1)
    return cols, rows


def ambiguity(kind: BoardType, cols: int, rows: int) -> str | None:
    """Why a board looks the same when turned, and what to do about it; None where it does not."""
    if kind in _NUMBERED:
        return None
    harm = "harmless for one camera, not for a rig or where the board's pose matters"
    if kind in _STAGGERED:
        if rows % 2:
            return None
        return f"with an even number of rows the board looks the same turned half round ({harm}): take {rows - 1} rows"
    if kind is BoardType.CIRCLES:
        turn = "by a quarter" if cols == rows else "half round"
        return f"a grid of equal circles looks the same turned {turn} ({harm}): a charuco or asymmetric one does not"
    if (cols + rows) % 2:
        return None
    turn = "by a quarter" if cols == rows and cols % 2 == 0 else "half round"
    return (
        f"a checkerboard of {cols}x{rows} inner corners looks the same turned {turn} ({harm}): "
        f"take one even and one odd count, such as {cols}x{rows - 1 if rows > 3 else rows + 1}"
    )


def _what_would_fit(wish: Wish, paper: Paper) -> str:
    """One line about a wish that does not fit."""
    advice = []
    if wish.pitch_mm is not None and wish.counts is not None:
        smaller = _fit_or_none(Wish(wish.kind, wish.counts, None, wish.marker_ratio, wish.margin_mm), paper)
        if smaller is not None and smaller.pitch_mm < wish.pitch_mm:
            advice.append(f"--square {smaller.pitch_mm:g}mm")
        fewer = _fit_or_none(Wish(wish.kind, None, wish.pitch_mm, wish.marker_ratio, wish.margin_mm), paper)
        if fewer is not None:
            advice.append(f"{wish.kind.value}:{fewer.cols}x{fewer.rows}")
    elif wish.counts is None and wish.pitch_mm is not None:
        smaller = _fit_or_none(Wish(wish.kind, None, None, wish.marker_ratio, wish.margin_mm), paper)
        if smaller is not None:
            advice.append(f"--square {smaller.pitch_mm:g}mm")
    larger = [Paper(name, *size) for name, size in PAPERS.items()]
    larger.sort(key=lambda sheet: sheet.width_mm * sheet.height_mm)
    fitting = next((sheet for sheet in larger if _fit_or_none(wish, sheet) is not None), None)
    if fitting is not None:
        advice.append(f"--paper {fitting.name}")
    if wish.pitch_mm is not None and wish.pitch_mm >= _SURELY_METRES_MM:
        advice.append("a length with its unit, e.g. 30mm (without one it is in metres)")
    would = f"; these would fit: {', or '.join(advice)}" if advice else ""
    return f"{wish} does not fit on {paper} with {wish.margin_mm:g} mm margins and the writing under it{would}"


def _fit_or_none(wish: Wish, paper: Paper) -> Placement | None:
    placements = [p for sheet in (paper, paper.turned) for p in _placements(wish, sheet)]
    return max(placements, key=lambda placement: _worth(wish, placement)) if placements else None
