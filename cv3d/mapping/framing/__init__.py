"""Frames of coordinates of scenes: up, metres, and places on the earth."""

from cv3d.mapping.framing.axes import centred, upright_rotation
from cv3d.mapping.framing.board_scale import scale_by_board
from cv3d.mapping.framing.framing import frame_scene
from cv3d.mapping.framing.georeferencing import GeoFit, georeference
from cv3d.mapping.framing.metric import MetricScale, scale_by_depth, scale_by_distance
from cv3d.mapping.framing.transforming import camera_centres, transformed
from cv3d.mapping.framing.vertical import Vertical, find_vertical, held_upright

__all__ = [
    "GeoFit",
    "MetricScale",
    "Vertical",
    "camera_centres",
    "centred",
    "find_vertical",
    "frame_scene",
    "georeference",
    "held_upright",
    "scale_by_board",
    "scale_by_depth",
    "scale_by_distance",
    "transformed",
    "upright_rotation",
]
