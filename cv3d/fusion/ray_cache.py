"""Distances of the blocks that rays pass, worked out once for all the rays that pass them.

A thread keeps its own: what is in it follows from the voxels alone, so that it does not matter which thread casts a
ray. What looks a block up takes two plain arrays: a tuple of many arrays is copied, and its references counted, with
each call. So a block that is not in the cache yet is asked for by a note, and fetched outside of the loops.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.block_index import IndexTable, number_of
from cv3d.fusion.layout import SIDE, VOXELS, Number
from cv3d.fusion.voxel_view import VoxelView, distance_at
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]
Keys: TypeAlias = NDArray[np.int64]
Eight: TypeAlias = tuple[Number, Number, Number, Number, Number, Number, Number, Number]

_UNSEEN = np.float32(np.nan)
_LAST = SIDE - 1
_ROW, _LAYER = SIDE, SIDE * SIDE

_BITS = 4
_MASK = (1 << _BITS) - 1
SLOTS = 1 << (3 * _BITS)
"""Blocks that are kept: those of a cube of 16, again and again through space. No two that one place of a ray needs
share a slot."""
_AWAY = 1 << 20
"""Makes the coordinates of a block from the anchor positive."""
ABSENT, UNKNOWN = -1, -2
"""In place of a slot: there is no such block at hand, or it was not fetched yet."""


class Scene(NamedTuple):
    """What rays are cast at."""

    voxels: VoxelView
    table: IndexTable
    anchor: Ints
    """(3,) the block that rays are placed from."""


class Cache(NamedTuple):
    """What a thread keeps."""

    keys: Keys
    """(2 SLOTS,) of the blocks that are there, and behind them of such that are not."""
    numbers: Ints
    """(SLOTS,) of the blocks."""
    distances: Floats
    """(SLOTS * 512,) NaN where not known."""
    wanted: Keys
    """(4,) 1 if a block is wanted, and its coordinates from the anchor."""


@fused
def new_cache() -> Cache:
    """Nothing yet."""
    keys, wanted = np.full(2 * SLOTS, -1, np.int64), np.zeros(4, np.int64)
    return Cache(keys, np.empty(SLOTS, np.int32), np.empty(SLOTS * VOXELS, np.float32), wanted)


@fused
def key_of(bx: Number, by: Number, bz: Number) -> Number:
    """One number for a block from the anchor."""
    return ((bz + _AWAY) << 42) | ((by + _AWAY) << 21) | (bx + _AWAY)


@fused
def slot_of(bx: Number, by: Number, bz: Number) -> Number:
    """Where a block is kept if it is."""
    return ((bz & _MASK) << (2 * _BITS)) | ((by & _MASK) << _BITS) | (bx & _MASK)


@fused
def look_up(bx: Number, by: Number, bz: Number, keys: Keys, wanted: Keys) -> Number:
    """The slot of a block from the anchor; if it was not fetched yet, it is noted as wanted."""
    key, slot = key_of(bx, by, bz), slot_of(bx, by, bz)
    if keys[slot] == key:
        return slot
    if keys[SLOTS + slot] == key:
        return ABSENT
    wanted[0], wanted[1], wanted[2], wanted[3] = 1, bx, by, bz
    return UNKNOWN


@fused
def fetch(scene: Scene, cache: Cache) -> None:
    """Keep the block that is wanted."""
    bx, by, bz = cache.wanted[1], cache.wanted[2], cache.wanted[3]
    cache.wanted[0] = 0
    key, slot = key_of(bx, by, bz), slot_of(bx, by, bz)
    number = number_of(bx + scene.anchor[0], by + scene.anchor[1], bz + scene.anchor[2], scene.table)
    if number < 0 or scene.voxels.rows[number] < 0:
        cache.keys[SLOTS + slot] = key
        return
    cache.keys[slot], cache.numbers[slot] = key, number
    for place in range(VOXELS):
        cache.distances[slot * VOXELS + place] = distance_at(scene.voxels, number, place)


@fused
def place_of(x: Number, y: Number, z: Number) -> Number:
    """The place in its block of lattice coordinates."""
    return (x & 7) + SIDE * (y & 7) + SIDE * SIDE * (z & 7)


@fused
def value_at(x: Number, y: Number, z: Number, keys: Keys, distances: Floats, wanted: Keys) -> Number:
    """Signed distance at lattice coordinates, NaN where it is not known."""
    slot = look_up(x >> 3, y >> 3, z >> 3, keys, wanted)
    return distances[slot * VOXELS + place_of(x, y, z)] if slot >= 0 else _UNSEEN


@fused
def corners_of(i: Number, j: Number, k: Number, keys: Keys, distances: Floats, wanted: Keys) -> Eight:
    """Signed distances at the eight lattice points from (i, j, k) on, x first."""
    if (i & 7) < _LAST and (j & 7) < _LAST and (k & 7) < _LAST:
        slot = look_up(i >> 3, j >> 3, k >> 3, keys, wanted)
        if slot < 0:
            return _UNSEEN, _UNSEEN, _UNSEEN, _UNSEEN, _UNSEEN, _UNSEEN, _UNSEEN, _UNSEEN
        a = slot * VOXELS + place_of(i, j, k)
        b, c, d = a + _ROW, a + _LAYER, a + _LAYER + _ROW
        return (
            distances[a],
            distances[a + 1],
            distances[b],
            distances[b + 1],
            distances[c],
            distances[c + 1],
            distances[d],
            distances[d + 1],
        )
    return (
        value_at(i, j, k, keys, distances, wanted),
        value_at(i + 1, j, k, keys, distances, wanted),
        value_at(i, j + 1, k, keys, distances, wanted),
        value_at(i + 1, j + 1, k, keys, distances, wanted),
        value_at(i, j, k + 1, keys, distances, wanted),
        value_at(i + 1, j, k + 1, keys, distances, wanted),
        value_at(i, j + 1, k + 1, keys, distances, wanted),
        value_at(i + 1, j + 1, k + 1, keys, distances, wanted),
    )
