"""The table of marching cubes: closed, oriented, and of one mind with the neighbour."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np

from cv3d.fusion.marching_table import CORNERS, EDGES, marching_table

TABLE = marching_table()
MIDDLES = CORNERS[EDGES].mean(1)


def triangles_of(case: int) -> np.ndarray:
    return TABLE.edges[case, : 3 * TABLE.counts[case]].reshape(-1, 3)


def test_every_crossed_edge_has_a_vertex_and_no_other() -> None:
    for case in range(256):
        crossed = {e for e, (a, b) in enumerate(EDGES.tolist()) if (case >> a ^ case >> b) & 1}
        assert set(triangles_of(case).ravel().tolist()) == crossed


def test_borders_lie_on_faces_and_the_rest_is_closed() -> None:
    for case in range(256):
        sides = Counter((a, b) for t in triangles_of(case).tolist() for a, b in zip(t, [*t[1:], t[0]], strict=True))
        assert max(sides.values(), default=1) == 1
        for a, b in sides:
            if (b, a) not in sides:
                middle = MIDDLES[[a, b]]
                assert any((middle[:, axis] == value).all() for axis, value in product(range(3), (0.0, 1.0)))


def test_triangles_face_the_outside() -> None:
    for corner in range(8):
        (triangle,) = triangles_of(1 << corner)
        a, b, c = MIDDLES[triangle]
        assert np.cross(b - a, c - a) @ (a - CORNERS[corner]) > 0


def test_neighbours_agree_on_their_common_face() -> None:
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        face: dict[tuple[int, ...], set] = {}
        for case in range(256):
            for value in (0, 1):
                corners = [c for c in range(8) if CORNERS[c, axis] == value]
                signs = tuple(case >> c & 1 for c in sorted(corners, key=lambda c: CORNERS[c, others].tolist()))
                sides = Counter(
                    tuple(map(tuple, MIDDLES[[a, b]][:, others]))
                    for t in triangles_of(case).tolist()
                    for a, b in zip(t, [*t[1:], t[0]], strict=True)
                    if (MIDDLES[[a, b]][:, axis] == value).all()
                )
                found = {tuple(sorted(side)) for side in sides}
                assert face.setdefault(signs, found) == found
