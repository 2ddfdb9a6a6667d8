"""Points followed through time: what odometry and mapping consume."""

from cv3d.features.tracks.alignment import AlignmentOptions
from cv3d.features.tracks.builder import TrackBuilder
from cv3d.features.tracks.collecting import TrackCollector
from cv3d.features.tracks.frame_tracks import Frame, FrameStatistics, FrameTracks, GrayFrame
from cv3d.features.tracks.lucas_kanade import FlowOptions
from cv3d.features.tracks.options import TrackOptions
from cv3d.features.tracks.summary import (
    LengthHistogram,
    TrackSummary,
    length_histogram,
    median_forward_backward,
    summarise,
)
from cv3d.features.tracks.tracking import TrackResult, load_result, track
from cv3d.features.tracks.tracks import Covisible, Flag, Tracks

__all__ = [
    "AlignmentOptions",
    "Covisible",
    "Flag",
    "FlowOptions",
    "Frame",
    "FrameStatistics",
    "FrameTracks",
    "GrayFrame",
    "LengthHistogram",
    "TrackBuilder",
    "TrackCollector",
    "TrackOptions",
    "TrackResult",
    "TrackSummary",
    "Tracks",
    "length_histogram",
    "load_result",
    "median_forward_backward",
    "summarise",
    "track",
]
