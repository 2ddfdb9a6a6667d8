"""Colours for the pixels of a depth camera that stands beside the colour camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera

Floats = NDArray[np.float64]

_HIDDEN = 0.03
"""Depth beyond the nearest one of a pixel, as a share of it, from which on a point is hidden."""


def registered_color(
    depth: NDArray[np.float32],
    depth_camera: Camera,
    color: NDArray[np.uint8],
    color_camera: Camera,
    color_from_depth: Floats,
) -> NDArray[np.uint8]:
    """What the colour camera shows at the points that the depth camera measured.

    Where a nearer surface hides a point from the colour camera, or its picture ends, the pixel is black.

    Args:
        depth: (h, w), metres along z.
        depth_camera: of it.
        color: (H, W, 3).
        color_camera: of it.
        color_from_depth: (4, 4), metres.

    Returns:
        (h, w, 3).
    """
    rows, columns = np.nonzero(depth > 0.0)
    rays = depth_camera.unproject(np.stack([columns, rows], axis=-1).astype(np.float64))
    points = rays * (depth[rows, columns] / rays[:, 2])[:, None]
    seen = points @ color_from_depth[:3, :3].T + color_from_depth[:3, 3]
    ahead = seen[:, 2] > 0.0
    rows, columns, seen = rows[ahead], columns[ahead], seen[ahead]
    pixels = np.nan_to_num(color_camera.project(seen), nan=-1.0, posinf=-1.0, neginf=-1.0)
    height, width = color.shape[:2]
    column, row = np.rint(pixels.clip(-2.0, max(width, height) + 1.0)).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    rows, columns, column, row, z = rows[inside], columns[inside], column[inside], row[inside], seen[inside, 2]
    # One cell of this buffer is as large as a pixel of the depth, so that its points leave no gaps to see through.
    step = max(1, round(width / depth.shape[1]))
    cell = row // step * (width // step + 1) + column // step
    nearest = np.full(int(cell.max(initial=0)) + 1, np.inf)
    np.minimum.at(nearest, cell, z)
    shown = z <= nearest[cell] * (1.0 + _HIDDEN)
    out = np.zeros((*depth.shape, 3), np.uint8)
    out[rows[shown], columns[shown]] = color[row[shown], column[shown]]
    return out
