"""Points spread evenly over a surface, the same every time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.mesh import Mesh

Floats = NDArray[np.float64]

_STEP = (0.7548776662466927, 0.5698402909980532)
"""Steps of the R2 sequence, 1/g and 1/g^2 of the plastic number g (Roberts, The unreasonable effectiveness of
quasirandom sequences, 2018)."""


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """Points of a surface."""

    points: Floats
    """(n, 3), metres."""
    normals: Floats | None
    """(n, 3) unit normals of the triangles they lie on; of a cloud, its own; None where it has none."""


def triangle_normals(mesh: Mesh) -> tuple[Floats, Floats]:
    """Unit normals (m, 3) of the triangles, zero for those without area, and their areas (m,)."""
    corners = mesh.vertices.astype(np.float64)[mesh.triangles]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(crossed, axis=1)
    return crossed / np.where(lengths > 0.0, lengths, 1.0)[:, None], 0.5 * lengths


def sample_surface(mesh: Mesh, count: int) -> SurfaceSamples:
    """Spread points over a mesh, as many on each triangle as its area is of the whole, give or take one.

    Args:
        mesh: triangles; of a point cloud, `count` of its points evenly picked, or all where there are fewer.
        count: of points.
    """
    if not len(mesh.triangles):
        kept = np.arange(len(mesh.vertices))
        if len(kept) > count:
            kept = np.linspace(0, len(kept) - 1, count).astype(np.int64)
        normals = None if mesh.normals is None else mesh.normals[kept].astype(np.float64)
        return SurfaceSamples(mesh.vertices[kept].astype(np.float64), normals)
    normals, areas = triangle_normals(mesh)
    reached = np.cumsum(areas)
    number = np.arange(count)
    chosen = np.searchsorted(reached, (number + 0.5) / count * reached[-1], side="right")
    chosen = np.minimum(chosen, len(areas) - 1)
    u, v = (((number + 1) * step) % 1.0 for step in _STEP)
    beyond = u + v > 1.0
    u, v = np.where(beyond, 1.0 - u, u), np.where(beyond, 1.0 - v, v)
    corners = mesh.vertices.astype(np.float64)[mesh.triangles[chosen]]
    points = corners[:, 0] + u[:, None] * (corners[:, 1] - corners[:, 0]) + v[:, None] * (corners[:, 2] - corners[:, 0])
    return SurfaceSamples(points, normals[chosen])
