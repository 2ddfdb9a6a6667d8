"""The triangles of marching cubes (Lorensen and Cline 1987), derived by rule.

On each face of a cube, segments part the corners inside from those outside. Where two inside corners are diagonal to
each other they are parted from one another as well: the rule looks at the signs of that face alone, so two cubes agree
on their common face and the surface has no cracks. The segments of all faces close to loops, which are cut into
triangles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

CORNERS = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)], np.int32)
"""(8, 3) places of a cube's corners: corner c is at the bits of c."""
EDGES = np.array([[c, c | 1 << axis] for axis in range(3) for c in range(8) if not c >> axis & 1], np.int32)
"""(12, 2) corners of a cube's edges: edges 4 a to 4 a + 3 run along axis a, away from the first."""
_FACES = ((0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6))
"""Corners of the faces, counter-clockwise seen from outside of the cube."""
_EDGE_OF = {tuple(sorted(edge)): index for index, edge in enumerate(EDGES.tolist())}


@dataclass(frozen=True, eq=False)
class MarchingTable:
    """What the 256 sets of corners inside give. Bit c of a case: corner c is inside."""

    counts: NDArray[np.int8]
    """(256,) triangles."""
    edges: NDArray[np.int8]
    """(256, 3 n) edges on which the corners of the triangles lie, counter-clockwise seen from outside; then -1."""


@cache
def marching_table() -> MarchingTable:
    """The table."""
    triangles = [[t for loop in _loops(case) for t in _cut(loop)] for case in range(256)]
    counts = np.array([len(some) for some in triangles], np.int8)
    edges = np.full((256, 3 * int(counts.max())), -1, np.int8)
    for case, some in enumerate(triangles):
        edges[case, : 3 * len(some)] = np.array(some, np.int8).reshape(-1)
    return MarchingTable(counts, edges)


def _loops(case: int) -> list[list[int]]:
    """The closed ways of the surface over the faces, as edges of the cube."""
    follows: dict[int, int] = {}
    for face in _FACES:
        inside = [bool(case >> corner & 1) for corner in face]
        crossing = [_EDGE_OF[tuple(sorted((face[i], face[(i + 1) % 4])))] for i in range(4)]
        for i in range(4):
            if not inside[i] and inside[(i + 1) % 4]:
                # Along the inside corners to where the face's outline leaves them.
                end = (i + 1) % 4
                while inside[(end + 1) % 4]:
                    end = (end + 1) % 4
                follows[crossing[i]] = crossing[end]
    loops = []
    while follows:
        first, at = follows.popitem()
        loop = [first]
        while at != first:
            loop.append(at)
            at = follows.pop(at)
        loops.append(loop)
    return loops


def _cut(loop: list[int]) -> list[tuple[int, int, int]]:
    """The triangles of a loop.

    A side between two edges of one face would lie in that face, where the neighbour might lay one as well; there are as
    few of them as can be.
    """
    return _best_cut(tuple(loop))[1]


@cache
def _best_cut(loop: tuple[int, ...]) -> tuple[int, list[tuple[int, int, int]]]:
    if len(loop) < 3:
        return 0, []
    best: tuple[int, list[tuple[int, int, int]]] | None = None
    for i in range(1, len(loop) - 1):
        cost = 0
        if i > 1:
            cost += _share_face(loop[0], loop[i])
        if i < len(loop) - 2:
            cost += _share_face(loop[i], loop[-1])
        left, right = _best_cut(loop[: i + 1]), _best_cut(loop[i:])
        cost += left[0] + right[0]
        if best is None or cost < best[0]:
            best = cost, [(loop[0], loop[i], loop[-1]), *left[1], *right[1]]
    assert best is not None
    return best


@cache
def _share_face(a: int, b: int) -> bool:
    def on(edge: int, face: tuple[int, ...]) -> bool:
        sides = [tuple(sorted(side)) for side in pairwise((*face, face[0]))]
        return tuple(EDGES[edge].tolist()) in sides

    return any(on(a, face) and on(b, face) for face in _FACES)
