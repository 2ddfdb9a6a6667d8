"""Which part of a surface some cameras saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.rasterizing import render

Floats = NDArray[np.float64]

_SLACK = 0.02
"""Depth beyond the rendered one, as a share of it, that is still the same surface: pixels are not points."""
_HIDDEN_M = 0.01


@dataclass(frozen=True, eq=False)
class SurfaceView:
    """A camera with its place, and the depth that it measured.

    Raises:
        InputError: the depth is not of the camera's size.
    """

    camera: Camera
    """Of the depth."""
    cam_from_world: Floats
    """(4, 4)."""
    depth: NDArray[np.float32] | None = None
    """(H, W), metres along z; 0 where nothing was measured. None: no depth was recorded."""

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.depth is not None and self.depth.shape != size:
            raise InputError(f"depth of a camera of {size[1]}x{size[0]} pixels has not the shape {self.depth.shape}")


def observed(
    points: Floats, reference: Mesh, views: Sequence[SurfaceView], max_range_m: float = np.inf
) -> NDArray[np.bool_]:
    """Which points of a surface at least one view shows: in its picture, not hidden, and where depth was measured.

    Args:
        points: (n, 3), on the reference.
        reference: the surface, which hides its parts from each other; a point cloud hides nothing.
        views: cameras; where one has depth, a point counts only where something was measured.
        max_range_m: what is farther from the camera, along z, is not counted as seen.

    Returns:
        (n,).
    """
    seen = np.zeros(len(points), np.bool_)
    for view in views:
        open_ = np.flatnonzero(~seen)
        local = points[open_] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        ahead = (local[:, 2] > 0.0) & (local[:, 2] <= max_range_m)
        open_, local = open_[ahead], local[ahead]
        if not len(open_):
            continue
        pixels = view.camera.project(local)
        column, row = np.rint(np.nan_to_num(pixels, nan=-1e6, posinf=-1e6, neginf=-1e6).clip(-1e6, 1e6)).T
        inside = (column >= 0) & (column < view.camera.width) & (row >= 0) & (row < view.camera.height)
        open_, depth = open_[inside], local[inside, 2]
        at = (row[inside].astype(np.int64), column[inside].astype(np.int64))
        shown = np.ones(len(open_), np.bool_)
        if len(reference.triangles):
            nearest = render(reference, view.camera, view.cam_from_world).depth[at]
            shown &= (nearest > 0.0) & (depth <= nearest * (1.0 + _SLACK) + _HIDDEN_M)
        if view.depth is not None:
            shown &= view.depth[at] > 0.0
        seen[open_[shown]] = True
    return seen
