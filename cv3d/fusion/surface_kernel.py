"""The twin on the CPU of :mod:`cv3d.fusion.surface`: marching cubes block by block.

A vertex belongs to the lattice point from which its edge runs along an axis, and so to that point's block. Which
edges of a block have one is kept in 24 words of 64 bits: word 3 z + axis, bit x + 8 y. A vertex's number is that of its
block's first one and the bits before its own.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.layout import SIDE, Number
from cv3d.fusion.voxel_view import VoxelView, color_at, distance_at, rounded
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]
Bytes: TypeAlias = NDArray[np.uint8]
Words: TypeAlias = NDArray[np.uint64]

WORDS = 3 * SIDE
_REACH = SIDE + 1
_CELLS = _REACH**3
_UNSEEN = np.float32(np.nan)
_0 = np.float32(0.0)
_BIT = np.uint64(1)


@fused
def bits_of(word: Number) -> Number:
    """How many bits of a word of 64 are set."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@fused
def look_up(
    block: Number,
    x: Number,
    y: Number,
    z: Number,
    neighbours: Ints,
    voxels: VoxelView,
) -> Number:
    """Signed distance at lattice coordinates from -8 to 15 in a block."""
    bx, by, bz = (x + SIDE) // SIDE, (y + SIDE) // SIDE, (z + SIDE) // SIDE
    other = neighbours[block, bx + 3 * by + 9 * bz]
    if other < 0:
        return _UNSEEN
    place = (x & 7) + SIDE * (y & 7) + SIDE * SIDE * (z & 7)
    return distance_at(voxels, other, place)


@fused
def fill_cells(
    block: Number,
    neighbours: Ints,
    voxels: VoxelView,
    cells: Floats,
) -> None:
    """Signed distances at the 9³ lattice points that the cubes of a block have as corners."""
    for part in range(8):
        ox, oy, oz = part & 1, (part >> 1) & 1, part >> 2
        other = neighbours[block, (ox + 1) + 3 * (oy + 1) + 9 * (oz + 1)]
        for z in range(SIDE * oz, SIDE + oz):
            for y in range(SIDE * oy, SIDE + oy):
                for x in range(SIDE * ox, SIDE + ox):
                    at = x + _REACH * (y + _REACH * z)
                    if other < 0:
                        cells[at] = _UNSEEN
                    else:
                        place = (x & 7) + SIDE * (y & 7) + SIDE * SIDE * (z & 7)
                        cells[at] = distance_at(voxels, other, place)


@fused
def classify(
    first: int,
    last: int,
    neighbours: Ints,
    voxels: VoxelView,
    cases: Bytes,
    is_crossed: Bytes,
) -> None:
    """Which corners of the cubes of some blocks are inside.

    Args:
        first: first block.
        last: the one behind the last.
        neighbours: (n, 27) the blocks around each, x fastest, -1 for none.
        voxels: of the blocks.
        cases: (last - first, 512), filled; 0 where a corner is not known, or none or all are inside.
        is_crossed: (last - first,), filled: whether any case is not 0.
    """
    cells = np.empty(_CELLS, np.float32)
    for block in range(first, last):
        fill_cells(block, neighbours, voxels, cells)
        crossed = np.uint8(0)
        for z in range(SIDE):
            for y in range(SIDE):
                for x in range(SIDE):
                    at = x + _REACH * (y + _REACH * z)
                    case, is_known = 0, True
                    for corner in range(8):
                        step = (corner & 1) + _REACH * ((corner >> 1) & 1) + _REACH * _REACH * (corner >> 2)
                        value = cells[at + step]
                        is_known = is_known and not np.isnan(value)
                        if value < _0:
                            case |= 1 << corner
                    if not is_known or case == 255:
                        case = 0
                    cases[block - first, x + SIDE * y + SIDE * SIDE * z] = case
                    if case:
                        crossed = np.uint8(1)
        is_crossed[block - first] = crossed


@fused
def case_at(block: Number, x: Number, y: Number, z: Number, neighbours: Ints, cased: Ints, cases: Bytes) -> Number:
    """The case of a cube at coordinates from -8 to 15 in a block."""
    bx, by, bz = (x + SIDE) // SIDE, (y + SIDE) // SIDE, (z + SIDE) // SIDE
    other = neighbours[block, bx + 3 * by + 9 * bz]
    if other < 0 or cased[other] < 0:
        return 0
    return cases[cased[other], (x & 7) + SIDE * (y & 7) + SIDE * SIDE * (z & 7)]


@fused
def mark_edges(
    first: int,
    last: int,
    owners: Ints,
    neighbours: Ints,
    cased: Ints,
    cases: Bytes,
    words: Words,
    before: NDArray[np.int16],
) -> None:
    """Which edges of some blocks have a vertex: those on which a cube around says so.

    Args:
        first: first owner.
        last: the one behind the last.
        owners: (m,) blocks.
        neighbours: (n, 27).
        cased: (n,) where a block's cases are, -1 where there are none.
        cases: (k, 512).
        words: (m, 24), filled.
        before: (m, 25), filled with the vertices before each word, and all.
    """
    for owner in range(first, last):
        block = owners[owner]
        total = 0
        for z in range(SIDE):
            for axis in range(3):
                word = np.uint64(0)
                for y in range(SIDE):
                    for x in range(SIDE):
                        # The four cubes around the edge; it joins two of their corners.
                        found = False
                        for side in range(4):
                            a, b = side & 1, side >> 1
                            ox = 0 if axis == 0 else a
                            oy = (a if axis == 0 else b) if axis != 1 else 0
                            oz = b if axis != 2 else 0
                            case = case_at(block, x - ox, y - oy, z - oz, neighbours, cased, cases)
                            low = ox + 2 * oy + 4 * oz
                            high = low + (1 << axis)
                            if ((case >> low) ^ (case >> high)) & 1:
                                found = True
                        if found:
                            word |= _BIT << np.uint64(x + SIDE * y)
                words[owner, 3 * z + axis] = word
                before[owner, 3 * z + axis] = total
                total += bits_of(word)
        before[owner, WORDS] = total


@fused
def _slope_at(
    block: Number, x: Number, y: Number, z: Number, axis: int, here: Number, neighbours: Ints, voxels: VoxelView
) -> Number:
    """Derivative of the distance along an axis: central where both neighbours are known."""
    dx, dy, dz = np.int64(axis == 0), np.int64(axis == 1), np.int64(axis == 2)
    back = look_up(block, x - dx, y - dy, z - dz, neighbours, voxels)
    ahead = look_up(block, x + dx, y + dy, z + dz, neighbours, voxels)
    if not np.isnan(back):
        return np.float32(0.5) * (ahead - back) if not np.isnan(ahead) else here - back
    return ahead - here if not np.isnan(ahead) else _0


@fused
def place_vertices(
    first: int,
    last: int,
    owners: Ints,
    blocks: Ints,
    neighbours: Ints,
    voxels: VoxelView,
    voxel: Number,
    words: Words,
    starts: NDArray[np.int64],
    origin: int,
    vertices: Floats,
    normals: Floats,
    rgb: Bytes,
) -> None:
    """Lay the vertices of some blocks where the distance is 0.

    Args:
        first: first owner.
        last: the one behind the last.
        owners: (m,) blocks.
        blocks: (n, 3) coordinates.
        neighbours: (n, 27).
        voxels: of the blocks.
        voxel: edge, metres, float64.
        words: (m, 24).
        starts: (m,) number of each block's first vertex.
        origin: number of the vertex that comes first in the arrays filled.
        vertices: (v, 3), filled.
        normals: (v, 3), filled.
        rgb: (v, 3), filled where there are colours.
    """
    gradient = np.empty(3, np.float32)
    has_color = voxels.colors.size > 0
    for owner in range(first, last):
        block = owners[owner]
        number = starts[owner] - origin
        for z in range(SIDE):
            for axis in range(3):
                word = words[owner, 3 * z + axis]
                if word == np.uint64(0):
                    continue
                for bit in range(SIDE * SIDE):
                    if not (word >> np.uint64(bit)) & _BIT:
                        continue
                    x, y = bit & 7, bit >> 3
                    x1, y1, z1 = x + (axis == 0), y + (axis == 1), z + (axis == 2)
                    low = look_up(block, x, y, z, neighbours, voxels)
                    high = look_up(block, x1, y1, z1, neighbours, voxels)
                    t = low / (low - high)
                    for a in range(3):
                        here = _slope_at(block, x, y, z, a, low, neighbours, voxels)
                        there = _slope_at(block, x1, y1, z1, a, high, neighbours, voxels)
                        gradient[a] = here + t * (there - here)
                    vertices[number, 0] = (SIDE * blocks[block, 0] + x + (t if axis == 0 else _0)) * voxel
                    vertices[number, 1] = (SIDE * blocks[block, 1] + y + (t if axis == 1 else _0)) * voxel
                    vertices[number, 2] = (SIDE * blocks[block, 2] + z + (t if axis == 2 else _0)) * voxel
                    length = np.sqrt(gradient[0] ** 2 + gradient[1] ** 2 + gradient[2] ** 2)
                    for a in range(3):
                        normals[number, a] = gradient[a] / length if length > _0 else np.float32(a == 2)
                    if has_color:
                        other = neighbours[block, (x1 >> 3) + 1 + 3 * ((y1 >> 3) + 1) + 9 * ((z1 >> 3) + 1)]
                        low_at = x + SIDE * y + SIDE * SIDE * z
                        high_at = (x1 & 7) + SIDE * (y1 & 7) + SIDE * SIDE * (z1 & 7)
                        for a in range(3):
                            one = color_at(voxels, block, low_at, a)
                            rgb[number, a] = rounded(one + t * (color_at(voxels, other, high_at, a) - one))
                    number += 1


@fused
def count_triangles(cases: Bytes, table: NDArray[np.int8], totals: Ints) -> None:
    """Triangles of each row of cases."""
    for i in range(cases.shape[0]):
        total = 0
        for j in range(cases.shape[1]):
            total += table[cases[i, j]]
        totals[i] = total


@fused
def place_triangles(
    first: int,
    last: int,
    crossed: Ints,
    neighbours: Ints,
    cases: Bytes,
    table_counts: NDArray[np.int8],
    table_edges: NDArray[np.int8],
    edge_corners: Ints,
    owned: Ints,
    words: Words,
    before: NDArray[np.int16],
    starts: NDArray[np.int64],
    triangle_starts: NDArray[np.int64],
    origin: int,
    triangles: Ints,
) -> None:
    """Join the vertices to triangles.

    Args:
        first: first block with cases.
        last: the one behind the last.
        crossed: (k,) blocks.
        neighbours: (n, 27).
        cases: (k, 512).
        table_counts: and
        table_edges: of :func:`cv3d.fusion.marching_table.marching_table`.
        edge_corners: (12,) first corners of the edges.
        owned: (n,) the owner that a block is, -1 for none.
        words: (m, 24).
        before: (m, 25).
        starts: (m,).
        triangle_starts: (k,) number of each block's first triangle.
        origin: number of the triangle that comes first in the array filled.
        triangles: (t, 3), filled.
    """
    for k in range(first, last):
        block = crossed[k]
        number = triangle_starts[k] - origin
        for place in range(SIDE**3):
            case = cases[k, place]
            if case == 0:
                continue
            x, y, z = place & 7, (place >> 3) & 7, place >> 6
            for i in range(3 * table_counts[case]):
                edge = table_edges[case, i]
                corner, axis = edge_corners[edge], edge >> 2
                px, py, pz = x + (corner & 1), y + ((corner >> 1) & 1), z + (corner >> 2)
                other = neighbours[block, ((px >> 3) + 1) + 3 * ((py >> 3) + 1) + 9 * ((pz >> 3) + 1)]
                owner = owned[other]
                word = 3 * (pz & 7) + axis
                mask = (_BIT << np.uint64((px & 7) + SIDE * (py & 7))) - _BIT
                rank = before[owner, word] + bits_of(words[owner, word] & mask)
                triangles[number, i % 3] = starts[owner] + rank
                if i % 3 == 2:
                    number += 1
