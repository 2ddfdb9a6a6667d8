"""The surface of a grid, by the kernel of its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.fusion.block_store import BlockStore
from cv3d.fusion.fused_engine import Workers
from cv3d.fusion.surface import Lattice, extract_reference
from cv3d.fusion.surface_plan import arrange, join_piece, place_piece, plan_surface
from cv3d.geometry.mesh import Mesh


@dataclass(frozen=True, eq=False)
class MeshPiece:
    """A part of a surface. The pieces one after the other are the surface."""

    first_vertex: int
    """Number of its first vertex in the surface."""
    vertices: NDArray[np.float32]
    """(n, 3) metres."""
    triangles: NDArray[np.int32]
    """(m, 3) vertices by their number in the surface, also those of other pieces."""
    normals: NDArray[np.float32]
    """(n, 3)."""
    colors: NDArray[np.uint8] | None
    """(n, 3) RGB."""


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
    plan = plan_surface(store, least, workers)
    count = plan.vertex_count
    vertices, normals = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    colors = np.empty((count if store.has_color else 0, 3), np.uint8)
    triangles = np.empty((plan.triangle_count if has_triangles else 0, 3), np.int32)
    for some in plan.ranges(store):
        at = some.vertices
        place_piece(store, plan, some, voxel_m, workers, (vertices[at], normals[at], colors[at]))
        if has_triangles:
            join_piece(plan, some, workers, triangles[some.triangles])
    return Mesh(vertices, triangles, normals, colors if store.has_color else None)


def extract_pieces(store: BlockStore, voxel_m: float, least: int, workers: Workers) -> Iterator[MeshPiece]:
    """The surface of :func:`extract` piece by piece, by the host: what it takes does not grow with the surface.

    But for what is kept of a block that the surface passes through: 0.8 kB.
    """
    plan = plan_surface(store, least, workers)
    for some in plan.ranges(store, is_bounded=True):
        count = some.vertices.stop - some.vertices.start
        vertices, normals = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
        colors = np.empty((count if store.has_color else 0, 3), np.uint8)
        triangles = np.empty((some.triangles.stop - some.triangles.start, 3), np.int32)
        place_piece(store, plan, some, voxel_m, workers, (vertices, normals, colors))
        join_piece(plan, some, workers, triangles)
        yield MeshPiece(some.vertices.start, vertices, triangles, normals, colors if store.has_color else None)


SURFACES: Mapping[str, Callable[[BlockStore, float, int, Workers, bool], Mesh]] = {"cpu": _extract_fused}
"""What replaces the torch reference, by kind of device."""
