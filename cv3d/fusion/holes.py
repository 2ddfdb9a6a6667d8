"""Holes of a surface: closed ways along edges that have a triangle on one side only."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.mesh import Mesh


def closed_holes(mesh: Mesh, part_of: NDArray[np.int32], areas: NDArray[np.float64], max_perimeter_m: float) -> Mesh:
    """The mesh with fans over its small holes.

    Args:
        mesh: the surface.
        part_of: (n,) connected part of each vertex.
        areas: (m,) of the triangles, m².
        max_perimeter_m: longest border that is closed.
    """
    loops = border_loops(mesh.triangles)
    if not loops:
        return mesh
    vertices = mesh.vertices.astype(np.float64)
    lengths = [float(np.linalg.norm(vertices[loop] - vertices[np.roll(loop, -1)], axis=1).sum()) for loop in loops]
    part_areas = np.bincount(part_of[mesh.triangles[:, 0]], weights=areas)
    longest: dict[int, float] = {}
    for loop, length in zip(loops, lengths, strict=True):
        part = int(part_of[loop[0]])
        longest[part] = max(longest.get(part, 0.0), length)
    new_vertices: list[NDArray[np.float64]] = []
    new_triangles: list[NDArray[np.int64]] = []
    sources: list[NDArray[np.int64]] = []
    for loop, length in zip(loops, lengths, strict=True):
        part = int(part_of[loop[0]])
        # No flat figure has more area than the circle of that outline.
        is_outline = length == longest[part] and part_areas[part] <= 2.0 * length**2 / (4.0 * math.pi)
        if length > max_perimeter_m or is_outline:
            continue
        if len(loop) == 3:
            new_triangles.append(loop[None])
            continue
        middle = len(vertices) + len(new_vertices)
        new_vertices.append(vertices[loop].mean(0))
        sources.append(loop)
        new_triangles.append(np.stack([loop, np.roll(loop, -1), np.full(len(loop), middle)], 1))
    if not new_triangles:
        return mesh
    normals, colors = mesh.normals, mesh.colors
    if normals is not None and sources:
        sums = np.stack([normals[loop].sum(0, dtype=np.float64) for loop in sources])
        unit = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        normals = np.concatenate([normals, unit.astype(np.float32)])
    if colors is not None and sources:
        colors = np.concatenate(
            [colors, np.stack([np.rint(colors[loop].mean(0)) for loop in sources]).astype(np.uint8)]
        )
    points = [mesh.vertices, np.array(new_vertices, np.float32).reshape(-1, 3)]
    triangles = [mesh.triangles, *(some.astype(np.int32) for some in new_triangles)]
    return Mesh(np.concatenate(points), np.concatenate(triangles), normals, colors)


def border_loops(triangles: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """The vertices of the closed ways along the border, in the direction that new triangles take.

    Where borders touch in a vertex the way is cut there, so that no loop meets a vertex twice.
    """
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    size = int(triangles.max()) + 1 if len(triangles) else 1
    # By their end first: an open side is one that no other goes back along. Sorted, they are found in one pass.
    there, back = np.sort(sides[:, 1] * size + sides[:, 0]), np.sort(sides[:, 0] * size + sides[:, 1])
    place = np.minimum(np.searchsorted(back, there), max(len(back) - 1, 0))
    ends, starts = np.divmod(there[back[place] != there], size)
    following: dict[int, list[int]] = defaultdict(list)
    for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
        following[b].append(a)
    loops: list[NDArray[np.int64]] = []
    for start in list(following):
        while following[start]:
            way, at_step = [start], {start: 0}
            at = start
            while following[at]:
                at = following[at].pop()
                if at in at_step:
                    first = at_step[at]
                    if len(way) - first >= 3:
                        loops.append(np.array(way[first:], np.int64))
                    for gone in way[first + 1 :]:
                        del at_step[gone]
                    way = way[: first + 1]
                else:
                    at_step[at] = len(way)
                    way.append(at)
    return loops
