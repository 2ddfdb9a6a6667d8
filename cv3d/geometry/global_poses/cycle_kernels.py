"""Fused kernel: how far the rotations around triangles of a graph are from none."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


@fused
def _entry(matrix: Floats, is_turned: bool, row: int, col: int) -> float:
    entry: float = matrix[col, row] if is_turned else matrix[row, col]
    return entry


@fused
def _angle_around(there: Floats, back: Floats, is_there_turned: bool, is_back_turned: bool, across: Floats) -> float:
    """Angle of across^T back there, each of `there` and `back` transposed where it is said to be turned."""
    trace = 0.0
    for i in range(3):
        for j in range(3):
            both = 0.0
            for k in range(3):
                both += _entry(back, is_back_turned, i, k) * _entry(there, is_there_turned, k, j)
            trace += both * across[i, j]
    return math.acos(min(max(0.5 * (trace - 1.0), -1.0), 1.0))


@fused
def triangle_angles(
    edges: Ints, rotations: Floats, start: Ints, neighbour: Ints, edge_to: Ints, limit: float, counts: Ints, out: Floats
) -> None:
    """Statistics of the triangles that each edge is in.

    Args:
        edges: nodes a and b, (e, 2).
        rotations: b_from_a, (e, 3, 3).
        start: where each node's neighbours start, (n + 1,).
        neighbour: neighbours, ascending for each node, (2 e,).
        edge_to: the edges to them, (2 e,).
        limit: largest angle of a good triangle, radians.
        counts: triangles and good ones among them, (e, 2), written.
        out: least and median angle, (e, 2), radians, written; untouched where there is no triangle.
    """
    longest = 0
    for node in range(len(start) - 1):
        longest = max(longest, start[node + 1] - start[node])
    angles = np.empty(longest)
    for e in range(len(edges)):
        a, b = edges[e, 0], edges[e, 1]
        at, other, found, good = start[a], start[b], 0, 0
        while at < start[a + 1] and other < start[b + 1]:
            if neighbour[at] < neighbour[other]:
                at += 1
            elif neighbour[at] > neighbour[other]:
                other += 1
            else:
                there, back = edge_to[at], edge_to[other]
                angles[found] = _angle_around(
                    rotations[there], rotations[back], edges[there, 0] != a, edges[back, 1] != b, rotations[e]
                )
                good += int(angles[found] <= limit)
                found += 1
                at += 1
                other += 1
        counts[e, 0], counts[e, 1] = found, good
        if found:
            out[e, 0], out[e, 1] = angles[:found].min(), np.median(angles[:found])
