"""Many cameras at once, without a first pair: focal lengths, rotations and positions from relations between pairs."""

from cv3d.geometry.global_poses.focals import FocalCalibration, FocalOptions, calibrate_focals

__all__ = ["FocalCalibration", "FocalOptions", "calibrate_focals"]
