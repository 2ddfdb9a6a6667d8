"""The twin on the CPU of :func:`cv3d.fusion.ray_casting.cast`: ray by ray."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.block_index import IndexTable, number_of
from cv3d.fusion.layout import SIDE, Number
from cv3d.fusion.voxel_view import VoxelView, color_at, distance_at, rounded
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]

_0, _1, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_SIDE = np.float32(SIDE)
STEP = np.float32(0.8)
"""Share of the known free way that is stepped: the distance is that to a plane, and surfaces bend."""
_UNSEEN = np.float32(np.nan)
_FAR = np.float32(1e9)
_LAST = SIDE - 1


class Ray(NamedTuple):
    """A ray in voxels from the anchor block: origin + t direction, t in metres along the camera's axis."""

    ox: Number
    oy: Number
    oz: Number
    x: Number
    y: Number
    z: Number


class Scene(NamedTuple):
    """What rays are cast at."""

    voxels: VoxelView
    table: IndexTable
    anchor: Ints
    """(3,) the block that rays are placed from."""


@fused
def block_at(x: Number, y: Number, z: Number, scene: Scene) -> Number:
    """The block of lattice coordinates from the anchor block; -1 where there is none at hand."""
    anchor = scene.anchor
    block = number_of((x >> 3) + anchor[0], (y >> 3) + anchor[1], (z >> 3) + anchor[2], scene.table)
    return block if block >= 0 and scene.voxels.rows[block] >= 0 else -1


@fused
def place_of(x: Number, y: Number, z: Number) -> Number:
    """The place in its block of lattice coordinates."""
    return (x & 7) + SIDE * (y & 7) + SIDE * SIDE * (z & 7)


@fused
def between(ray: Ray, t: Number, scene: Scene, gradient: Floats) -> Number:
    """Signed distance between eight lattice points, trilinear, and its gradient a voxel; NaN where one is not known."""
    x, y, z = ray.ox + t * ray.x, ray.oy + t * ray.y, ray.oz + t * ray.z
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    total, gx, gy, gz = _0, _0, _0, _0
    block = block_at(i, j, k, scene)
    is_inside = (i & 7) < _LAST and (j & 7) < _LAST and (k & 7) < _LAST
    for corner in range(8):
        a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
        other = block if is_inside or corner == 0 else block_at(i + a, j + b, k + c, scene)
        value = distance_at(scene.voxels, other, place_of(i + a, j + b, k + c)) if other >= 0 else _UNSEEN
        wx, wy, wz = (fx if a else _1 - fx), (fy if b else _1 - fy), (fz if c else _1 - fz)
        total += wx * wy * wz * value
        gx += (_1 if a else -_1) * wy * wz * value
        gy += (_1 if b else -_1) * wx * wz * value
        gz += (_1 if c else -_1) * wx * wy * value
    gradient[0], gradient[1], gradient[2] = gx, gy, gz
    return total


@fused
def cast_rays(
    first: int,
    last: int,
    rays: Floats,
    motion: Floats,
    scene: Scene,
    lengths: Floats,
    steps: int,
    depth: Floats,
    normals: Floats,
    rgb: NDArray[np.uint8],
) -> None:
    """Where rays meet the surface from outside.

    Args:
        first: first ray.
        last: the one behind the last.
        rays: (n, 3) in the camera, z = 1; not finite for none.
        motion: (3, 4) anchor_from_cam.
        scene: what they are cast at.
        lengths: least depth, largest depth, edge of a voxel, truncation, metres.
        steps: at most, of a ray.
        depth: (n,), filled; 0 where nothing is met.
        normals: (n, 3), filled, in the world.
        rgb: (n, 3), filled where there are colours.
    """
    near, far, per_voxel = lengths[0], lengths[1], _1 / lengths[2]
    free_step = STEP * lengths[3] * per_voxel
    gradient = np.empty(3, np.float32)
    has_color = scene.voxels.colors.size > 0
    ox, oy, oz = motion[0, 3] * per_voxel, motion[1, 3] * per_voxel, motion[2, 3] * per_voxel
    for n in range(first, last):
        depth[n] = _0
        for a in range(3):
            normals[n, a] = _0
            if has_color:
                rgb[n, a] = 0
        if not np.isfinite(rays[n, 0]):
            continue
        rx = (motion[0, 0] * rays[n, 0] + motion[0, 1] * rays[n, 1] + motion[0, 2]) * per_voxel
        ry = (motion[1, 0] * rays[n, 0] + motion[1, 1] * rays[n, 1] + motion[1, 2]) * per_voxel
        rz = (motion[2, 0] * rays[n, 0] + motion[2, 1] * rays[n, 1] + motion[2, 2]) * per_voxel
        ray = Ray(ox, oy, oz, rx, ry, rz)
        low, high, value, known = find_change(ray, near, far, free_step, steps, scene)
        if high > low:
            at = meet(ray, low, high, known, value, scene, gradient)
            length = np.sqrt(gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2)
            if length > _0:
                depth[n] = at
                for c in range(3):
                    normals[n, c] = gradient[c] / length
                if has_color:
                    paint(ray, at, scene, rgb[n])


@fused
def find_change(
    ray: Ray, near: Number, far: Number, free_step: Number, steps: int, scene: Scene
) -> tuple[Number, Number, Number, Number]:
    """Where the distance at the nearest voxels becomes negative: t before and behind, the distance behind and before.

    Without such a place, t behind is not greater than t before.
    """
    per_length = _1 / np.sqrt(ray.x * ray.x + ray.y * ray.y + ray.z * ray.z)
    t, before, known = near, near, _UNSEEN
    bx, by, bz = 1 << 40, 0, 0
    block: Number = -1
    for _ in range(steps):
        if t > far:
            break
        x, y, z = ray.ox + t * ray.x, ray.oy + t * ray.y, ray.oz + t * ray.z
        i, j, k = int(np.floor(x + _HALF)), int(np.floor(y + _HALF)), int(np.floor(z + _HALF))
        if i >> 3 != bx or j >> 3 != by or k >> 3 != bz:
            bx, by, bz = i >> 3, j >> 3, k >> 3
            block = block_at(i, j, k, scene)
        if block < 0:
            # To where the ray leaves this block, which reaches half a voxel before its first lattice point.
            along = min(_leave(x, ray.x, bx), _leave(y, ray.y, by), _leave(z, ray.z, bz))
            known = _UNSEEN
            t += max(along, _0) + _HALF * per_length
            continue
        value = distance_at(scene.voxels, block, place_of(i, j, k))
        if value <= _0 and known > _0:
            return before, t, value, known
        before, known = t, value
        t += max(free_step * value, _1) * per_length if value > _0 else per_length
    return near, near, _UNSEEN, _UNSEEN


@fused
def _leave(x: Number, r: Number, block: Number) -> Number:
    """Way along a ray to the border of a block on one axis."""
    low = _SIDE * np.float32(block) - _HALF
    if r > _0:
        return (low + _SIDE - x) / r
    return (low - x) / r if r < _0 else _FAR


@fused
def meet(ray: Ray, low: Number, high: Number, known: Number, value: Number, scene: Scene, gradient: Floats) -> Number:
    """The surface between two places of a ray: regula falsi on the trilinear distance, twice.

    Args:
        ray: the ray.
        low: t in front of the surface.
        high: t behind it.
        known: distance at the voxel nearest to the one, and
        value: to the other.
        scene: the voxels.
        gradient: (3,), filled with that of the distance there.

    Returns:
        t.
    """
    a, b = between(ray, low, scene, gradient), between(ray, high, scene, gradient)
    # The nearest voxels' signs differ there; the surface between voxels may lie up to one voxel before or behind.
    per_length = _1 / np.sqrt(ray.x * ray.x + ray.y * ray.y + ray.z * ray.z)
    if a <= _0:
        low -= per_length
        a = between(ray, low, scene, gradient)
    if b > _0:
        high += per_length
        b = between(ray, high, scene, gradient)
    if not (a > _0 and b <= _0):
        a, b = known, value
    at = low + (high - low) * a / (a - b)
    for _ in range(2):
        middle = between(ray, at, scene, gradient)
        if middle > _0:
            low, a = at, middle
        elif middle <= _0:
            high, b = at, middle
        if a > b:
            at = low + (high - low) * a / (a - b)
    return at


@fused
def paint(ray: Ray, at: Number, scene: Scene, rgb: NDArray[np.uint8]) -> None:
    """The colour of the voxel nearest to a place of a ray."""
    i = int(np.floor(ray.ox + at * ray.x + _HALF))
    j = int(np.floor(ray.oy + at * ray.y + _HALF))
    k = int(np.floor(ray.oz + at * ray.z + _HALF))
    block = block_at(i, j, k, scene)
    if block >= 0:
        for c in range(3):
            rgb[c] = rounded(color_at(scene.voxels, block, place_of(i, j, k), c))
