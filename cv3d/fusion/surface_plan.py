"""Where the surface of a grid passes through which blocks; and its vertices and triangles, range by range of blocks.

What it takes beside the surface is bounded, whatever lies on disk, but for what is kept of a block with surface.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.fused_engine import Workers
from cv3d.fusion.layout import VOXELS, Fields, pack_keys
from cv3d.fusion.marching_table import EDGES, marching_table
from cv3d.fusion.surface_kernel import (
    WORDS,
    classify,
    count_triangles,
    mark_edges,
    place_triangles,
    place_vertices,
)
from cv3d.fusion.voxel_view import VoxelView, view_of

Ints = NDArray[np.int32]
Places = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]
"""Vertices, normals and colours of a piece, to be filled; no rows of colours where there are none."""

_STEP = 128
"""Blocks that a thread takes at a time."""
_GATHERED = 1024
"""Blocks that are fetched at a time where some lie elsewhere."""


@dataclass(frozen=True, eq=False)
class Arranged:
    """The blocks of a grid in the order of their place, which does not depend on when they came."""

    numbers: Ints
    """(n,) in the store."""
    blocks: Ints
    """(n, 3) coordinates."""
    neighbours: Ints
    """(n, 27) the blocks around each, in this order, x fastest; -1 for none."""
    free: Ints
    """(n,) free weight."""


@dataclass(frozen=True)
class Range:
    """Blocks that follow one another, and what of the surface is theirs."""

    owners: slice
    crossed: slice
    vertices: slice
    triangles: slice


@dataclass(frozen=True, eq=False)
class SurfacePlan:
    """Which blocks the surface passes through, and how many vertices and triangles each has."""

    arranged: Arranged
    least: int
    """Frames that a voxel has to have been seen by."""
    crossed: Ints
    """(k,) blocks with cubes that the surface passes through."""
    cases: NDArray[np.uint8]
    """(k, 512) cases of their cubes."""
    owners: Ints
    """(m,) blocks with vertices."""
    words: NDArray[np.uint64]
    """(m, 24) which edges have one."""
    before: NDArray[np.int16]
    """(m, 25) the vertices before each word, and all."""
    starts: NDArray[np.int64]
    """(m + 1,) number of each owner's first vertex."""
    triangle_starts: NDArray[np.int64]
    """(k + 1,) number of each crossed block's first triangle."""
    owned: Ints
    """(n,) the owner that a block is, -1 for none."""

    @property
    def vertex_count(self) -> int:
        """Of the surface."""
        return int(self.starts[-1])

    @property
    def triangle_count(self) -> int:
        """Of the surface."""
        return int(self.triangle_starts[-1])

    def ranges(self, store: BlockStore, is_bounded: bool = False) -> Iterator[Range]:
        """The owners in parts of bounded size, or all at once where they are at hand and need not be bounded."""
        step = _GATHERED if is_bounded or not _is_at_hand(store) else max(len(self.owners), 1)
        for first in range(0, len(self.owners), step):
            last = min(first + step, len(self.owners))
            # A crossed block is an owner, too, even if all its vertices are on the far sides of its cubes.
            ends = [self.owners[first] if first else 0, self.owners[last] if last < len(self.owners) else 1 << 31]
            a, b = np.searchsorted(self.crossed, ends).tolist()
            yield Range(
                slice(first, last),
                slice(a, b),
                slice(int(self.starts[first]), int(self.starts[last])),
                slice(int(self.triangle_starts[a]), int(self.triangle_starts[b])),
            )


def arrange(store: BlockStore) -> Arranged:
    """The blocks of a store in the order of z, then y, then x."""
    keys = pack_keys(store.index.blocks)
    numbers = np.argsort(keys).astype(np.int32)
    keys, blocks = keys[numbers], store.index.blocks[numbers]
    neighbours = np.full((len(keys), 27), -1, np.int32)
    for at in range(27):
        step = np.array([at % 3 - 1, at // 3 % 3 - 1, at // 9 - 1])
        wanted = pack_keys(blocks + step)
        place = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
        neighbours[:, at] = np.where(keys[place] == wanted, place, -1) if len(keys) else neighbours[:, at]
    return Arranged(numbers, blocks, neighbours, store.free[numbers])


def plan_surface(store: BlockStore, least: int, workers: Workers) -> SurfacePlan:
    """Look at all cubes once."""
    arranged = arrange(store)
    count = len(arranged.numbers)
    crossed, cases = _classified(store, arranged, least, workers)
    cased = _inverse(crossed, count)
    # Cubes reach one lattice point beyond their block.
    beyond = [13 + x + 3 * y + 9 * z for z in (0, 1) for y in (0, 1) for x in (0, 1)]
    is_owner = np.zeros(count + 1, np.bool_)
    for side in beyond:
        is_owner[arranged.neighbours[crossed, side]] = True
    owners = np.flatnonzero(is_owner[:count]).astype(np.int32)
    words, before = np.zeros((len(owners), WORDS), np.uint64), np.zeros((len(owners), WORDS + 1), np.int16)
    workers.over(
        len(owners), _STEP, lambda a, b: mark_edges(a, b, owners, arranged.neighbours, cased, cases, words, before)
    )
    totals = np.zeros(len(crossed), np.int32)
    count_triangles(cases, marching_table().counts, totals)
    return SurfacePlan(
        arranged,
        least,
        crossed,
        cases,
        owners,
        words,
        before,
        _starts(before[:, WORDS]),
        _starts(totals),
        _inverse(owners, count),
    )


def place_piece(
    store: BlockStore, plan: SurfacePlan, some: Range, voxel_m: float, workers: Workers, into: Places
) -> None:
    """Lay the vertices of a range."""
    owners, starts, arranged = plan.owners[some.owners], plan.starts[some.owners], plan.arranged
    words = plan.words[some.owners]
    for first, last, fields, rows in _gathered(store, arranged, owners):
        voxels = view_of(fields, rows, arranged.free, plan.least)

        def part(a: int, b: int, voxels: VoxelView = voxels, first: int = first) -> None:
            place_vertices(
                first + a,
                first + b,
                owners,
                arranged.blocks,
                arranged.neighbours,
                voxels,
                voxel_m,
                words,
                starts,
                some.vertices.start,
                *into,
            )

        workers.over(last - first, _STEP, part)


def join_piece(plan: SurfacePlan, some: Range, workers: Workers, triangles: Ints) -> None:
    """Join the vertices of a range, and of blocks behind it, to triangles."""
    table, corners = marching_table(), np.ascontiguousarray(EDGES[:, 0])
    crossed, cases = plan.crossed[some.crossed], plan.cases[some.crossed]
    workers.over(
        len(crossed),
        _STEP,
        lambda a, b: place_triangles(
            a,
            b,
            crossed,
            plan.arranged.neighbours,
            cases,
            table.counts,
            table.edges,
            corners,
            plan.owned,
            plan.words,
            plan.before,
            plan.starts,
            plan.triangle_starts[some.crossed],
            some.triangles.start,
            triangles,
        ),
    )


def _is_at_hand(store: BlockStore) -> bool:
    return store.is_host and store.all_rows() is not None


def _gathered(store: BlockStore, arranged: Arranged, wanted: Ints) -> Iterator[tuple[int, int, Fields, Ints]]:
    """Ranges of `wanted` blocks with the voxels of these and their neighbours, and the rows of blocks in those."""
    rows = store.all_rows()
    if rows is not None and store.is_host:
        yield 0, len(wanted), store.fields, rows[arranged.numbers]
        return
    for first in range(0, len(wanted), _GATHERED):
        last = min(first + _GATHERED, len(wanted))
        around = np.unique(arranged.neighbours[wanted[first:last]])
        around = around[around >= 0]
        local = np.full(len(arranged.numbers), -1, np.int32)
        local[around] = np.arange(len(around), dtype=np.int32)
        yield first, last, store.gather(arranged.numbers[around]), local


def _classified(store: BlockStore, arranged: Arranged, least: int, workers: Workers) -> tuple[Ints, NDArray[np.uint8]]:
    """The blocks that the surface passes through, and their cases."""
    blocks, cases = [np.zeros(0, np.int32)], [np.zeros((0, VOXELS), np.uint8)]
    everything = np.arange(len(arranged.numbers), dtype=np.int32)
    for first, last, fields, rows in _gathered(store, arranged, everything):
        voxels = view_of(fields, rows, arranged.free, least)

        def part(start: int, voxels: VoxelView = voxels, last: int = last) -> tuple[Ints, NDArray[np.uint8]]:
            end = min(start + _GATHERED, last)
            found, is_crossed = np.empty((end - start, VOXELS), np.uint8), np.empty(end - start, np.uint8)
            classify(start, end, arranged.neighbours, voxels, found, is_crossed)
            here = np.flatnonzero(is_crossed)
            return (here + start).astype(np.int32), found[here]

        for some_blocks, some_cases in workers.map(part, range(first, last, _GATHERED)):
            blocks.append(some_blocks)
            cases.append(some_cases)
    crossed = np.concatenate(blocks)
    joined = np.empty((len(crossed), VOXELS), np.uint8)
    end = len(joined)
    while cases:
        # Each part goes when it is copied: there are never two of all.
        part_cases = cases.pop()
        joined[end - len(part_cases) : end] = part_cases
        end -= len(part_cases)
    return crossed, joined


def _inverse(chosen: Ints, count: int) -> Ints:
    """(count,) the place of each block among the chosen ones, -1 for others."""
    result = np.full(count, -1, np.int32)
    result[chosen] = np.arange(len(chosen), dtype=np.int32)
    return result


def _starts(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """(n + 1,) sums of the counts before each, and of all."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
