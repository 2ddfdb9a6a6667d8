"""Relative rotations of the verified pairs, and the pairs that contradict the others: places that look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.global_poses import consistent_edges
from cv3d.geometry.two_view import Degeneracy, ModelKind
from cv3d.geometry.two_view.decomposition import recover_pose
from cv3d.mapping.graph import MatchGraph, PicturePair

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ENOUGH = 200
"""Matches of a pair by which one of the four motions of an essential matrix is told from the others."""
_LIMIT_DEG = 6.0
"""How far three rotations around a triangle may be from none; lens distortion is not known yet."""
_MOST_WRONG = 0.25
"""Share of contradicting pairs above which the rotations are not believed."""


def relative_rotations(graph: MatchGraph, cameras: Sequence[Camera]) -> tuple[Floats, Bools]:
    """Rotations between the pictures of every pair.

    Args:
        graph: verified pairs.
        cameras: of each picture, as far as they are known.

    Returns:
        second_from_first (e, 3, 3), and which are known (e,).
    """
    rotations = np.tile(np.eye(3), (len(graph.pairs), 1, 1))
    known = np.zeros(len(graph.pairs), np.bool_)
    for index, pair in enumerate(graph.pairs):
        found = _rotation(graph, pair, cameras[pair.first], cameras[pair.second])
        if found is not None:
            rotations[index], known[index] = found, True
    return rotations, known


def contradicting_pairs(graph: MatchGraph, cameras: Sequence[Camera]) -> Bools:
    """Pairs whose rotations do not fit the triangles that they are in, (e,).

    None is where many do not: then it is the rotations that are too vague to tell, from short baselines and lenses
    not known yet.

    Args:
        graph: verified pairs.
        cameras: of each picture, as far as they are known.
    """
    dropped = np.zeros(len(graph.pairs), np.bool_)
    rotations, known = relative_rotations(graph, cameras)
    used = np.flatnonzero(known)
    if len(used) < 3:
        return dropped
    edges = np.array([(graph.pairs[i].first, graph.pairs[i].second) for i in used.tolist()], np.intp)
    contradicting = ~consistent_edges(edges, rotations[used], len(graph), limit_deg=_LIMIT_DEG)
    if float(contradicting.mean()) <= _MOST_WRONG:
        dropped[used] = contradicting
    return dropped


def _rotation(graph: MatchGraph, pair: PicturePair, first: Camera, second: Camera) -> Floats | None:
    geometry = pair.geometry
    if geometry is None:
        return None
    if geometry.rotation is not None and geometry.degeneracy is not Degeneracy.PLANAR_AMBIGUOUS:
        return geometry.rotation
    if geometry.model is not ModelKind.FUNDAMENTAL or geometry.matrix is None:
        return None
    chosen = pair.matches[:: max(1, len(pair.matches) // _ENOUGH)]
    rays0 = first.unproject(graph.keypoints[pair.first][chosen[:, 0]])
    rays1 = second.unproject(graph.keypoints[pair.second][chosen[:, 1]])
    essential = second.matrix.T @ geometry.matrix @ first.matrix
    rotation: Floats = recover_pose(essential, rays0, rays1).rotation
    return rotation
