"""The voxels of a grid as fused kernels read them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.layout import DISTANCE_STEPS, Fields, Number
from cv3d.geometry.fused import fused

_UNSEEN = np.float32(np.nan)
_STEPS = np.float32(DISTANCE_STEPS)
_1, _HALF, _MOST = np.float32(1.0), np.float32(0.5), np.float32(255.0)


class VoxelView(NamedTuple):
    """Blocks by their number, and the fields in which their voxels lie."""

    rows: NDArray[np.int32]
    """(n,) where a block lies in the fields; negative: not at hand."""
    free: NDArray[np.int32]
    """(n,) free weight."""
    least: int
    """Frames that a voxel has to have been seen by."""
    sums: NDArray[np.int32]
    """(r, 512), as the fields that follow, those of :class:`cv3d.fusion.layout.Fields`."""
    weights: NDArray[np.int32]
    counts: NDArray[np.int8]
    colors: NDArray[np.int16]
    """(r, 3, 512); (0, 3, 0) where there are none."""


def view_of(fields: Fields, rows: NDArray[np.int32], free: NDArray[np.int32], least: int) -> VoxelView:
    """Fields and where in them the blocks lie."""
    colors = np.zeros((0, 3, 0), np.int16) if fields.colors is None else fields.colors
    return VoxelView(rows, free, least, fields.sums, fields.weights, fields.counts, colors)


@fused
def distance_at(voxels: VoxelView, block: Number, place: Number) -> Number:
    """Signed distance of a voxel in units of the truncation; NaN where it was seen too seldom."""
    row = voxels.rows[block]
    weight = voxels.weights[row, place]
    if weight <= 0 or voxels.counts[row, place] < voxels.least:
        return _UNSEEN
    free = np.float32(voxels.free[block])
    return (np.float32(voxels.sums[row, place]) / _STEPS + free) / (np.float32(weight) + free)


@fused
def color_at(voxels: VoxelView, block: Number, place: Number, channel: Number) -> Number:
    """Mean colour of a voxel, 0 to 255."""
    row = voxels.rows[block]
    count = voxels.counts[row, place]
    return np.float32(voxels.colors[row, channel, place]) / np.float32(count if count > 0 else 1)


@fused
def rounded(value: Number) -> Number:
    """A colour as a byte."""
    return np.uint8(value + _HALF if value + _HALF < _MOST else _MOST)
