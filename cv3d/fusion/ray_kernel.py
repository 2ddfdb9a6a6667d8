"""The twin on the CPU of :func:`cv3d.fusion.ray_casting.cast`: ray by ray."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.block_index import slot_of
from cv3d.fusion.layout import REACH, SIDE, Number
from cv3d.fusion.surface_kernel import distance_at
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]

_0, _1, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_SIDE = np.float32(SIDE)
STEP = np.float32(0.8)
"""Share of the known free way that is stepped: the distance is that to a plane, and surfaces bend."""
_UNSEEN = np.float32(np.nan)
_FAR = np.float32(1e9)


@fused
def number_of(bx: Number, by: Number, bz: Number, table: NDArray[np.int64], numbers: Ints, bits: int) -> Number:
    """The number of a block, -1 where it is not there."""
    key = ((np.int64(bz) + REACH) << 42) | ((np.int64(by) + REACH) << 21) | (np.int64(bx) + REACH)
    at, mask = slot_of(key, bits), (1 << bits) - 1
    while table[at] != key and table[at] != -1:
        at = (at + 1) & mask
    return numbers[at] if table[at] == key else -1


@fused
def value_at(
    x: Number,
    y: Number,
    z: Number,
    anchor: Ints,
    table: NDArray[np.int64],
    numbers: Ints,
    bits: int,
    rows: Ints,
    free: Ints,
    least: int,
    sums: Ints,
    weights: Ints,
    counts: NDArray[np.int8],
) -> Number:
    """Signed distance at lattice coordinates from the anchor block; NaN where it is not known."""
    block = number_of((x >> 3) + anchor[0], (y >> 3) + anchor[1], (z >> 3) + anchor[2], table, numbers, bits)
    if block < 0 or rows[block] < 0:
        return _UNSEEN
    place = (x & 7) + SIDE * (y & 7) + SIDE * SIDE * (z & 7)
    return distance_at(rows[block], free[block], place, least, sums, weights, counts)


@fused
def between(
    x: Number,
    y: Number,
    z: Number,
    anchor: Ints,
    table: NDArray[np.int64],
    numbers: Ints,
    bits: int,
    rows: Ints,
    free: Ints,
    least: int,
    sums: Ints,
    weights: Ints,
    counts: NDArray[np.int8],
    gradient: Floats,
) -> Number:
    """Signed distance between eight lattice points, trilinear, and its gradient a voxel; NaN where one is not known."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    total, gx, gy, gz = _0, _0, _0, _0
    for corner in range(8):
        a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
        value = value_at(i + a, j + b, k + c, anchor, table, numbers, bits, rows, free, least, sums, weights, counts)
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
    anchor: Ints,
    near: Number,
    far: Number,
    voxel: Number,
    truncation: Number,
    steps: int,
    table: NDArray[np.int64],
    numbers: Ints,
    bits: int,
    rows: Ints,
    free: Ints,
    least: int,
    sums: Ints,
    weights: Ints,
    counts: NDArray[np.int8],
    colors: NDArray[np.int16],
    has_color: bool,
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
        anchor: (3,) block.
        near: least depth, metres.
        far: largest depth, metres.
        voxel: edge, metres.
        truncation: metres.
        steps: at most, of a ray.
        table: and
        numbers: and
        bits: of the block index.
        rows: by number, -1 for blocks that are not at hand.
        free: by number.
        least: frames that a voxel has to have been seen by.
        sums: and
        weights: and
        counts: and
        colors: the fields.
        has_color: whether there are colours.
        depth: (n,), filled; 0 where nothing is met.
        normals: (n, 3), filled, in the world.
        rgb: (n, 3), filled where there are colours.
    """
    per_voxel = _1 / voxel
    gradient = np.empty(3, np.float32)
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
        per_length = _1 / np.sqrt(rx * rx + ry * ry + rz * rz)
        t, before, known = near, near, _UNSEEN
        bx, by, bz = 1 << 40, 0, 0
        block: Number = -1
        for _ in range(steps):
            if t > far:
                break
            x, y, z = ox + t * rx, oy + t * ry, oz + t * rz
            i, j, k = int(np.floor(x + _HALF)), int(np.floor(y + _HALF)), int(np.floor(z + _HALF))
            if i >> 3 != bx or j >> 3 != by or k >> 3 != bz:
                bx, by, bz = i >> 3, j >> 3, k >> 3
                block = number_of(bx + anchor[0], by + anchor[1], bz + anchor[2], table, numbers, bits)
            if block < 0 or rows[block] < 0:
                # To where the ray leaves this block, which reaches half a voxel before its first lattice point.
                along = min(_leave(x, rx, i >> 3), _leave(y, ry, j >> 3), _leave(z, rz, k >> 3))
                known = _UNSEEN
                t += max(along, _0) + _HALF * per_length
                continue
            place = (i & 7) + SIDE * (j & 7) + SIDE * SIDE * (k & 7)
            value = distance_at(rows[block], free[block], place, least, sums, weights, counts)
            if value <= _0 and known > _0:
                meet(
                    n,
                    x,
                    y,
                    z,
                    before,
                    t,
                    known,
                    value,
                    ox,
                    oy,
                    oz,
                    rx,
                    ry,
                    rz,
                    anchor,
                    table,
                    numbers,
                    bits,
                    rows,
                    free,
                    least,
                    sums,
                    weights,
                    counts,
                    colors,
                    has_color,
                    gradient,
                    depth,
                    normals,
                    rgb,
                )
                break
            before, known = t, value
            t += max(STEP * value * truncation * per_voxel, _1) * per_length if value > _0 else per_length


@fused
def _leave(x: Number, r: Number, block: Number) -> Number:
    """Way along a ray to the border of a block on one axis."""
    low = _SIDE * np.float32(block) - _HALF
    if r > _0:
        return (low + _SIDE - x) / r
    return (low - x) / r if r < _0 else _FAR


@fused
def meet(
    n: int,
    x: Number,
    y: Number,
    z: Number,
    before: Number,
    t: Number,
    known: Number,
    value: Number,
    ox: Number,
    oy: Number,
    oz: Number,
    rx: Number,
    ry: Number,
    rz: Number,
    anchor: Ints,
    table: NDArray[np.int64],
    numbers: Ints,
    bits: int,
    rows: Ints,
    free: Ints,
    least: int,
    sums: Ints,
    weights: Ints,
    counts: NDArray[np.int8],
    colors: NDArray[np.int16],
    has_color: bool,
    gradient: Floats,
    depth: Floats,
    normals: Floats,
    rgb: NDArray[np.uint8],
) -> None:
    """The surface between two places of a ray: regula falsi on the trilinear distance, twice."""
    low, high = before, t
    a = between(
        ox + low * rx,
        oy + low * ry,
        oz + low * rz,
        anchor,
        table,
        numbers,
        bits,
        rows,
        free,
        least,
        sums,
        weights,
        counts,
        gradient,
    )
    b = between(x, y, z, anchor, table, numbers, bits, rows, free, least, sums, weights, counts, gradient)
    # The nearest voxels' signs differ there; the surface between voxels may lie up to one voxel before or behind.
    per_length = _1 / np.sqrt(rx * rx + ry * ry + rz * rz)
    if a <= _0:
        low -= per_length
        a = between(
            ox + low * rx,
            oy + low * ry,
            oz + low * rz,
            anchor,
            table,
            numbers,
            bits,
            rows,
            free,
            least,
            sums,
            weights,
            counts,
            gradient,
        )
    if b > _0:
        high += per_length
        b = between(
            ox + high * rx,
            oy + high * ry,
            oz + high * rz,
            anchor,
            table,
            numbers,
            bits,
            rows,
            free,
            least,
            sums,
            weights,
            counts,
            gradient,
        )
    if not (a > _0 and b <= _0):
        a, b = known, value
    at = low + (high - low) * a / (a - b)
    for _ in range(2):
        middle = between(
            ox + at * rx,
            oy + at * ry,
            oz + at * rz,
            anchor,
            table,
            numbers,
            bits,
            rows,
            free,
            least,
            sums,
            weights,
            counts,
            gradient,
        )
        if middle > _0:
            low, a = at, middle
        elif middle <= _0:
            high, b = at, middle
        if a > b:
            at = low + (high - low) * a / (a - b)
    length = np.sqrt(gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2)
    if not length > _0:
        return
    depth[n] = at
    for c in range(3):
        normals[n, c] = gradient[c] / length
    if has_color:
        i, j, k = (
            int(np.floor(ox + at * rx + _HALF)),
            int(np.floor(oy + at * ry + _HALF)),
            int(np.floor(oz + at * rz + _HALF)),
        )
        block = number_of((i >> 3) + anchor[0], (j >> 3) + anchor[1], (k >> 3) + anchor[2], table, numbers, bits)
        if block >= 0 and rows[block] >= 0:
            place = (i & 7) + SIDE * (j & 7) + SIDE * SIDE * (k & 7)
            count = np.float32(max(counts[rows[block], place], 1))
            for c in range(3):
                rgb[n, c] = np.uint8(min(np.float32(colors[rows[block], c, place]) / count + _HALF, np.float32(255.0)))
