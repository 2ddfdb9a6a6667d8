"""The surface of a grid, by the kernel of its device.

The fused kernels need bounded memory beside the mesh, whatever lies on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.fused_engine import Workers
from cv3d.fusion.layout import Fields, pack_keys
from cv3d.fusion.marching_table import EDGES, marching_table
from cv3d.fusion.surface import Lattice, extract_reference
from cv3d.fusion.surface_kernel import (
    WORDS,
    classify,
    count_triangles,
    mark_edges,
    place_triangles,
    place_vertices,
)
from cv3d.geometry.mesh import Mesh

Ints = NDArray[np.int32]

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


def pieces(store: BlockStore, arranged: Arranged, wanted: Ints) -> Iterator[tuple[int, int, Fields, Ints]]:
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


def extract(store: BlockStore, voxel_m: float, least: int, workers: Workers, has_triangles: bool = True) -> Mesh:
    """Marching cubes over all blocks, on the device that holds them.

    Where some lie on disk, they are fetched piece by piece and the host does the work.

    Args:
        store: the blocks.
        voxel_m: edge of a voxel, metres.
        least: frames that a voxel has to have been seen by.
        workers: threads of the host.
        has_triangles: False: points only.
    """
    if store.all_rows() is None:
        return _extract_fused(store, voxel_m, least, workers, has_triangles)
    return SURFACES.get(store.device.type, _extract_reference)(store, voxel_m, least, workers, has_triangles)


def _extract_reference(store: BlockStore, voxel_m: float, least: int, _: Workers, has_triangles: bool) -> Mesh:
    arranged, rows, device = arrange(store), store.all_rows(), store.device
    assert rows is not None
    lattice = Lattice(
        torch.from_numpy(arranged.blocks).to(device),
        torch.from_numpy(arranged.neighbours.astype(np.int64)).to(device),
        torch.from_numpy(rows[arranged.numbers].astype(np.int64)).to(device),
        torch.from_numpy(arranged.free.astype(np.float32)).to(device),
        store.tensors,
        least,
    )
    return extract_reference(lattice, voxel_m, has_triangles)


def _extract_fused(store: BlockStore, voxel_m: float, least: int, workers: Workers, has_triangles: bool) -> Mesh:
    arranged = arrange(store)
    everything = np.arange(len(arranged.numbers), dtype=np.int32)
    crossed, cases = _classified(store, arranged, everything, least, workers)
    cased = np.full(len(everything), -1, np.int32)
    cased[crossed] = np.arange(len(crossed), dtype=np.int32)
    # Cubes reach one lattice point beyond their block.
    beyond = [13 + x + 3 * y + 9 * z for z in (0, 1) for y in (0, 1) for x in (0, 1)]
    owners = np.unique(arranged.neighbours[crossed][:, beyond])
    owners = owners[owners >= 0].astype(np.int32)
    words, before = np.zeros((len(owners), WORDS), np.uint64), np.zeros((len(owners), WORDS + 1), np.int16)
    workers.over(
        len(owners), _STEP, lambda a, b: mark_edges(a, b, owners, arranged.neighbours, cased, cases, words, before)
    )
    starts = np.cumsum(np.concatenate([[0], before[:, WORDS]]), dtype=np.int64)
    vertices, normals = np.empty((int(starts[-1]), 3), np.float32), np.empty((int(starts[-1]), 3), np.float32)
    colors = np.empty((len(vertices), 3), np.uint8) if store.has_color else None
    _place(store, arranged, owners, words, starts, least, voxel_m, (vertices, normals, colors), workers)
    if not has_triangles:
        return Mesh(vertices, np.zeros((0, 3), np.int32), normals, colors)
    table = marching_table()
    totals = np.zeros(len(crossed), np.int32)
    count_triangles(cases, table.counts, totals)
    triangle_starts = np.cumsum(np.concatenate([[0], totals]), dtype=np.int64)
    triangles = np.empty((int(triangle_starts[-1]), 3), np.int32)
    owned = np.full(len(everything), -1, np.int32)
    owned[owners] = np.arange(len(owners), dtype=np.int32)
    corners = np.ascontiguousarray(EDGES[:, 0])
    workers.over(
        len(crossed),
        _STEP,
        lambda a, b: place_triangles(
            a,
            b,
            crossed,
            arranged.neighbours,
            cases,
            table.counts,
            table.edges,
            corners,
            owned,
            words,
            before,
            starts,
            triangle_starts,
            triangles,
        ),
    )
    return Mesh(vertices, triangles, normals, colors)


def _classified(
    store: BlockStore, arranged: Arranged, wanted: Ints, least: int, workers: Workers
) -> tuple[Ints, NDArray[np.uint8]]:
    """The blocks that the surface passes through, and their cases."""
    blocks, cases = [np.zeros(0, np.int32)], [np.zeros((0, 512), np.uint8)]
    for first, last, fields, rows in pieces(store, arranged, wanted):

        def some(
            start: int, fields: Fields = fields, rows: Ints = rows, last: int = last
        ) -> tuple[Ints, NDArray[np.uint8]]:
            end = min(start + _GATHERED, last)
            found, is_crossed = np.empty((end - start, 512), np.uint8), np.empty(end - start, np.uint8)
            classify(
                start,
                end,
                arranged.neighbours,
                rows,
                arranged.free,
                least,
                fields.sums,
                fields.weights,
                fields.counts,
                found,
                is_crossed,
            )
            here = np.flatnonzero(is_crossed)
            return (here + start).astype(np.int32), found[here]

        for some_blocks, some_cases in workers.map(some, range(first, last, _GATHERED)):
            blocks.append(some_blocks)
            cases.append(some_cases)
    return np.concatenate(blocks), np.concatenate(cases)


def _place(
    store: BlockStore,
    arranged: Arranged,
    owners: Ints,
    words: NDArray[np.uint64],
    starts: NDArray[np.int64],
    least: int,
    voxel_m: float,
    into: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8] | None],
    workers: Workers,
) -> None:
    """Lay the vertices of the owners' edges."""
    vertices, normals, colors = into
    for first, last, fields, rows in pieces(store, arranged, owners):
        has_color = fields.colors is not None

        def some(
            a: int, b: int, fields: Fields = fields, rows: Ints = rows, first: int = first, has_color: bool = has_color
        ) -> None:
            place_vertices(
                first + a,
                first + b,
                owners,
                arranged.blocks,
                arranged.neighbours,
                rows,
                arranged.free,
                least,
                fields.sums,
                fields.weights,
                fields.counts,
                np.zeros((0, 3, 0), np.int16) if fields.colors is None else fields.colors,
                has_color,
                voxel_m,
                words,
                starts,
                vertices,
                normals,
                np.zeros((0, 3), np.uint8) if colors is None else colors,
            )

        workers.over(last - first, _STEP, some)


SURFACES: Mapping[str, Callable[[BlockStore, float, int, Workers, bool], Mesh]] = {"cpu": _extract_fused}
"""What replaces the torch reference, by kind of device."""
