"""Cameras as pyramids of lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera

Floats = NDArray[np.float64]

_WIDEST = 1.5
"""Tangent of the angle off the axis at which a pyramid ends; a fisheye would have none."""
_UNKNOWN = (0.6, 0.45)


def pyramid(camera: Camera | None, depth: float) -> Floats:
    """Corners of a camera's picture at a depth, (4, 3), from the upper left to the right and around."""
    if camera is None:
        half_x, half_y = _UNKNOWN
        low, high = np.array([-half_x, -half_y]), np.array([half_x, half_y])
    else:
        fx, fy, cx, cy = camera.params[:4]
        low = np.array([(-0.5 - cx) / fx, (-0.5 - cy) / fy]).clip(-_WIDEST, 0.0)
        high = np.array([(camera.width - 0.5 - cx) / fx, (camera.height - 0.5 - cy) / fy]).clip(0.0, _WIDEST)
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    return np.array([(x, y, 1.0) for x, y in corners]) * depth


def pyramid_lines(camera: Camera | None, world_from_cam: Floats, depth: float) -> Floats:
    """The edges of a camera's pyramid as one line, (k, 3), which NaN breaks; the upper edge carries a peak."""
    a, b, c, d = pyramid(camera, depth)
    eye, gap = np.zeros(3), np.full(3, np.nan)
    peak = 0.5 * (a + b) + 0.35 * (a - d)
    line = np.array([eye, a, b, c, d, a, gap, b, eye, c, gap, d, eye, gap, a, peak, b, gap])
    return line @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
