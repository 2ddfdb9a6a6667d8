"""Many cameras at once, without a first pair: focal lengths, rotations and positions from relations between pairs."""

from cv3d.geometry.global_poses.cycles import CycleErrors, consistent_edges, cycle_errors
from cv3d.geometry.global_poses.focals import FocalCalibration, FocalOptions, calibrate_focals
from cv3d.geometry.global_poses.positions import GlobalPositions, PositioningOptions, position_globally
from cv3d.geometry.global_poses.rotations import RotationAverage, RotationAveragingOptions, average_rotations

__all__ = [
    "CycleErrors",
    "FocalCalibration",
    "FocalOptions",
    "GlobalPositions",
    "PositioningOptions",
    "RotationAverage",
    "RotationAveragingOptions",
    "average_rotations",
    "calibrate_focals",
    "consistent_edges",
    "cycle_errors",
    "position_globally",
]
