"""Recordings: what a folder, a video or a live camera is, with its calibration, its depth and its true path."""

from cv3d.odometry.sources.opening import LAYOUTS, open_sequence
from cv3d.odometry.sources.sequence import Sequence

__all__ = ["LAYOUTS", "Sequence", "open_sequence"]
