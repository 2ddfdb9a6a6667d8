"""What a user may decide about the calibration of a rig."""

from __future__ import annotations

from dataclasses import dataclass

from cv3d.calibration.boards import Board
from cv3d.calibration.calibrating import BoardWarp
from cv3d.calibration.models import AUTO
from cv3d.geometry.cameras.camera import Camera


@dataclass(frozen=True)
class RigOptions:
    """What a user may decide."""

    board: Board | None = None
    """The board, one for all cameras; None: found out."""
    square_m: float | None = None
    """Side of a square, side of a tag or distance of circles, metres; None: unknown, the result is up to scale. Where
    rows and columns turn out to differ in scale it is the geometric mean of both directions."""
    model: str = AUTO
    """The lens model of all cameras; `auto`: chosen for each by the data."""
    board_warp: BoardWarp = BoardWarp.AUTO
    seed: int = 0
    """Deals the views to cross-validation folds."""
    workers: int | None = None
    """Threads for detection; None: one per core."""
    intrinsics: tuple[Camera | None, ...] = ()
    """For each camera what is known and held, None where it is estimated; empty: all are estimated."""
