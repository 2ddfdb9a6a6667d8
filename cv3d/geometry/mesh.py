"""A triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in space; without any triangle, a point cloud.

    Raises:
        InputError: the shapes do not match, or a triangle names a vertex that is not there.
    """

    vertices: NDArray[np.float32]
    """(n, 3), metres."""
    triangles: NDArray[np.int32]
    """(m, 3) indices of vertices, counter-clockwise seen from outside."""
    normals: NDArray[np.float32] | None = None
    """(n, 3) unit normals of the vertices, pointing outside."""
    colors: NDArray[np.uint8] | None = None
    """(n, 3) RGB of the vertices."""

    def __post_init__(self) -> None:
        count = len(self.vertices)
        if self.vertices.shape != (count, 3) or self.triangles.shape != (len(self.triangles), 3):
            raise InputError(
                f"a mesh has vertices (n, 3) and triangles (m, 3), not {self.vertices.shape}, {self.triangles.shape}"
            )
        for name, values in (("normals", self.normals), ("colors", self.colors)):
            if values is not None and values.shape != (count, 3):
                raise InputError(f"{name} of {count} vertices are ({count}, 3), not {values.shape}")
        if len(self.triangles) and not (int(self.triangles.min()) >= 0 and int(self.triangles.max()) < count):
            raise InputError(f"a triangle names a vertex beyond the {count} that there are")
