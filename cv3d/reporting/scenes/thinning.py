"""Meshes and clouds small enough for a page: near vertices become one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.mesh import Mesh

_ROUNDS = 12


def thinned(mesh: Mesh, most: int) -> Mesh:
    """A mesh of at most about `most` triangles, or a cloud of at most `most` points; itself where it is small enough.

    The vertices in each cube of a grid become one, their mean (Rossignac and Borrel 1993); the cubes are as small as
    the number allows. Of a cloud, points are evenly picked.
    """
    if not len(mesh.triangles):
        if len(mesh.vertices) <= most:
            return mesh
        return _picked(mesh, np.linspace(0, len(mesh.vertices) - 1, most).astype(np.int64))
    if len(mesh.triangles) <= most:
        return mesh
    corners = mesh.vertices.astype(np.float64)[mesh.triangles]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = 0.5 * float(np.linalg.norm(crossed, axis=1).sum())
    # A square of side s has two triangles; the surface crosses somewhat more cubes than that.
    side = max((2.0 * area / most) ** 0.5, 1e-12)
    small = _clustered(mesh, side)
    for _ in range(_ROUNDS):
        if len(small.triangles) <= most:
            break
        side *= max(1.03, 1.02 * (len(small.triangles) / most) ** 0.5)
        small = _clustered(mesh, side)
    return small


def _clustered(mesh: Mesh, side: float) -> Mesh:
    cells = np.floor((mesh.vertices - mesh.vertices.min(axis=0)) / side).astype(np.int64)
    extent = cells.max(axis=0) + 1
    key = (cells[:, 0] * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
    _, of_vertex, counts = np.unique(key, return_inverse=True, return_counts=True)
    triangles = of_vertex[mesh.triangles].astype(np.int32)
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    first = np.argmin(triangles, axis=1)
    turned = triangles[np.arange(len(triangles))[:, None], (first[:, None] + np.arange(3)) % 3]
    triangles = np.unique(turned, axis=0)

    def mean(values: NDArray[np.generic]) -> NDArray[np.float64]:
        columns = [np.bincount(of_vertex, values[:, k].astype(np.float64), len(counts)) for k in range(3)]
        return np.stack(columns, axis=1) / counts[:, None]

    normals = None
    if mesh.normals is not None:
        summed = mean(mesh.normals)
        normals = (summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    colors = None if mesh.colors is None else np.round(mean(mesh.colors)).astype(np.uint8)
    return Mesh(mean(mesh.vertices).astype(np.float32), triangles.astype(np.int32), normals, colors)


def _picked(mesh: Mesh, kept: NDArray[np.int64]) -> Mesh:
    return Mesh(
        mesh.vertices[kept],
        mesh.triangles,
        None if mesh.normals is None else mesh.normals[kept],
        None if mesh.colors is None else mesh.colors[kept],
    )
