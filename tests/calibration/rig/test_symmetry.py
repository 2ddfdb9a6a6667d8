"""Which boards look the same after which turns."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.rig.symmetry import board_turns


@pytest.mark.parametrize(
    ("board", "count"),
    [
        (Board(BoardType.CHECKERBOARD, 5, 7), 2),
        (Board(BoardType.CHECKERBOARD, 6, 8), 2),
        (Board(BoardType.CHECKERBOARD, 6, 9), 1),
        (Board(BoardType.CHECKERBOARD, 6, 6), 4),
        (Board(BoardType.CHECKERBOARD, 7, 7), 2),
        (Board(BoardType.CIRCLES, 7, 10), 2),
        (Board(BoardType.CIRCLES, 8, 8), 4),
        (Board(BoardType.CIRCLES_ASYMMETRIC, 11, 4), 1),
        (Board(BoardType.CIRCLES_ASYMMETRIC, 10, 4), 2),
        (Board(BoardType.CIRCLES_HEX, 28, 24), 2),
        (Board(BoardType.CHARUCO, 5, 5, dictionary="4X4_50", marker_ratio=0.7), 1),
        (Board(BoardType.APRILGRID, 6, 6, dictionary="APRILTAG_36h11", marker_ratio=0.3), 1),
    ],
    ids=str,
)
def test_turns_of_boards(board: Board, count: int) -> None:
    turns = board_turns(board.with_square(0.02))
    assert len(turns) == count
    points = board.with_square(0.02).points_m()
    for turn in turns:
        assert sorted(turn.point_ids) == list(range(len(points)))
        moved = points @ turn.turned_from_board[:3, :3].T + turn.turned_from_board[:3, 3]
        np.testing.assert_allclose(moved, points[turn.point_ids], atol=1e-9)
        assert np.linalg.det(turn.turned_from_board) == pytest.approx(1.0)


def test_the_first_turn_is_none() -> None:
    first = board_turns(Board(BoardType.CIRCLES, 4, 4))[0]
    np.testing.assert_array_equal(first.point_ids, np.arange(16))
    np.testing.assert_array_equal(first.turned_from_board, np.eye(4))
