"""Boards and lengths as users type them."""

from __future__ import annotations

import pytest

from cv3d.calibration.board_text import parse_board, parse_length
from cv3d.calibration.boards import BoardType
from cv3d.errors import UsageError


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("25mm", 0.025),
        ("2.5 cm", 0.025),
        ("0.025", 0.025),
        ("0.025m", 0.025),
        (" 1in ", 0.0254),
        ('1"', 0.0254),
        ("36195um", 0.036195),
        ("1e-2", 0.01),
        ("2.5e1mm", 0.025),
    ],
)
def test_lengths(text: str, metres: float) -> None:
    assert parse_length(text) == pytest.approx(metres, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "mm", "-5mm", "0", "25 furlongs", "1.2.3", "nan", "inf", "1e999", "25mm x", "--1", "e"]
)
def test_no_lengths(text: str) -> None:
    with pytest.raises(UsageError, match="length"):
        parse_length(text)


@pytest.mark.parametrize(
    ("text", "kind", "cols", "rows", "dictionary"),
    [
        ("9x6", BoardType.CHECKERBOARD, 9, 6, None),
        ("6x9", BoardType.CHECKERBOARD, 9, 6, None),
        ("checkerboard:9x6", BoardType.CHECKERBOARD, 9, 6, None),
        ("Chessboard: 9 X 6", BoardType.CHECKERBOARD, 9, 6, None),
        ("chess:9*6", BoardType.CHECKERBOARD, 9, 6, None),
        ("charuco:5x7", BoardType.CHARUCO, 5, 7, None),
        ("charuco:8x6:5X5_100", BoardType.CHARUCO, 8, 6, "5X5_100"),
        ("charuco:8x6:DICT_5x5_100", BoardType.CHARUCO, 8, 6, "5X5_100"),
        ("aprilgrid:6x6", BoardType.APRILGRID, 6, 6, None),
        ("april:1x1", BoardType.APRILGRID, 1, 1, None),
        ("circles:10x8", BoardType.CIRCLES, 10, 8, None),
        ("circles_asymmetric:4x11", BoardType.CIRCLES_ASYMMETRIC, 4, 11, None),
        ("circles-hex:24x28", BoardType.CIRCLES_HEX, 24, 28, None),
        ("hex:24x28", BoardType.CIRCLES_HEX, 24, 28, None),
    ],
)
def test_boards(text: str, kind: BoardType, cols: int, rows: int, dictionary: str | None) -> None:
    board = parse_board(text)
    assert (board.type, board.cols, board.rows, board.dictionary) == (kind, cols, rows, dictionary)
    assert board.square_m is None


def test_every_type_can_be_named() -> None:
    for kind in BoardType:
        assert parse_board(f"{kind.value}:7x5").type is kind


def test_a_tag_family_keeps_its_name() -> None:
    board = parse_board("aprilgrid:6x6:APRILTAG_36h11")
    assert board.dictionary == "APRILTAG_36h11"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9",
        "9x",
        "x6",
        "9x6x3",
        "soccer:9x6",
        "2x9",
        "9x2",
        "charuco:2x2",
        "checkerboard:9x6:5X5_100",
        ":9x6",
        "charuco:8x6:A:B",
        "aprilgrid:0x6",
    ],
)
def test_no_boards(text: str) -> None:
    with pytest.raises(UsageError):
        parse_board(text)
