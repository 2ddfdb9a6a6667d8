"""Depth from disparity."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras.camera import Camera

Floats = NDArray[np.float32]


def stereo_depth(disparity: Floats, camera: Camera, baseline_m: float, principal_offset_px: float = 0.0) -> Floats:
    """Depth along z of a rectified pair: Z = f B / (d + o).

    Args:
        disparity: (..., h, w) column in the left picture minus column in the right one, pixels; 0 where there is none.
        camera: pinhole camera of the rectified left picture.
        baseline_m: distance between the cameras, metres; or in another unit, which the depth is then in.
        principal_offset_px: principal column of the right camera minus the left one's, pixels, Middlebury's `doffs`;
            not 0 where the pair is rectified so that a finite distance has disparity 0.

    Returns:
        (..., h, w) float32; 0 where there is no disparity, or one that no point before the camera has.

    Raises:
        InputError: the camera is not pinhole or of another size, or the baseline is not positive.
    """
    if camera.model != "pinhole":
        raise InputError(f"depth from disparity takes a rectified pinhole camera, not one of model '{camera.model}'")
    if disparity.shape[-2:] != (camera.height, camera.width):
        height, width = disparity.shape[-2:]
        raise InputError(f"the disparity is {width}x{height}, its camera {camera.width}x{camera.height}")
    if not (math.isfinite(baseline_m) and baseline_m > 0.0):
        raise InputError(f"the distance between the cameras has to be positive, not {baseline_m}")
    shifted = disparity.astype(np.float64) + principal_offset_px
    is_ahead = (disparity > 0.0) & (shifted > 0.0)
    depth = np.zeros(disparity.shape, np.float32)
    depth[is_ahead] = camera.params[0] * baseline_m / shifted[is_ahead]
    return depth
