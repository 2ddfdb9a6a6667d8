"""Boards that look the same after a turn.

A camera that sees such a board labels its corners as if it were upright in the picture, so two cameras may label one
sight of it differently. The labellings that are possible are the turns of the board onto itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board, BoardType

_SAME = 1e-6
_MARKED = (BoardType.CHARUCO, BoardType.APRILGRID)


@dataclass(frozen=True)
class Turn:
    """One way of labelling a board's points."""

    point_ids: NDArray[np.int64]
    """What each point is called instead, (M,)."""
    turned_from_board: NDArray[np.float64]
    """The motion that carries each point to the one whose name it takes, (4, 4), in units of `Board.points_m()`: a pose
    P found under the board's own labels is `P @ inverse(turned_from_board)` under these."""


def board_turns(board: Board) -> tuple[Turn, ...]:
    """The labellings between which a picture of the board does not tell, the identity first."""
    points = board.points_m()
    turns = [Turn(np.arange(len(points)), np.eye(4))]
    if board.type in _MARKED:
        return tuple(turns)
    for quarters in (1, 2, 3):
        if board.type is BoardType.CHECKERBOARD and not _colours_agree(board, quarters):
            continue
        turn = _turn(points, quarters)
        if turn is not None:
            turns.append(turn)
    return tuple(turns)


def _colours_agree(board: Board, quarters: int) -> bool:
    """Whether black squares fall on black ones; rows and cols count inner corners."""
    if quarters == 2:
        return (board.rows + board.cols) % 2 == 0
    return board.rows == board.cols and board.rows % 2 == 0


def _turn(points: NDArray[np.float64], quarters: int) -> Turn | None:
    """The turn by quarters about the middle of the points; None where they do not fall onto themselves."""
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]
    motion = np.eye(4)
    motion[:2, :2] = [[cosine, -sine], [sine, cosine]]
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    motion[:3, 3] = centre - motion[:3, :3] @ centre
    moved = points @ motion[:3, :3].T + motion[:3, 3]
    distances = np.linalg.norm(moved[:, None] - points[None], axis=-1)
    ids = distances.argmin(axis=1)
    pitch = float(np.linalg.norm(points[0] - points[1:], axis=-1).min())
    if distances[np.arange(len(points)), ids].max() > _SAME * pitch:
        return None
    return Turn(ids.astype(np.int64), motion)
