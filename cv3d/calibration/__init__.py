"""Calibrating cameras from pictures of boards."""

from __future__ import annotations

from cv3d.calibration.api import calibrate
from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.result import Calibration

__all__ = ["Board", "BoardType", "Calibration", "calibrate"]
