"""Boards and lengths as a user types them."""

from __future__ import annotations

import math
import re

from cv3d.calibration.boards import Board, BoardType
from cv3d.errors import UsageError

_UNITS_M = {"": 1.0, "m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "in": 0.0254, '"': 0.0254}
_NAMES: dict[str, BoardType] = {
    **{kind.value: kind for kind in BoardType},
    "chessboard": BoardType.CHECKERBOARD,
    "chess": BoardType.CHECKERBOARD,
    "april": BoardType.APRILGRID,
    "circles_regular": BoardType.CIRCLES,
    "asymmetric_circles": BoardType.CIRCLES_ASYMMETRIC,
    "hex": BoardType.CIRCLES_HEX,
}
_SMALLEST = {BoardType.CHECKERBOARD: 3, BoardType.CHARUCO: 3, BoardType.APRILGRID: 1}


def parse_length(text: str) -> float:
    """A length in metres from "25mm", "2.5 cm", "1in" or "0.025" (metres).

    Raises:
        UsageError: it is no length, or not positive.
    """
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(m|cm|mm|um|in|\"|)\s*", text)
    try:
        value = float(match[1]) * _UNITS_M[match[2]] if match else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise UsageError(f"'{text}' is not a length; write it like 25mm, 2.5cm, 1in or 0.025 (metres)")
    return value


def parse_board(text: str) -> Board:
    """A board from "9x6", "checkerboard:9x6", "charuco:8x6:5X5_100", "aprilgrid:6x6", "circles:10x8".

    Columns come first, counted as :class:`Board` counts them: inner corners of a checkerboard, squares of a ChArUco
    board, tags, circles.

    Raises:
        UsageError: it cannot be understood.
    """
    parts = [part.strip() for part in text.split(":")]
    if len(parts) == 1:
        parts = [BoardType.CHECKERBOARD.value, parts[0]]
    kind = _NAMES.get(parts[0].lower().replace("-", "_"))
    size = re.fullmatch(r"(\d+)\s*[xX*]\s*(\d+)", parts[1])
    if kind is None or size is None or len(parts) > (3 if kind in (BoardType.CHARUCO, BoardType.APRILGRID) else 2):
        known = ", ".join(kind.value for kind in BoardType)
        raise UsageError(
            f"'{text}' is not a board; write TYPE:COLSxROWS, e.g. checkerboard:9x6 or charuco:8x6:5X5_100 "
            f"(types: {known})"
        )
    cols, rows = int(size[1]), int(size[2])
    smallest = _SMALLEST.get(kind, 3)
    if min(cols, rows) < smallest:
        raise UsageError(f"'{text}': a {kind.value} needs at least {smallest} in each direction")
    if kind is BoardType.CHECKERBOARD:
        cols, rows = max(cols, rows), min(cols, rows)
    dictionary = None
    if len(parts) == 3:
        dictionary = re.sub(r"(\d)H(\d)", r"\1h\2", parts[2].upper().removeprefix("DICT_"))
    return Board(kind, rows, cols, dictionary=dictionary)
