"""Looking for points in a frame: where they should be, how their patches should look there, and where they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.projection_kernels import (
    BROWN,
    PARAMS,
    PROJECTIONS,
    TORCH,
    project_brown,
    project_kannala_brandt,
)
from cv3d.geometry.cameras import Camera
from cv3d.geometry.fused import fused
from cv3d.odometry.found import Found
from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.patches import RADIUS, Levels
from cv3d.odometry.points import PointTable

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SCALES = 0.45, 2.0
"""Smallest and largest size of a patch over that of its reference at which the two are compared."""
_NEAREST = 1e-3


@dataclass(frozen=True, eq=False)
class Expected:
    """Where points should be seen."""

    rows: Rows
    """(n,) those that should be seen at all."""
    pixels: Pixels
    """(n, 2)"""
    inverse_warps: Pixels
    """(n, 2, 2) from offsets in the frame to offsets in the reference."""

    def __getitem__(self, index: NDArray[np.int64]) -> Expected:
        return Expected(self.rows[index], self.pixels[index], self.inverse_warps[index])

    def and_then(self, other: Expected) -> Expected:
        """These, then others."""
        return Expected(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.inverse_warps, other.inverse_warps]),
        )


def project(camera: Camera, cam_from_world: Floats, points: Floats) -> tuple[Floats, Bools]:
    """Pixels (n, 2) of points (n, 3) in the world, and which are ahead and inside the picture."""
    seen = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    return project_seen(camera, seen)


def project_seen(camera: Camera, seen: Floats) -> tuple[Floats, Bools]:
    """Pixels of points (n, 3) in the camera's frame, and which are ahead and inside the picture."""
    pixels = camera.project(seen)
    # A lens of more than half a turn sees behind the plane of its centre; which pixels are its own, its domain tells.
    with np.errstate(invalid="ignore"):
        ahead = seen[:, 2] > _NEAREST if camera.model in _ONE_SIDED else np.isfinite(pixels).all(axis=1)
        inside = (pixels >= 0.0).all(axis=1) & (pixels[:, 0] <= camera.width - 1) & (pixels[:, 1] <= camera.height - 1)
    return pixels, ahead & inside


_ONE_SIDED = frozenset(["pinhole", "brown4", "brown5", "brown8", "brown12", "division"])


def expect(
    points: PointTable,
    rows: Rows,
    keys: list[Key],
    camera: Camera,
    cam_from_world: Floats,
    offset: Floats | None = None,
) -> Expected:
    """Where points should be, and how they should look.

    Args:
        points: the table.
        rows: of the points in question.
        keys: key frames, by number.
        camera: of the frame.
        cam_from_world: predicted, (4, 4).
        offset: (n, 2) added to the predicted places, pixels.
    """
    if not len(rows):
        return Expected(rows, np.zeros((0, 2), np.float32), np.zeros((0, 2, 2), np.float32))
    hosts, which = np.unique(points.host[rows], return_inverse=True)
    host_from_world = np.stack([keys[host].cam_from_world for host in hosts])
    lens = PROJECTIONS.get(camera.model, TORCH)
    if lens == TORCH:
        at, warps, visible = _expected_by_torch(points, rows, host_from_world[which], camera, cam_from_world)
    else:
        at, warps = np.empty((len(rows), 2)), np.empty((len(rows), 2, 2))
        visible = np.empty(len(rows), np.bool_)
        params = np.zeros(PARAMS)
        params[: len(camera.params)] = camera.params
        cam_from_host = np.stack([cam_from_world @ inverse(one) for one in host_from_world])
        _expect_kernel(
            points.xyz,
            points.host_rays,
            rows,
            which,
            host_from_world,
            cam_from_host,
            np.ascontiguousarray(cam_from_world),
            params,
            lens,
            (camera.width, camera.height),
            at,
            warps,
            visible,
        )
    determinant = warps[:, 0, 0] * warps[:, 1, 1] - warps[:, 0, 1] * warps[:, 1, 0]
    with np.errstate(invalid="ignore"):
        usable = visible & (determinant > _SCALES[0] ** 2) & (determinant < _SCALES[1] ** 2)
    kept = np.flatnonzero(usable)
    a, b = warps[kept, 0, 0], warps[kept, 0, 1]
    c, d = warps[kept, 1, 0], warps[kept, 1, 1]
    inverse_warps = np.stack([d, -b, -c, a], axis=1).reshape(-1, 2, 2) / determinant[kept, None, None]
    places = at[kept] if offset is None else at[kept] + offset[kept]
    return Expected(rows[kept], places.astype(np.float32), inverse_warps.astype(np.float32))


def _expected_by_torch(
    points: PointTable, rows: Rows, host_from_world: Floats, camera: Camera, cam_from_world: Floats
) -> tuple[Floats, Floats, Bools]:
    """Of any lens: pixels (n, 2), warps (n, 2, 2) from differences, and which points are in the picture."""
    xyz = points.xyz[rows]
    world_from_host = np.stack([inverse(one) for one in host_from_world])
    cam_from_host = cam_from_world @ world_from_host
    in_host = np.einsum("nij,nj->ni", host_from_world[:, :3, :3], xyz) + host_from_world[:, :3, 3]
    # Neighbours of the point on a plane that faces the host.
    beside = np.linalg.norm(in_host, axis=1)[:, None, None] * points.host_rays[rows, 1:]
    seen_beside = np.einsum("nij,nkj->nki", cam_from_host[:, :3, :3], beside) + cam_from_host[:, None, :3, 3]
    seen = xyz @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    count = len(rows)
    pixels, visible = project_seen(camera, np.concatenate([seen, seen_beside.reshape(-1, 3)]))
    at, around = pixels[:count], pixels[count:].reshape(count, 2, 2)
    return at, (around - at[:, None]).transpose(0, 2, 1) / RADIUS, visible[:count]


@fused
def _expect_kernel(
    xyz: Floats,
    host_rays: Floats,
    rows: Rows,
    which: Rows,
    host_from_world: Floats,
    cam_from_host: Floats,
    cam_from_world: Floats,
    params: Floats,
    lens: int,
    size: tuple[int, int],
    at: Floats,
    warps: Floats,
    visible: Bools,
) -> None:
    """The same by derivatives, of lenses that have a kernel."""
    by_point, by_params = np.empty((2, 3)), np.empty((2, PARAMS))
    seen, turned = np.empty(3), np.empty(3)
    for i in range(len(rows)):
        row, h = rows[i], which[i]
        distance = 0.0
        for k in range(3):
            seen[k] = cam_from_world[k, 3]
            in_host = host_from_world[h, k, 3]
            for m in range(3):
                seen[k] += cam_from_world[k, m] * xyz[row, m]
                in_host += host_from_world[h, k, m] * xyz[row, m]
            distance += in_host * in_host
        distance = math.sqrt(distance)
        visible[i] = False
        at[i, :] = np.nan
        warps[i, :, :] = np.nan
        if lens == BROWN:
            if not seen[2] > _NEAREST:
                continue
            u, v = project_brown(params, seen[0], seen[1], seen[2], False, by_point, by_params)
        else:
            u, v = project_kannala_brandt(params, seen[0], seen[1], seen[2], False, by_point, by_params)
        at[i, 0], at[i, 1] = u, v
        visible[i] = u >= 0.0 and v >= 0.0 and u <= size[0] - 1 and v <= size[1] - 1
        for side in range(2):
            for k in range(3):
                turned[k] = 0.0
                for m in range(3):
                    across = host_rays[row, 1 + side, m] - host_rays[row, 0, m]
                    turned[k] += cam_from_host[h, k, m] * across
            for r in range(2):
                total = 0.0
                for k in range(3):
                    total += by_point[r, k] * turned[k]
                warps[i, r, side] = total * distance / RADIUS


def look(points: PointTable, expected: Expected, levels: Levels, coarsest: int, finest: int = 0) -> Found:
    """Find patches in a frame."""
    out = points.aligner.align(
        levels, expected.rows, expected.inverse_warps, expected.pixels, min(coarsest, len(levels) - 1), finest
    )
    return Found(expected.rows, out[:, :2].copy(), out[:, 2].copy(), out[:, 3:].copy())


def spread_out(pixels: Pixels, first: Bools, count: int, size: tuple[int, int]) -> NDArray[np.int64]:
    """Choose points that cover the picture evenly.

    Args:
        pixels: (n, 2)
        first: (n,) those to prefer.
        count: how many.
        size: width and height, pixels.

    Returns:
        Indices, ascending.
    """
    if len(pixels) <= count:
        return np.arange(len(pixels))
    cell = np.sqrt(size[0] * size[1] / count)
    index = (pixels[:, 1] // cell).astype(np.int64) * int(size[0] // cell + 1) + (pixels[:, 0] // cell).astype(np.int64)
    order = np.lexsort((~first, index))
    sorted_index = index[order]
    start = np.r_[True, sorted_index[1:] != sorted_index[:-1]]
    begun = np.maximum.accumulate(np.where(start, np.arange(len(order)), 0))
    place = np.arange(len(order)) - begun
    # The first of every cell, then the second of every cell, and so on; those followed already before the others.
    rank = np.lexsort((order, place, ~first[order]))
    return np.sort(order[rank[:count]])
