"""The twin on the CPU of :func:`cv3d.fusion.ray_casting.cast`: ray by ray."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.layout import SIDE, VOXELS, Number
from cv3d.fusion.ray_cache import (
    UNKNOWN,
    Cache,
    Floats,
    Keys,
    Scene,
    corners_of,
    fetch,
    look_up,
    new_cache,
    place_of,
)
from cv3d.fusion.voxel_view import color_at, rounded
from cv3d.geometry.fused import fused

_0, _1, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_SIDE = np.float32(SIDE)
STEP = np.float32(0.8)
"""Share of the known free way that is stepped: the distance is that to a plane, and surfaces bend."""
_UNSEEN = np.float32(np.nan)
_FAR = np.float32(1e9)
TILE = 32
"""Pixels along the edge of a part of the picture whose rays follow one another: they pass the same blocks."""


class Ray(NamedTuple):
    """A ray in voxels from the anchor block: origin + t direction, t in metres along the camera's axis."""

    ox: Number
    oy: Number
    oz: Number
    x: Number
    y: Number
    z: Number


@fused
def between(ray: Ray, t: Number, keys: Keys, distances: Floats, wanted: Keys) -> tuple[Number, Number, Number, Number]:
    """Signed distance between eight lattice points, trilinear, and its gradient a voxel; NaN where one is not known."""
    x, y, z = ray.ox + t * ray.x, ray.oy + t * ray.y, ray.oz + t * ray.z
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    a, b, c, d, e, f, g, h = corners_of(i, j, k, keys, distances, wanted)
    # Along x, then y, then z; the slope along x likewise.
    ab, cd, ef, gh = a + fx * (b - a), c + fx * (d - c), e + fx * (f - e), g + fx * (h - g)
    low, high = ab + fy * (cd - ab), ef + fy * (gh - ef)
    slope_low = (b - a) + fy * ((d - c) - (b - a))
    slope_high = (f - e) + fy * ((h - g) - (f - e))
    gx = slope_low + fz * (slope_high - slope_low)
    gy = (cd - ab) + fz * ((gh - ef) - (cd - ab))
    return low + fz * (high - low), gx, gy, high - low


@fused
def cast_tiles(
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
        first: first row of pixels.
        last: the one behind the last.
        rays: (h, w, 3) in the camera, z = 1; not finite for none.
        motion: (3, 4) anchor_from_cam.
        scene: what they are cast at.
        lengths: least depth, largest depth, edge of a voxel, truncation, metres.
        steps: at most, of a ray.
        depth: (h, w), filled; 0 where nothing is met.
        normals: (h, w, 3), filled, in the world.
        rgb: (h, w, 3), filled where there are colours.
    """
    cache = new_cache()
    near, far, per_voxel = lengths[0], lengths[1], _1 / lengths[2]
    free_step = STEP * lengths[3] * per_voxel
    has_color = rgb.size > 0
    ox, oy, oz = motion[0, 3] * per_voxel, motion[1, 3] * per_voxel, motion[2, 3] * per_voxel
    width = rays.shape[1]
    for left in range(0, width, TILE):
        for row in range(first, last):
            for column in range(left, min(left + TILE, width)):
                x, y = rays[row, column, 0], rays[row, column, 1]
                rx = (motion[0, 0] * x + motion[0, 1] * y + motion[0, 2]) * per_voxel
                ry = (motion[1, 0] * x + motion[1, 1] * y + motion[1, 2]) * per_voxel
                rz = (motion[2, 0] * x + motion[2, 1] * y + motion[2, 2]) * per_voxel
                ray = Ray(ox, oy, oz, rx, ry, rz)
                at, gx, gy, gz = cast_ray(ray, near, far, free_step, steps, scene, cache)
                length = np.sqrt(gx * gx + gy * gy + gz * gz)
                is_met = length > _0
                depth[row, column] = at if is_met else _0
                normals[row, column, 0] = gx / length if is_met else _0
                normals[row, column, 1] = gy / length if is_met else _0
                normals[row, column, 2] = gz / length if is_met else _0
                if has_color:
                    paint(ray, at, is_met, scene, cache, rgb[row, column])


@fused
def cast_ray(
    ray: Ray, near: Number, far: Number, free_step: Number, steps: int, scene: Scene, cache: Cache
) -> tuple[Number, Number, Number, Number]:
    """Where a ray meets the surface, and the gradient of the distance there: 0 where it does not."""
    keys, distances, wanted = cache.keys, cache.distances, cache.wanted
    t, before, known, value, left = near, near, _UNSEEN, _UNSEEN, steps
    if not np.isfinite(ray.x):
        return _0, _0, _0, _0
    while True:
        t, before, known, value, left = find_change(
            ray, t, before, known, far, free_step, left, keys, distances, wanted
        )
        if wanted[0] == 0:
            break
        fetch(scene, cache)
    if not value <= _0:
        return _0, _0, _0, _0
    while True:
        at, gx, gy, gz = meet(ray, before, t, known, value, keys, distances, wanted)
        if wanted[0] == 0:
            return at, gx, gy, gz
        fetch(scene, cache)


@fused
def find_change(
    ray: Ray,
    t: Number,
    before: Number,
    known: Number,
    far: Number,
    free_step: Number,
    left: int,
    keys: Keys,
    distances: Floats,
    wanted: Keys,
) -> tuple[Number, Number, Number, Number, Number]:
    """Where the distance at the nearest voxels becomes negative.

    Args:
        ray: the ray.
        t: where to go on.
        before: the place before it.
        known: the distance there.
        far: where to end.
        free_step: voxels that are stepped where the distance is that of the truncation.
        left: steps at most.
        keys: of the cache.
        distances: likewise.
        wanted: likewise.

    Returns:
        t behind and before, the distance before and behind, and the steps left. The distance behind is not below 0
        where there is no such place, or where a block is wanted: with it, one has to go on from there.
    """
    per_length = _1 / np.sqrt(ray.x * ray.x + ray.y * ray.y + ray.z * ray.z)
    per_x, per_y, per_z = _1 / ray.x, _1 / ray.y, _1 / ray.z
    bx, by, bz = 1 << 40, 0, 0
    slot: Number = -1
    while left > 0 and t <= far:
        x, y, z = ray.ox + t * ray.x, ray.oy + t * ray.y, ray.oz + t * ray.z
        i, j, k = int(np.floor(x + _HALF)), int(np.floor(y + _HALF)), int(np.floor(z + _HALF))
        if i >> 3 != bx or j >> 3 != by or k >> 3 != bz:
            bx, by, bz = i >> 3, j >> 3, k >> 3
            slot = look_up(bx, by, bz, keys, wanted)
            if slot == UNKNOWN:
                break
        left -= 1
        if slot < 0:
            # To where the ray leaves this block, which reaches half a voxel before its first lattice point.
            along = min(_leave(x, ray.x, per_x, bx), _leave(y, ray.y, per_y, by), _leave(z, ray.z, per_z, bz))
            known = _UNSEEN
            t += max(along, _0) + _HALF * per_length
            continue
        value = distances[slot * VOXELS + place_of(i, j, k)]
        if value <= _0 and known > _0:
            return t, before, known, value, left
        before, known = t, value
        t += max(free_step * value, _1) * per_length if value > _0 else per_length
    return t, before, known, _UNSEEN, left


@fused
def _leave(x: Number, r: Number, per_r: Number, block: Number) -> Number:
    """Way along a ray to the border of a block on one axis."""
    low = _SIDE * np.float32(block) - _HALF
    if r > _0:
        return (low + _SIDE - x) * per_r
    return (low - x) * per_r if r < _0 else _FAR


@fused
def meet(
    ray: Ray,
    low: Number,
    high: Number,
    known: Number,
    value: Number,
    keys: Keys,
    distances: Floats,
    wanted: Keys,
) -> tuple[Number, Number, Number, Number]:
    """The surface between two places of a ray: regula falsi on the trilinear distance, twice.

    Args:
        ray: the ray.
        low: t in front of the surface.
        high: t behind it.
        known: distance at the voxel nearest to the one, and
        value: to the other.
        keys: of the cache.
        distances: likewise.
        wanted: likewise; if a block is, the results say nothing.

    Returns:
        t, and the gradient of the distance there.
    """
    a = between(ray, low, keys, distances, wanted)[0]
    b = between(ray, high, keys, distances, wanted)[0]
    # The nearest voxels' signs differ there; the surface between voxels may lie up to one voxel before or behind.
    per_length = _1 / np.sqrt(ray.x * ray.x + ray.y * ray.y + ray.z * ray.z)
    if a <= _0:
        low -= per_length
        a = between(ray, low, keys, distances, wanted)[0]
    if b > _0:
        high += per_length
        b = between(ray, high, keys, distances, wanted)[0]
    if not (a > _0 and b <= _0):
        a, b = known, value
    at = low + (high - low) * a / (a - b)
    gx, gy, gz = _0, _0, _0
    for _ in range(2):
        middle, gx, gy, gz = between(ray, at, keys, distances, wanted)
        if middle > _0:
            low, a = at, middle
        elif middle <= _0:
            high, b = at, middle
        if a > b:
            at = low + (high - low) * a / (a - b)
    return at, gx, gy, gz


@fused
def paint(ray: Ray, at: Number, is_met: bool, scene: Scene, cache: Cache, rgb: NDArray[np.uint8]) -> None:
    """The colour of the voxel nearest to a place of a ray; black where it meets nothing."""
    rgb[0], rgb[1], rgb[2] = 0, 0, 0
    if not is_met:
        return
    i = int(np.floor(ray.ox + at * ray.x + _HALF))
    j = int(np.floor(ray.oy + at * ray.y + _HALF))
    k = int(np.floor(ray.oz + at * ray.z + _HALF))
    slot = look_up(i >> 3, j >> 3, k >> 3, cache.keys, cache.wanted)
    if slot == UNKNOWN:
        fetch(scene, cache)
        slot = look_up(i >> 3, j >> 3, k >> 3, cache.keys, cache.wanted)
    if slot >= 0:
        for c in range(3):
            rgb[c] = rounded(color_at(scene.voxels, cache.numbers[slot], place_of(i, j, k), c))
