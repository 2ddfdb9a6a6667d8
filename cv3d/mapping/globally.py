"""The global mapper: all rotations first, then all positions at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.geometry.global_poses import PositioningOptions, average_rotations, position_globally
from cv3d.mapping.graph import MatchGraph, TrackTable
from cv3d.mapping.growing import STAGE, Grower, GrowOptions, stage_while_growing
from cv3d.mapping.intrinsics import KnownCamera
from cv3d.mapping.merging import merge
from cv3d.mapping.relating import relative_rotations
from cv3d.mapping.solving import Solved, complete
from cv3d.mapping.state import MapState
from cv3d.progress import SILENT, Progress

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_FEWEST = 3
"""Pictures of a map."""
_LONG_TRACKS = 3
"""Pictures of a track that positions are found from, where there are enough of such tracks."""
_ENOUGH = 100
"""Such tracks of a picture, on average."""


def map_globally(
    graph: MatchGraph,
    table: TrackTable,
    known: Sequence[KnownCamera],
    camera_of: Ints,
    options: GrowOptions,
    progress: Progress = SILENT,
) -> Solved:
    """Average the rotations of the pairs, place all cameras and points by their rays, and go on from there.

    What does not fit is taken out by the adjustment and placed again as the incremental mapper does.

    Args:
        graph: pictures and their verified pairs.
        table: its tracks.
        known: cameras as they are known; the focal lengths should be right within some per cent.
        camera_of: (P,), which camera took each picture.
        options: thresholds and seed.
        progress: told of every picture that is placed.

    Returns:
        One map for each group of pictures that hang together; none where the rotations do not determine positions.
    """
    solved, taken = Solved(), np.zeros(len(graph), np.bool_)
    cameras = [known[int(index)].camera for index in camera_of]
    rotations, is_known = relative_rotations(graph, cameras)
    edges = np.array([(pair.first, pair.second) for pair in graph.pairs], np.intp).reshape(-1, 2)
    weights = np.where(is_known, [float(len(pair.matches)) for pair in graph.pairs], 0.0)
    averaged = average_rotations(edges, rotations, weights, len(graph))
    progress.start(STAGE, int((averaged.component >= 0).sum()))
    for part in range(int(averaged.component.max(initial=-1)) + 1):
        members = averaged.component == part
        if int(members.sum()) < _FEWEST:
            continue
        for state in _positioned(graph, table, known, camera_of, averaged.rotations, members, options):
            grower = Grower(state, known, options, progress, solved.attempts)
            grower.finish(stage_while_growing(int(state.placed.sum())))
            complete(grower, taken)
            if int(state.placed.sum()) >= _FEWEST:
                taken |= state.placed
                solved.maps.append(state)
                progress.advance(STAGE, int(state.placed.sum()))
    solved.settle(merge(solved.maps, known, options))
    progress.finish(STAGE)
    return solved


def _positioned(
    graph: MatchGraph,
    table: TrackTable,
    known: Sequence[KnownCamera],
    camera_of: Ints,
    rotations: Floats,
    members: Bools,
    options: GrowOptions,
) -> list[MapState]:
    """Maps with poses and points of some pictures; more than one where they share no tracks."""
    state = MapState(graph, table, [camera.camera for camera in known], camera_of)
    rows = np.flatnonzero(members[table.picture] & np.isfinite(state.rays()[:, 0]))
    seen = np.bincount(table.track[rows], minlength=table.count)
    long_ones = rows[seen[table.track[rows]] >= _LONG_TRACKS]
    if len(long_ones) >= _LONG_TRACKS * _ENOUGH * int(members.sum()):
        rows = long_ones
    turns = np.where(members[:, None, None], rotations, np.nan)
    try:
        found = position_globally(
            turns, state.rays()[rows], table.picture[rows], table.track[rows], PositioningOptions(seed=options.seed)
        )
    except EstimationError:
        return []
    states = []
    for part in range(int(found.component.max(initial=-1)) + 1):
        placed = found.component == part
        if int(placed.sum()) < _FEWEST:
            continue
        one = MapState(graph, table, list(state.cameras), camera_of)
        one.poses[placed, :3, :3] = turns[placed]
        one.poses[placed, :3, 3] = -np.einsum("nij,nj->ni", turns[placed], found.centres[placed])
        one.placed = placed
        one.triangulate()
        states.append(one)
    return states
