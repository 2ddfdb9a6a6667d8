"""Vertices of a textured mesh for formats that give each one place in the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.mesh import Mesh
from cv3d.geometry.texture import Texture


def split_at_seams(mesh: Mesh, texture: Texture) -> tuple[Mesh, NDArray[np.float32]]:
    """The mesh with a vertex for each place of the picture that an old vertex has.

    Returns:
        The mesh, without colours, and its vertices' places in the picture, (n, 2).
    """
    old = mesh.triangles.reshape(-1)
    places = np.ascontiguousarray(texture.corners.reshape(-1, 2), np.float32)
    keys = np.empty(len(old), np.dtype([("vertex", np.int32), ("place", np.int64)]))
    keys["vertex"], keys["place"] = old, places.view(np.int64)[:, 0]
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    kept = old[first]
    normals = None if mesh.normals is None else mesh.normals[kept]
    triangles = index.reshape(-1, 3).astype(np.int32)
    return replace(mesh, vertices=mesh.vertices[kept], triangles=triangles, normals=normals, colors=None), places[first]
