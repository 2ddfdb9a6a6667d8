"""Depth maps into one surface: a sparse voxel grid, its surface, and cleaning."""

from cv3d.fusion.consistency import consistent_depth
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.grid import Integrated, VoxelGrid
from cv3d.fusion.options import ConsistencyOptions, DepthNoise, GridOptions, choose_voxel_m
from cv3d.fusion.ray_casting import RayCast

__all__ = [
    "ConsistencyOptions",
    "DepthFrame",
    "DepthNoise",
    "GridOptions",
    "Integrated",
    "RayCast",
    "VoxelGrid",
    "choose_voxel_m",
    "consistent_depth",
]
