"""The nearest point of a mesh's surface, exactly, for many points."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import usable_cores
from cv3d.errors import InputError
from cv3d.geometry.fused import fused
from cv3d.geometry.mesh import Mesh

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_LEAF = 4
"""Triangles of one leaf."""
_FLAT = 1e-10
"""Square of the sine of a triangle's angle below which it is a line."""
_CHUNK = 8192
"""Points of one task."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Where the surface is nearest to each of some points."""

    distances: Floats
    """(n,), metres; infinite where nothing is within the reach asked for."""
    triangles: Indices
    """(n,) triangle of the mesh (vertex, of a cloud); -1 where nothing is within reach."""
    points: Floats
    """(n, 3) the nearest point of the surface; NaN where nothing is within reach."""


class TriangleTree:
    """A tree of boxes over the triangles of a mesh, or over the points of a cloud.

    The triangles are sorted along a Morton curve through their centres and boxed in fours, the fours in pairs, and so
    on (Lauterbach et al., Fast BVH construction on GPUs, 2009), so the tree has no pointers.
    """

    def __init__(self, mesh: Mesh) -> None:
        """Build the tree.

        Raises:
            InputError: the mesh has no vertices, or one that is not finite.
        """
        if not len(mesh.vertices) or not np.isfinite(mesh.vertices).all():
            raise InputError("a surface to measure distances to has vertices, all of them finite")
        index = mesh.triangles.astype(np.int64)
        if not len(index):
            index = np.repeat(np.arange(len(mesh.vertices))[:, None], 3, axis=1)
        corners = mesh.vertices.astype(np.float64)[index]
        self._order = np.argsort(_morton(corners.mean(axis=1)), kind="stable")
        self._corners = np.ascontiguousarray(corners[self._order])
        leaves = -(-len(index) // _LEAF)
        self._width = 1 << max(0, (leaves - 1).bit_length())
        self._low, self._high = _boxes(self._corners, self._width)

    def nearest(self, points: NDArray[np.floating], reach_m: float = np.inf) -> Nearest:
        """The nearest point of the surface to each point.

        Args:
            points: (n, 3), finite.
            reach_m: nothing farther away is looked for.
        """
        queries = np.ascontiguousarray(points, np.float64)
        distances, triangles, places = np.empty(len(queries)), np.empty(len(queries), np.int64), np.empty_like(queries)

        def work(start: int) -> None:
            part = slice(start, start + _CHUNK)
            _search(
                self._corners,
                self._low,
                self._high,
                self._width,
                queries[part],
                reach_m * reach_m,
                distances[part],
                triangles[part],
                places[part],
            )

        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(work, range(0, len(queries), _CHUNK)))
        found = triangles >= 0
        triangles[found] = self._order[triangles[found]]
        return Nearest(np.sqrt(distances), triangles, places)


def _morton(centres: Floats) -> Indices:
    """The place of each of (n, 3) points on a Morton curve of 2^21 cells a side."""
    low = centres.min(axis=0)
    side = max(float((centres.max(axis=0) - low).max()), 1e-300)
    cells = np.minimum((centres - low) / side * 2.0**21, 2.0**21 - 1.0).astype(np.int64)
    code = np.zeros(len(centres), np.int64)
    for axis in range(3):
        spread = cells[:, axis]
        for shift, mask in _SPREAD:
            spread = (spread | spread << shift) & mask
        code |= spread << axis
    return code


_SPREAD = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
"""Steps that put two empty bits after each of 21 bits."""


def _boxes(corners: Floats, width: int) -> tuple[Floats, Floats]:
    """Lower and upper corners of all boxes, (2 width, 3): the root is 1, the children of i are 2i and 2i + 1."""
    low, high = np.full((2 * width, 3), np.inf), np.full((2 * width, 3), -np.inf)
    starts = np.arange(0, len(corners), _LEAF)
    low[width : width + len(starts)] = np.minimum.reduceat(corners.min(axis=1), starts)
    high[width : width + len(starts)] = np.maximum.reduceat(corners.max(axis=1), starts)
    level = width
    while level > 1:
        low[level // 2 : level] = low[level : 2 * level].reshape(-1, 2, 3).min(axis=1)
        high[level // 2 : level] = high[level : 2 * level].reshape(-1, 2, 3).max(axis=1)
        level //= 2
    return low, high


@fused
def _box_gap(low: Floats, high: Floats, node: int, x: float, y: float, z: float) -> float:
    """Squared distance of a point from a box; infinite for an empty box."""
    gap_x = max(low[node, 0] - x, 0.0, x - high[node, 0])
    gap_y = max(low[node, 1] - y, 0.0, y - high[node, 1])
    gap_z = max(low[node, 2] - z, 0.0, z - high[node, 2])
    return float(gap_x * gap_x + gap_y * gap_y + gap_z * gap_z)


@fused
def _search(
    corners: Floats,
    low: Floats,
    high: Floats,
    width: int,
    queries: Floats,
    reach: float,
    distances: Floats,
    triangles: Indices,
    places: Floats,
) -> None:
    """Nearest triangle of each query, depth first, the nearer child before the other; distances are squared."""
    stack = np.empty(128, np.int64)
    gaps = np.empty(128)
    place = np.empty(3)
    for i in range(len(queries)):
        x, y, z = queries[i, 0], queries[i, 1], queries[i, 2]
        best, which = reach, -1
        best_x = best_y = best_z = np.nan
        stack[0], gaps[0], top = 1, _box_gap(low, high, 1, x, y, z), 1
        while top:
            top -= 1
            node = stack[top]
            if gaps[top] > best:
                continue
            if node >= width:
                start = (node - width) * _LEAF
                for t in range(start, min(start + _LEAF, len(corners))):
                    squared = _nearest_on_triangle(corners[t], x, y, z, place)
                    if squared < best or (squared == best and which < 0):
                        best, which = squared, t
                        best_x, best_y, best_z = place[0], place[1], place[2]
                continue
            left, right = 2 * node, 2 * node + 1
            gap_left, gap_right = _box_gap(low, high, left, x, y, z), _box_gap(low, high, right, x, y, z)
            if gap_left < gap_right:
                left, right, gap_left, gap_right = right, left, gap_right, gap_left
            if gap_left <= best:
                stack[top], gaps[top] = left, gap_left
                top += 1
            if gap_right <= best:
                stack[top], gaps[top] = right, gap_right
                top += 1
        distances[i] = best if which >= 0 else np.inf
        triangles[i] = which
        places[i, 0], places[i, 1], places[i, 2] = best_x, best_y, best_z


@fused
def _nearest_on_edges(d1: float, d2: float, bb: float, bc: float, cc: float) -> tuple[float, float]:
    """Shares v and w of the nearest point of a triangle without area, which is one of its edges."""
    along_b = min(max(d1 / bb, 0.0), 1.0) if bb > 0.0 else 0.0
    along_c = min(max(d2 / cc, 0.0), 1.0) if cc > 0.0 else 0.0
    third = bb - 2.0 * bc + cc
    along_bc = min(max((d2 - d1 + bb - bc) / third, 0.0), 1.0) if third > 0.0 else 0.0
    best, v, w = np.inf, 0.0, 0.0
    for k in range(3):
        if k == 0:
            share_b, share_c = along_b, 0.0
        elif k == 1:
            share_b, share_c = 0.0, along_c
        else:
            share_b, share_c = 1.0 - along_bc, along_bc
        # The squared distance, less that from the first corner.
        gap = share_b * share_b * bb + 2.0 * share_b * share_c * bc + share_c * share_c * cc
        gap -= 2.0 * (share_b * d1 + share_c * d2)
        if gap < best:
            best, v, w = gap, share_b, share_c
    return v, w


@fused
def _nearest_on_triangle(corners: Floats, x: float, y: float, z: float, place: Floats) -> float:
    """Squared distance of a point from a triangle, and the nearest point of it in `place`.

    After Ericson, Real-Time Collision Detection, 2005, section 5.1.5; a triangle without area is a line or a point.
    """
    ax, ay, az = corners[0, 0], corners[0, 1], corners[0, 2]
    abx, aby, abz = corners[1, 0] - ax, corners[1, 1] - ay, corners[1, 2] - az
    acx, acy, acz = corners[2, 0] - ax, corners[2, 1] - ay, corners[2, 2] - az
    apx, apy, apz = x - ax, y - ay, z - az
    d1, d2 = abx * apx + aby * apy + abz * apz, acx * apx + acy * apy + acz * apz
    bb, bc, cc = abx * abx + aby * aby + abz * abz, abx * acx + aby * acy + abz * acz, acx * acx + acy * acy + acz * acz
    d3, d4, d5, d6 = d1 - bb, d2 - bc, d1 - bc, d2 - cc
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    v = w = 0.0
    if bb * cc - bc * bc <= _FLAT * bb * cc:
        v, w = _nearest_on_edges(d1, d2, bb, bc, cc)
    elif d1 <= 0.0 and d2 <= 0.0:
        v = w = 0.0
    elif d3 >= 0.0 and d4 <= d3:
        v, w = 1.0, 0.0
    elif d6 >= 0.0 and d5 <= d6:
        v, w = 0.0, 1.0
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        v, w = d1 / (d1 - d3), 0.0
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        v, w = 0.0, d2 / (d2 - d6)
    elif va <= 0.0 and d4 >= d3 and d5 >= d6:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        v = 1.0 - w
    else:
        total = va + vb + vc
        v, w = vb / total, vc / total
    place[0], place[1], place[2] = ax + v * abx + w * acx, ay + v * aby + w * acy, az + v * abz + w * acz
    gap_x, gap_y, gap_z = x - place[0], y - place[1], z - place[2]
    return float(gap_x * gap_x + gap_y * gap_y + gap_z * gap_z)
