"""The twin on the CPU of :func:`cv3d.fusion.block_finding.find_blocks`: rays in order, and a table of what was met."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.block_finding import LOCAL_BITS, LOCAL_REACH
from cv3d.fusion.layout import Number
from cv3d.fusion.prepared import DEPTH_STEPS
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]

_0, _1, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_REACH, _LAST = np.float32(LOCAL_REACH), np.float32(2 * LOCAL_REACH - 1)
_10, _20, _LOCAL = np.int32(LOCAL_BITS), np.int32(2 * LOCAL_BITS), np.int32((1 << LOCAL_BITS) - 1)
_METRES = np.float32(1.0 / DEPTH_STEPS)


@fused
def start_of(key: Number, mask: int) -> Number:
    """Where a key is looked for first."""
    return ((np.int64(key) * 2654435769) >> 10) & mask


@fused
def box_rays(
    depth: Floats,
    y: Number,
    stride: int,
    camera: Floats,
    rotation: Floats,
    translation: Floats,
    search: Floats,
    low: NDArray[np.int32],
    high: NDArray[np.int32],
) -> None:
    """The boxes around the surface on the rays of one row: a loop without branches, which becomes vector instructions.

    Args:
        depth: (n,) metres, 0 where there is none.
        y: of the row's rays in the camera, at z = 1.
        stride: pixels between rays.
        camera: fx, fy, cx, cy.
        rotation: (3, 3) and
        translation: (3,) of the camera, from the anchor block's origin.
        search: edge of a block, half the stretch of a ray, most of a margin.
        low: (n,), filled with the local key of the first block of each box, -1 for none.
        high: (n,), filled with that of the last.
    """
    per_fx, cx = _1 / camera[0], camera[2]
    per_size, band, room = _1 / search[0], search[1], search[2]
    footprint = _HALF * np.float32(stride) / min(camera[0], camera[1])
    r00, r10, r20 = rotation[0, 0], rotation[1, 0], rotation[2, 0]
    x0 = rotation[0, 1] * y + rotation[0, 2]
    y0 = rotation[1, 1] * y + rotation[1, 2]
    z0 = rotation[2, 1] * y + rotation[2, 2]
    tx, ty, tz = translation[0], translation[1], translation[2]
    step = np.float32(stride)
    for i in range(depth.size):
        d = depth[i]
        x = (np.float32(i) * step - cx) * per_fx
        margin = min(d * footprint, room)
        rx, ry, rz = r00 * x + x0, r10 * x + y0, r20 * x + z0
        px, hx = rx * d + tx, min(abs(rx) * band, band) + margin
        py, hy = ry * d + ty, min(abs(ry) * band, band) + margin
        pz, hz = rz * d + tz, min(abs(rz) * band, band) + margin
        ax, bx = np.floor((px - hx) * per_size) + _REACH, np.floor((px + hx) * per_size) + _REACH
        ay, by = np.floor((py - hy) * per_size) + _REACH, np.floor((py + hy) * per_size) + _REACH
        az, bz = np.floor((pz - hz) * per_size) + _REACH, np.floor((pz + hz) * per_size) + _REACH
        is_there = (d > _0) & (min(bx, by, bz) >= _0) & (max(ax, ay, az) <= _LAST)
        first = (np.int32(max(az, _0)) << _20) | (np.int32(max(ay, _0)) << _10) | np.int32(max(ax, _0))
        last = (np.int32(min(bz, _LAST)) << _20) | (np.int32(min(by, _LAST)) << _10) | np.int32(min(bx, _LAST))
        low[i] = first if is_there else np.int32(-1)
        high[i] = last if is_there else np.int32(-1)


@fused
def mark_blocks(
    records: NDArray[np.int32],
    camera: Floats,
    rotation: Floats,
    translation: Floats,
    search: Floats,
    stride: int,
    table: NDArray[np.int32],
    found: NDArray[np.int32],
) -> Number:
    """List the blocks that the surface in a depth picture passes through, in the order in which they are met.

    Args:
        records: (h, w, 4) as :func:`cv3d.fusion.prepared.prepare` gives them.
        camera: fx, fy, cx, cy.
        rotation: (3, 3) and
        translation: (3,) of the camera, from the anchor block's origin.
        search: edge of a block, half the stretch of a ray, most of a margin.
        stride: pixels between rays.
        table: (2^b,) all -1; it is left so. More than twice as long as `found`.
        found: (m,), filled with local keys.

    Returns:
        How many there are; beyond m where they did not fit, and the search ended there.
    """
    height, width = records.shape[0], records.shape[1]
    across = (width + stride - 1) // stride
    depth = np.empty(across, np.float32)
    low, high = np.empty(across, np.int32), np.empty(across, np.int32)
    low_above, high_above = np.full(across, -1, np.int32), np.full(across, -1, np.int32)
    count = 0
    for v in range(0, height, stride):
        for i in range(across):
            depth[i] = np.float32(records[v, i * stride, 0]) * _METRES
        y = (np.float32(v) - camera[3]) / camera[1]
        box_rays(depth, y, stride, camera, rotation, translation, search, low, high)
        first, last = np.int32(-1), np.int32(-1)
        for i in range(across):
            # Most rays meet the very blocks of the ray before or above.
            is_same = (low[i] == first) & (high[i] == last)
            if is_same | ((low[i] == low_above[i]) & (high[i] == high_above[i])) | (low[i] < 0):
                continue
            first, last = low[i], high[i]
            count = list_box(first, last, table, found, count)
            if count > found.size:
                clear(table, found, found.size)
                return count
        low, low_above = low_above, low
        high, high_above = high_above, high
    clear(table, found, count)
    return count


@fused
def list_box(first: Number, last: Number, table: NDArray[np.int32], found: NDArray[np.int32], count: Number) -> Number:
    """Add the blocks of a box to those found, where they are new; how many there are then, of which one may not fit."""
    mask = table.size - 1
    for bz in range(first >> _20, (last >> _20) + 1):
        for by in range((first >> _10) & _LOCAL, ((last >> _10) & _LOCAL) + 1):
            for bx in range(first & _LOCAL, (last & _LOCAL) + 1):
                key = np.int32((bz << LOCAL_BITS | by) << LOCAL_BITS | bx)
                at = start_of(key, mask)
                while table[at] != key and table[at] != -1:
                    at = (at + 1) & mask
                if table[at] == -1:
                    if count == found.size:
                        return count + 1
                    table[at] = key
                    found[count] = key
                    count += 1
    return count


@fused
def clear(table: NDArray[np.int32], found: NDArray[np.int32], count: int) -> None:
    """Take the found keys out of the table."""
    mask = table.size - 1
    for i in range(count):
        at = start_of(found[i], mask)
        while table[at] != -1 and table[at] != found[i]:
            at = (at + 1) & mask
        # Entries behind it in its chain are cleared in their turn: they are found from their own start or not at all.
        while table[at] != -1:
            table[at] = -1
            at = (at + 1) & mask
