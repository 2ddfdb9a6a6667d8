"""What views say of the places of a surface: they see it there, or through it to something farther.

A view that sees something nearer has no opinion; nor has one that measured nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.fused_engine import Workers
from cv3d.fusion.layout import Number
from cv3d.fusion.options import DepthNoise
from cv3d.geometry.fused import fused
from cv3d.geometry.mesh import Mesh

Floats = NDArray[np.float32]

AGREE_SIGMAS = 3.0
"""Difference of depth that still agrees, standard deviations."""
THROUGH = 2.0
"""How much farther than what still agrees a depth has to be for the view to see through, times."""
_LEAST_COSINE = 0.1
"""A view bears out what faces it."""
_STEEPEST = 5.0
"""Tangent of the incidence up to which half a pixel's change of depth is allowed for."""
_STEP = 8192
"""Places that a thread takes at a time."""


@dataclass(frozen=True, eq=False)
class Votes:
    """What all views together say of each vertex."""

    views: NDArray[np.int16]
    """(n,) how many see it there."""
    support: Floats
    """(n,) sum of their weights."""
    through: Floats
    """(n,) sum of the weights of those that look through it."""


class Ballot:
    """Asks views one by one."""

    def __init__(self, mesh: Mesh, noise: DepthNoise, slack_m: float) -> None:
        """Begin with no view.

        Args:
            mesh: with normals.
            noise: of the depth.
            slack_m: how far the mesh itself may lie off what it was made from, metres.
        """
        count = len(mesh.vertices)
        self._vertices = np.ascontiguousarray(mesh.vertices, np.float32)
        assert mesh.normals is not None
        self._normals = np.ascontiguousarray(mesh.normals, np.float32)
        self._noise = np.array([noise.base_m, noise.quadratic, slack_m], np.float32)
        self._workers = Workers(None)
        self.votes = Votes(np.zeros(count, np.int16), np.zeros(count, np.float32), np.zeros(count, np.float32))
        """Until now."""

    def ask(self, view: DepthFrame) -> None:
        """Add a pinhole view's votes."""
        depth = np.ascontiguousarray(np.nan_to_num(view.depth, nan=0.0, posinf=0.0))
        weight = np.ones((1, 1), np.float32) if view.weight is None else np.ascontiguousarray(view.weight)
        camera = np.array(view.camera.params[:4], np.float32)
        motion = view.cam_from_world[:3].astype(np.float32)
        votes = self.votes

        def some(first: int, end: int) -> None:
            cast_votes(
                self._vertices[first:end],
                self._normals[first:end],
                camera,
                motion,
                depth,
                weight,
                self._noise,
                votes.views[first:end],
                votes.support[first:end],
                votes.through[first:end],
            )

        self._workers.over(len(self._vertices), _STEP, some)


@fused
def cast_votes(
    vertices: Floats,
    normals: Floats,
    camera: Floats,
    motion: Floats,
    depth: Floats,
    weight: Floats,
    noise: Floats,
    views: NDArray[np.int16],
    support: Floats,
    through: Floats,
) -> None:
    """Add one view's votes on some vertices.

    Args:
        vertices: (n, 3).
        normals: (n, 3).
        camera: fx, fy, cx, cy.
        motion: (3, 4) cam_from_world.
        depth: (h, w), 0 where there is none.
        weight: (h, w), or (1, 1) where all weigh 1.
        noise: base and quadratic part, and how far the vertices may be off.
        views: (n,), and
        support: (n,), and
        through: (n,), added to.
    """
    height, width = depth.shape
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    is_weighted = weight.shape[0] == height and weight.shape[1] == width
    for n in range(len(vertices)):
        px, py, pz = vertices[n, 0], vertices[n, 1], vertices[n, 2]
        x = motion[0, 0] * px + motion[0, 1] * py + motion[0, 2] * pz + motion[0, 3]
        y = motion[1, 0] * px + motion[1, 1] * py + motion[1, 2] * pz + motion[1, 3]
        z = motion[2, 0] * px + motion[2, 1] * py + motion[2, 2] * pz + motion[2, 3]
        if z <= 0.0:
            continue
        column, row = int(np.floor(fx * x / z + cx + 0.5)), int(np.floor(fy * y / z + cy + 0.5))
        if column < 1 or row < 1 or column >= width - 1 or row >= height - 1:
            continue
        here = depth[row, column]
        if here <= 0.0:
            continue
        share = weight[row, column] if is_weighted else np.float32(1.0)
        a, b, c = normals[n, 0], normals[n, 1], normals[n, 2]
        facing = motion[0, 0] * a + motion[0, 1] * b + motion[0, 2] * c
        up = motion[1, 0] * a + motion[1, 1] * b + motion[1, 2] * c
        ahead = motion[2, 0] * a + motion[2, 1] * b + motion[2, 2] * c
        cosine = -(facing * x + up * y + ahead * z) / np.sqrt(x * x + y * y + z * z)
        spread = np.sqrt(noise[0] * noise[0] + (noise[1] * z * z) ** 2)
        slant = min(np.sqrt(max(1.0 - cosine * cosine, 0.0)) / max(abs(cosine), 0.1), _STEEPEST)
        reach = AGREE_SIGMAS * spread + noise[2] + 0.7 * slant * z / min(fx, fy)
        gap = here - z
        if abs(gap) <= reach:
            if cosine >= _LEAST_COSINE:
                views[n] += 1
                support[n] += share
        elif gap > THROUGH * reach and _least_around(depth, row, column) - z > THROUGH * reach:
            through[n] += share


@fused
def _least_around(depth: Floats, row: int, column: int) -> Number:
    """The least depth of a pixel and its neighbours; 0 where one has none."""
    least = depth[row, column]
    for i in range(row - 1, row + 2):
        for j in range(column - 1, column + 2):
            least = min(least, depth[i, j])
    return least
