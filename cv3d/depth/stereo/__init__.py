"""Dense disparity and depth of rectified pairs, by semi-global matching."""

from cv3d.depth.stereo.matching import stereo_disparity
from cv3d.depth.stereo.options import StereoOptions
from cv3d.depth.stereo.result import Disparity, RowCheck, StereoResult
from cv3d.depth.stereo.running import stereo
from cv3d.depth.stereo.scoring import StereoScore, score, visible_in_both
from cv3d.depth.stereo.triangulating import stereo_depth

__all__ = [
    "Disparity",
    "RowCheck",
    "StereoOptions",
    "StereoResult",
    "StereoScore",
    "score",
    "stereo",
    "stereo_depth",
    "stereo_disparity",
    "visible_in_both",
]
