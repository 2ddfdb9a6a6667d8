"""Recordings: frames in the order of time, with stereo, depth, calibration and truth where a folder has them."""

from cv3d.media.sequences.depth_checks import judge_depth
from cv3d.media.sequences.depth_files import DepthReader
from cv3d.media.sequences.frame import SequenceFrame
from cv3d.media.sequences.picture_files import FrameFiles
from cv3d.media.sequences.stream import SequenceFrames

__all__ = ["DepthReader", "FrameFiles", "SequenceFrame", "SequenceFrames", "judge_depth"]
