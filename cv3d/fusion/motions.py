"""Where cameras are as the kernels take it: in float32, from a block nearby."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.fusion.layout import REACH, SIDE

_MARGIN = 1 << 12
"""Blocks that frames near the border of what keys can name may still reach."""


def anchor_of(cam_from_world: NDArray[np.float64], voxel_m: float) -> NDArray[np.int32]:
    """The block that a camera is in, (3,).

    Raises:
        InputError: it is too far from the origin for blocks of that size.
    """
    rotation, translation = cam_from_world[:3, :3], cam_from_world[:3, 3]
    block = np.floor(-rotation.T @ translation / (SIDE * voxel_m))
    if np.abs(block).max() > REACH - _MARGIN:
        most = (REACH - _MARGIN) * SIDE * voxel_m
        raise InputError(
            f"a camera lies more than {most:.0f} m from the origin, which voxels of {voxel_m:g} m cannot name"
        )
    return np.asarray(block, np.int32)


def cam_from_anchor(
    cam_from_world: NDArray[np.float64], anchor: NDArray[np.int32], voxel_m: float
) -> NDArray[np.float32]:
    """(3, 4): from metres off the anchor block's origin to the camera."""
    motion = cam_from_world[:3].copy()
    motion[:, 3] += motion[:, :3] @ (anchor * (SIDE * voxel_m))
    return motion.astype(np.float32)


def anchor_from_cam(
    cam_from_world: NDArray[np.float64], anchor: NDArray[np.int32], voxel_m: float
) -> NDArray[np.float32]:
    """(3, 4): the inverse of :func:`cam_from_anchor`."""
    rotation = cam_from_world[:3, :3].T
    translation = -rotation @ cam_from_world[:3, 3] - anchor * (SIDE * voxel_m)
    return np.concatenate([rotation, translation[:, None]], 1).astype(np.float32)
