"""`cv3d board`: a calibration board as a page to print, with the command under it that calibrates with it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np

from cv3d.calibration.board_text import parse_board, parse_length
from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.detection.markers.decode import family_of, members, smallest_member
from cv3d.calibration.detection.markers.layout import marker_count
from cv3d.calibration.sheets.fitting import FOOTER_MM, TURNABLE, Placement, Wish, ambiguity, fit
from cv3d.calibration.sheets.paper import Paper, parse_paper
from cv3d.calibration.sheets.pattern import outlines
from cv3d.errors import UsageError
from cv3d.formats.vector_page import Circle, Font, Outline, Text, VectorPage, text_width

BOARD_SCHEMA = "cv3d.board/1"
DEFAULT_BOARD = "charuco"
_DEFAULT_RATIO = {BoardType.CHARUCO: 0.75, BoardType.APRILGRID: 0.3}
_DEFAULT_FAMILY = {BoardType.CHARUCO: "5X5_1000", BoardType.APRILGRID: "APRILTAG_36h11"}
_PITCH_NAMES = {
    BoardType.CHECKERBOARD: "square",
    BoardType.CHARUCO: "square",
    BoardType.APRILGRID: "tag",
    BoardType.CIRCLES: "step",
    BoardType.CIRCLES_ASYMMETRIC: "step in a row",
    BoardType.CIRCLES_HEX: "step",
}
_PRINTABLE_MM = 4.0
_TEXT_MM, _SMALLEST_TEXT_MM = 3.2, 0.8
_LINE_MM = 4.6
_BARS_MM = (100.0, 50.0, 20.0, 10.0)
_BAR_HEIGHT_MM = 3.0
_TICK_MM = 0.2


@dataclass(frozen=True)
class BoardSheet:
    """A board on paper, ready to be printed."""

    board: Board
    """With its scale, `square_m`."""
    placement: Placement
    """Where on the paper it is."""
    page: VectorPage
    """The whole page."""
    command: str
    """The command that calibrates with pictures of it."""
    warnings: tuple[str, ...]

    @property
    def paper(self) -> Paper:
        """The paper as it lies."""
        return self.placement.paper

    @property
    def name(self) -> str:
        """A file name without ending that tells the boards apart."""
        variants = [
            name
            for name, has in (("legacy", self.board.markers_on_white_first), ("inverted", self.board.inverted))
            if has
        ]
        size = f"{_millimetres(self.placement.pitch_mm)}mm"
        return "_".join([_spec(self.board).replace(":", "_"), *variants, size, self.paper.name])

    def as_dict(self) -> dict[str, object]:
        """The result as plain data, as `--json` prints it."""
        board, placement = self.board, self.placement
        return {
            "schema": BOARD_SCHEMA,
            "board": {
                "type": board.type.value,
                "rows": board.rows,
                "cols": board.cols,
                "square_m": board.square_m,
                "dictionary": None if board.dictionary is None else f"DICT_{board.dictionary}",
                "marker_ratio": board.marker_ratio,
                "first_marker": board.first_marker,
                "markers_on_white_first": board.markers_on_white_first,
                "inverted": board.inverted,
                "ids_upward": board.ids_upward,
                "points": board.point_count,
            },
            "paper": {
                "name": self.paper.name,
                "width_mm": self.paper.width_mm,
                "height_mm": self.paper.height_mm,
                "orientation": "landscape" if self.paper.width_mm > self.paper.height_mm else "portrait",
            },
            "print": {
                "left_mm": round(placement.left_mm, 6),
                "top_mm": round(placement.top_mm, 6),
                "width_mm": round(placement.width_mm, 6),
                "height_mm": round(placement.height_mm, 6),
            },
            "command": self.command,
            "warnings": list(self.warnings),
        }


def board(
    text: str = DEFAULT_BOARD,
    *,
    square: str | float | None = None,
    marker_ratio: float | None = None,
    spacing: float | None = None,
    paper: str = "a4",
    margin: str | float = "10mm",
    first_marker: int = 0,
    legacy: bool = False,
    inverted: bool = False,
) -> BoardSheet:
    """Lay out a calibration board to print.

    What is left open is chosen so that the board fills the paper: the counts, the square in round millimetres, and
    which way the paper lies.

    Args:
        text: TYPE, TYPE:COLSxROWS or TYPE:COLSxROWS:DICTIONARY, as `cv3d calibrate --board` takes it.
        square: side of a square, side of a tag, or distance of circles in a row, as "25mm" or in metres.
        marker_ratio: ChArUco: marker side / square side; None: 0.75.
        spacing: AprilGrid: gap between tags / tag side; None: 0.3.
        paper: "a4", "letter", "300x200mm".
        margin: least distance of print from the paper's edges, as "10mm" or in metres.
        first_marker: the smallest marker id.
        legacy: ChArUco: draw it as OpenCV did before version 4.6: with an even number of rows the top-left square is
            white and carries a marker.
        inverted: ChArUco: white on black.

    Returns:
        The sheet; its page says itself as PDF and SVG.

    Raises:
        UsageError: the options cannot be understood, contradict each other, or the board does not fit on the paper.
    """
    known = _parse_open(text)
    ratio = _ratio(known.kind, marker_ratio, spacing)
    charuco, numbered = known.kind is BoardType.CHARUCO, known.kind in _DEFAULT_RATIO
    if (legacy or inverted) and not charuco:
        raise UsageError(f"--legacy and --inverted are for charuco boards, not for {known.kind.value}")
    if first_marker and not numbered:
        raise UsageError(f"a {known.kind.value} board has no markers to be numbered")
    if first_marker < 0:
        raise UsageError(f"the first marker is 0 or more, not {first_marker}")
    sheet = parse_paper(paper)
    pitch_mm = None if square is None else _to_mm(parse_length(square) if isinstance(square, str) else square)
    wish = Wish(known.kind, known.counts, pitch_mm, ratio, _margin_mm(margin))
    placement = fit(wish, sheet)
    cols, rows = known.counts or (placement.cols, placement.rows)
    if known.counts is None and known.kind in TURNABLE:
        cols, rows = max(cols, rows), min(cols, rows)
    laid = Board(
        known.kind,
        rows,
        cols,
        square_m=placement.pitch_mm / 1000.0,
        marker_ratio=ratio,
        first_marker=first_marker,
        markers_on_white_first=legacy and rows % 2 == 0,
        inverted=inverted,
        ids_upward=known.kind is BoardType.APRILGRID,
    )
    laid = _with_dictionary(laid, known.dictionary)
    command = f"cv3d calibrate photos/ --board {_spec(laid)} --square {_millimetres(placement.pitch_mm)}mm"
    page = _page(laid, placement, wish.margin_mm, command)
    return BoardSheet(laid, placement, page, command, _warnings(laid, wish.margin_mm))


@dataclass(frozen=True)
class _OpenBoard:
    """A board as typed, its counts perhaps left open."""

    kind: BoardType
    counts: tuple[int, int] | None
    dictionary: str | None


def _parse_open(text: str) -> _OpenBoard:
    head, *rest = (part.strip() for part in text.split(":"))
    if not re.match(r"\d", head) and (not rest or not re.match(r"\d+\s*[xX*]", rest[0])):
        # Only the type, or the type and a dictionary: any counts make it a whole board.
        try:
            whole = parse_board(":".join([head, "4x3", *(part for part in rest if part)]))
        except UsageError as error:
            known = ", ".join(kind.value for kind in BoardType)
            raise UsageError(
                f"'{text}' is not a board; write TYPE, TYPE:COLSxROWS or TYPE:COLSxROWS:DICTIONARY, e.g. "
                f"checkerboard:9x6 or charuco:8x6:5X5_100 (types: {known})"
            ) from error
        return _OpenBoard(whole.type, None, whole.dictionary)
    whole = parse_board(text)
    return _OpenBoard(whole.type, (whole.cols, whole.rows), whole.dictionary)


def _ratio(kind: BoardType, marker_ratio: float | None, spacing: float | None) -> float | None:
    """The board's `marker_ratio`, checked."""
    for name, value, owner in (
        ("--marker-ratio", marker_ratio, BoardType.CHARUCO),
        ("--spacing", spacing, BoardType.APRILGRID),
    ):
        if value is not None and kind is not owner:
            raise UsageError(f"{name} is for {owner.value} boards, not for {kind.value}")
        if value is not None and not (math.isfinite(value) and value > 0.0):
            raise UsageError(f"{name} is a positive number, not {value:g}")
    if marker_ratio is not None and marker_ratio >= 1.0:
        raise UsageError(f"--marker-ratio {marker_ratio:g}: a marker is smaller than its square, e.g. 0.75")
    given = marker_ratio if marker_ratio is not None else spacing
    return given if given is not None else _DEFAULT_RATIO.get(kind)


def _to_mm(length_m: float) -> float:
    """Metres as millimetres, free of binary dust."""
    if not (math.isfinite(length_m) and length_m > 0.0):
        raise UsageError(f"the side of a square is a length in metres, not {length_m:g}")
    return round(1000.0 * length_m, 9)


def _margin_mm(margin: str | float) -> float:
    if isinstance(margin, str):
        return 0.0 if re.fullmatch(r"\s*0+(\.0*)?\s*(mm|cm|m|in)?\s*", margin) else _to_mm(parse_length(margin))
    if not (math.isfinite(margin) and margin >= 0.0):
        raise UsageError(f"the margin is a length in metres, not {margin:g}")
    return round(1000.0 * margin, 9)


def _with_dictionary(board: Board, dictionary: str | None) -> Board:
    """The board with its dictionary in its own spelling; where left open, the smallest that has its markers."""
    if board.type not in _DEFAULT_FAMILY:
        return board
    last = board.first_marker + marker_count(board) - 1
    family = family_of(dictionary if dictionary is not None else _DEFAULT_FAMILY[board.type])
    held = dict(members(family))
    if dictionary is not None:
        name = next((one for one in held if one.upper() == dictionary.upper()), next(reversed(held)))
    elif last < max(held.values()):
        name = smallest_member(family, last)
    else:
        name = next(reversed(held))
    if last >= held[name]:
        raise UsageError(
            f"{board.type.value} {board.cols}x{board.rows} needs markers up to number {last}, but {name} has only "
            f"{held[name]}: take a larger dictionary, larger squares or fewer of them"
        )
    return replace(board, dictionary=name)


def _spec(board: Board) -> str:
    """The board as `--board` takes it."""
    dictionary = f":{board.dictionary}" if board.dictionary else ""
    return f"{board.type.value}:{board.cols}x{board.rows}{dictionary}"


def _millimetres(length: float) -> str:
    return f"{length:.9g}"


def _warnings(board: Board, margin_mm: float) -> tuple[str, ...]:
    found = []
    same = ambiguity(board.type, board.cols, board.rows)
    if same is not None:
        found.append(same)
    if margin_mm < _PRINTABLE_MM:
        found.append(f"most printers cannot print within {_PRINTABLE_MM:g} mm of the edge: look for cut-off squares")
    return tuple(found)


def _page(board: Board, placement: Placement, margin_mm: float, command: str) -> VectorPage:
    as_it_lies = replace(board, cols=placement.cols, rows=placement.rows)
    shapes = tuple(_to_page(outline, placement) for outline in outlines(as_it_lies))
    bar, texts = _footer(board, placement, margin_mm, command)
    paper = placement.paper
    return VectorPage(paper.width_mm, paper.height_mm, (*shapes, *bar), texts, _title(board, placement))


def _to_page(outline: Outline, placement: Placement) -> Outline:
    pitch, left, top = placement.pitch_mm, placement.left_mm, placement.top_mm
    if isinstance(outline, Circle):
        return Circle(left + pitch * outline.x, top + pitch * outline.y, pitch * outline.radius)
    return np.array([left, top]) + pitch * outline


def _title(board: Board, placement: Placement) -> str:
    kind = board.type.value.replace("_", " ")
    dictionary = f" {board.dictionary}" if board.dictionary else ""
    legacy = " legacy" if board.markers_on_white_first else ""
    inverted = " inverted" if board.inverted else ""
    return f"{kind} {board.cols}x{board.rows}{dictionary}{legacy}{inverted}, {_pitch_words(board, placement)}"


def _pitch_words(board: Board, placement: Placement) -> str:
    pitch = placement.pitch_mm
    words = f"{_PITCH_NAMES[board.type]} {_millimetres(pitch)} mm"
    if board.type is BoardType.CHARUCO and board.marker_ratio is not None:
        words += f", marker {pitch * board.marker_ratio:.6g} mm"
    if board.type is BoardType.APRILGRID and board.marker_ratio is not None:
        words += f", gap {pitch * board.marker_ratio:.6g} mm"
    return words


def _footer(
    board: Board, placement: Placement, margin_mm: float, command: str
) -> tuple[list[Outline], tuple[Text, ...]]:
    """The check bar, and the writing: what it is, the command, how to print it."""
    paper = placement.paper
    room = paper.width_mm - 2.0 * margin_mm
    top = paper.height_mm - margin_mm - FOOTER_MM
    size = f"print {placement.width_mm:.6g} x {placement.height_mm:.6g} mm"
    first = _fitted(margin_mm, top + 3.4, f"{_title(board, placement)}, {size}", room, Font.SANS)
    second = _fitted(margin_mm, top + 3.4 + _LINE_MM, command, room, Font.MONO)
    bottom = top + FOOTER_MM - 1.0
    length = next((bar for bar in _BARS_MM if bar <= 0.6 * room), _BARS_MM[-1])
    words = f"Measure this bar: {length:.1f} mm. Print at 100 %, without scaling to fit."
    left = margin_mm + length + 3.0
    third = _fitted(left, bottom - 0.5, words, paper.width_mm - margin_mm - left, Font.SANS)
    return _bar(margin_mm, bottom, length), (first, second, third)


def _fitted(x: float, y: float, content: str, room: float, font: Font) -> Text:
    """A line as large as usual, or smaller where it would be too long."""
    widest = text_width(content, 1.0, font)
    return Text(x, y, content, min(_TEXT_MM, max(_SMALLEST_TEXT_MM, room / widest)), font)


def _bar(x: float, y: float, length: float) -> list[Outline]:
    """A ruler from `x` on, standing on `y`: its outer edges are `length` apart, its ticks 10 mm (1 mm on short ones).

    One polygon, so that the even-odd rule leaves no holes where ticks and line meet.
    """
    step = 10.0 if length > 20.0 else 1.0
    count = round(length / step)
    line = y - 2.0 * _TICK_MM
    corners = [(x, y)]
    for k in range(count + 1):
        # The outer ticks lie inside of the ends, which are what is measured.
        left = min(max(x, x + k * step - 0.5 * _TICK_MM), x + length - _TICK_MM)
        high = _BAR_HEIGHT_MM if k in (0, count) or 2 * k == count else 0.6 * _BAR_HEIGHT_MM
        corners += [(left, line), (left, y - high), (left + _TICK_MM, y - high), (left + _TICK_MM, line)]
    corners.append((x + length, y))
    return [np.array(corners)]
