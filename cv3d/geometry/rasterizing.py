"""What a camera sees of a mesh: depth and triangle of every pixel, by a z-buffer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.fused import fused
from cv3d.geometry.mesh import Mesh

Floats = NDArray[np.float64]

_NEAR_M = 0.01
"""What is nearer to the camera's plane is cut off."""
_WIDEST = 4.0
"""Tangent of the angle off the axis up to which a view through a lens is rendered: 76 degrees."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """A mesh as one camera sees it."""

    depth: NDArray[np.float32]
    """(H, W), metres along z; 0 where there is nothing."""
    triangle: NDArray[np.int32]
    """(H, W) triangle seen; -1 where there is none."""


def render(mesh: Mesh, camera: Camera, cam_from_world: Floats) -> Rendering:
    """Render a mesh at the centres of a camera's pixels; both sides of triangles are seen.

    A camera with a distorted lens sees, at each pixel, the nearest pixel of an ideal view of the same focal length.

    Args:
        mesh: with triangles.
        camera: the camera; of a lens wider than 76 degrees off the axis, the part within.
        cam_from_world: (4, 4).

    Raises:
        InputError: the mesh has no triangles.
    """
    if not len(mesh.triangles):
        raise InputError("a point cloud has no surface to be rendered")
    points = mesh.vertices.astype(np.float64) @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    fx, fy, cx, cy = camera.params[:4]
    if camera.model == "pinhole":
        return _rasterized(points, mesh.triangles, (fx, fy, cx, cy), camera.width, camera.height)
    rows, columns = np.mgrid[: camera.height, : camera.width]
    rays = camera.unproject(np.stack([columns, rows], axis=-1).astype(np.float64))
    forward = rays[..., 2] > np.hypot(rays[..., 0], rays[..., 1]) / _WIDEST
    plane = rays[..., :2] / np.where(forward, rays[..., 2], 1.0)[..., None]
    low, high = plane[forward].min(axis=0), plane[forward].max(axis=0)
    width, height = (int(np.ceil(f * (b - a))) + 1 for f, a, b in zip((fx, fy), low, high, strict=True))
    ideal = _rasterized(points, mesh.triangles, (fx, fy, -fx * low[0], -fy * low[1]), width, height)
    column = np.clip(np.rint(fx * (plane[..., 0] - low[0])), 0, width - 1).astype(np.int64)
    row = np.clip(np.rint(fy * (plane[..., 1] - low[1])), 0, height - 1).astype(np.int64)
    depth = np.where(forward, ideal.depth[row, column], np.float32(0.0))
    return Rendering(depth, np.where(forward, ideal.triangle[row, column], np.int32(-1)))


def _rasterized(
    points: Floats, triangles: NDArray[np.int32], affine: tuple[float, float, float, float], width: int, height: int
) -> Rendering:
    inverse = np.zeros((height, width))
    seen = np.full((height, width), -1, np.int32)
    _fill(points, triangles, *affine, inverse, seen)
    depth = np.where(seen >= 0, 1.0 / np.where(seen >= 0, inverse, 1.0), 0.0)
    return Rendering(depth.astype(np.float32), seen)


@fused
def _fill(
    points: Floats,
    triangles: NDArray[np.int32],
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    inverse: Floats,
    seen: NDArray[np.int32],
) -> None:
    """Draw every triangle into the buffer of inverse depths, which are linear in the picture."""
    polygon = np.empty((4, 3))
    for t in range(len(triangles)):
        corners = 0
        for k in range(3):
            here, after = triangles[t, k], triangles[t, (k + 1) % 3]
            z0, z1 = points[here, 2], points[after, 2]
            if z0 >= _NEAR_M:
                for axis in range(3):
                    polygon[corners, axis] = points[here, axis]
                corners += 1
            if (z0 >= _NEAR_M) != (z1 >= _NEAR_M):
                share = (_NEAR_M - z0) / (z1 - z0)
                for axis in range(3):
                    polygon[corners, axis] = points[here, axis] + share * (points[after, axis] - points[here, axis])
                corners += 1
        for k in range(1, corners - 1):
            _fill_one(polygon, k, t, fx, fy, cx, cy, inverse, seen)


@fused
def _fill_one(
    polygon: Floats,
    k: int,
    t: int,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    inverse: Floats,
    seen: NDArray[np.int32],
) -> None:
    """Draw the triangle of corners 0, k and k + 1."""
    height, width = inverse.shape
    ia, ib, ic = 1.0 / polygon[0, 2], 1.0 / polygon[k, 2], 1.0 / polygon[k + 1, 2]
    xa, ya = fx * polygon[0, 0] * ia + cx, fy * polygon[0, 1] * ia + cy
    xb, yb = fx * polygon[k, 0] * ib + cx, fy * polygon[k, 1] * ib + cy
    xc, yc = fx * polygon[k + 1, 0] * ic + cx, fy * polygon[k + 1, 1] * ic + cy
    area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
    if area == 0.0 or not np.isfinite(area):
        return
    left, right = max(0.0, np.ceil(min(xa, xb, xc))), min(width - 1.0, np.floor(max(xa, xb, xc)))
    upper, lower = max(0.0, np.ceil(min(ya, yb, yc))), min(height - 1.0, np.floor(max(ya, yb, yc)))
    if left > right or upper > lower:
        return
    for row in range(int(upper), int(lower) + 1):
        for column in range(int(left), int(right) + 1):
            of_b = ((column - xa) * (yc - ya) - (xc - xa) * (row - ya)) / area
            of_c = ((xb - xa) * (row - ya) - (column - xa) * (yb - ya)) / area
            of_a = 1.0 - of_b - of_c
            if of_a >= -1e-12 and of_b >= -1e-12 and of_c >= -1e-12:
                nearness = of_a * ia + of_b * ib + of_c * ic
                if nearness > inverse[row, column]:
                    inverse[row, column] = nearness
                    seen[row, column] = t
