"""Smoothing of a surface without shrinking it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from cv3d.geometry.mesh import Mesh

_PASS, _BACK = 0.5, -0.53
"""Factors of the two half-steps of a round."""


def smoothed(mesh: Mesh, rounds: int) -> Mesh:
    """The mesh with each vertex moved towards the mean of its neighbours and back by a little more (Taubin 1995).

    Vertices of the border stay where they are; normals are made anew.

    Args:
        mesh: the surface.
        rounds: how often.
    """
    if rounds == 0 or not len(mesh.triangles):
        return mesh
    count = len(mesh.vertices)
    a, b, c = mesh.triangles.T
    starts, ends = np.concatenate([a, b, c]), np.concatenate([b, c, a])
    there = csr_array((np.ones(len(starts), np.float32), (starts, ends)), shape=(count, count))
    there.data[:] = 1.0
    both = there + there.T
    # A side with one triangle only is in one of the two directions.
    is_border = np.zeros(count, np.bool_)
    single = both.tocoo()
    lonely = single.data < 1.5
    is_border[single.row[lonely]] = True
    both.data[:] = 1.0
    degree = np.maximum(both.sum(axis=1), 1.0).astype(np.float32)
    mean = diags_array(1.0 / degree) @ both
    vertices = mesh.vertices.astype(np.float32)
    inner = ~is_border[:, None]
    for _ in range(rounds):
        for factor in (_PASS, _BACK):
            vertices = np.where(inner, vertices + np.float32(factor) * (mean @ vertices - vertices), vertices)
    vertices = vertices.astype(np.float32)
    return Mesh(vertices, mesh.triangles, vertex_normals(vertices, mesh.triangles), mesh.colors)


def vertex_normals(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """(n, 3) unit normals of vertices: means over their triangles, weighted by area."""
    a, b, c = vertices[triangles.T]
    faces = np.cross(b - a, c - a)
    sums = np.zeros((len(vertices), 3))
    for axis in range(3):
        for corner in range(3):
            sums[:, axis] += np.bincount(triangles[:, corner], weights=faces[:, axis], minlength=len(vertices))
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    normals: NDArray[np.float32] = (sums / np.where(length > 0.0, length, 1.0)).astype(np.float32)
    return normals
