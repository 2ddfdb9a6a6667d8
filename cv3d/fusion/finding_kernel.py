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

_HALF = np.float32(0.5)
_METRES = np.float32(1.0 / DEPTH_STEPS)


@fused
def start_of(key: Number, mask: int) -> Number:
    """Where a key is looked for first."""
    return ((np.int64(key) * 2654435769) >> 10) & mask


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
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    size, band, room = search[0], search[1], search[2]
    per_size = np.float32(1.0) / size
    footprint = _HALF * np.float32(stride) / min(fx, fy)
    count, mask = 0, table.size - 1
    last = np.int32(-1)
    for v in range(0, height, stride):
        y = (np.float32(v) - cy) / fy
        for u in range(0, width, stride):
            d = np.float32(records[v, u, 0]) * _METRES
            if d <= np.float32(0.0):
                continue
            x = (np.float32(u) - cx) / fx
            margin = min(d * footprint, room)
            rx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2]
            ry = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2]
            rz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2]
            px, hx = rx * d + translation[0], min(abs(rx) * band, band) + margin
            py, hy = ry * d + translation[1], min(abs(ry) * band, band) + margin
            pz, hz = rz * d + translation[2], min(abs(rz) * band, band) + margin
            x0, x1 = int(np.floor((px - hx) * per_size)), int(np.floor((px + hx) * per_size))
            y0, y1 = int(np.floor((py - hy) * per_size)), int(np.floor((py + hy) * per_size))
            z0, z1 = int(np.floor((pz - hz) * per_size)), int(np.floor((pz + hz) * per_size))
            if min(x0, y0, z0) < -LOCAL_REACH or max(x1, y1, z1) >= LOCAL_REACH:
                x0, x1 = max(x0, -LOCAL_REACH), min(x1, LOCAL_REACH - 1)
                y0, y1 = max(y0, -LOCAL_REACH), min(y1, LOCAL_REACH - 1)
                z0, z1 = max(z0, -LOCAL_REACH), min(z1, LOCAL_REACH - 1)
            for bz in range(z0, z1 + 1):
                for by in range(y0, y1 + 1):
                    for bx in range(x0, x1 + 1):
                        row = ((bz + LOCAL_REACH) << LOCAL_BITS) | (by + LOCAL_REACH)
                        key = np.int32((row << LOCAL_BITS) | (bx + LOCAL_REACH))
                        if key == last:
                            continue
                        last = key
                        at = start_of(key, mask)
                        while table[at] != key and table[at] != -1:
                            at = (at + 1) & mask
                        if table[at] == -1:
                            if count == found.size:
                                clear(table, found, count)
                                return count + 1
                            table[at] = key
                            found[count] = key
                            count += 1
    clear(table, found, count)
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
