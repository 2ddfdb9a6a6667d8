"""From a graph of matches to maps: as many as there are groups of pictures that hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cv3d.mapping.graph import MatchGraph, TrackTable
from cv3d.mapping.growing import STAGE, Attempts, Grower, GrowOptions
from cv3d.mapping.intrinsics import BENT, CENTRED, FOCAL, RADIAL, KnownCamera
from cv3d.mapping.merging import merge
from cv3d.mapping.state import MapState
from cv3d.progress import SILENT, Progress

Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_FEWEST = 3
"""Pictures of a further map, below which it is not kept."""
_GROWTHS = 3
"""Times that a finished map is tried to be grown further."""


@dataclass
class Solved:
    """Maps and what became of the other pictures."""

    maps: list[MapState] = field(default_factory=list)
    """The largest first; they share no picture."""
    attempts: Attempts = field(default_factory=Attempts)

    def settle(self, maps: list[MapState]) -> None:
        """Take the final maps, and forget failures of pictures that they hold."""
        self.maps = sorted(maps, key=lambda state: -int(state.placed.sum()))
        for state in self.maps:
            for picture in np.flatnonzero(state.placed).tolist():
                self.attempts.reasons.pop(picture, None)


def map_incrementally(
    graph: MatchGraph,
    table: TrackTable,
    known: Sequence[KnownCamera],
    camera_of: Ints,
    options: GrowOptions,
    progress: Progress = SILENT,
) -> Solved:
    """Grow maps until no further one can be begun.

    Args:
        graph: pictures and their verified pairs.
        table: its tracks.
        known: cameras as they are known.
        camera_of: (P,), which camera took each picture.
        options: thresholds and seed.
        progress: told of every picture that is placed.
    """
    solved, taken = Solved(), np.zeros(len(graph), np.bool_)
    progress.start(STAGE, int((graph.degrees() > 0).sum()))
    while True:
        state = MapState(graph, table, [camera.camera for camera in known], camera_of)
        if solved.maps:
            # A camera that the first map has calibrated is calibrated for the others.
            state.set_cameras(list(solved.maps[0].cameras))
        grower = Grower(state, known, options, progress, solved.attempts)
        if not grower.begin(taken):
            break
        complete(grower, taken)
        if solved.maps and int(state.placed.sum()) < _FEWEST:
            break
        taken |= state.placed
        solved.maps.append(state)
        if int((~taken).sum()) < _FEWEST:
            break
    solved.settle(merge(solved.maps, known, options))
    progress.finish(STAGE)
    return solved


def complete(grower: Grower, taken: Bools) -> None:
    """Grow a map as far as it goes: what did not fit into it half-done may fit once it is adjusted."""
    state = grower.state
    for _ in range(_GROWTHS):
        before = int(state.placed.sum())
        grower.grow(taken)
        grower.finish(final_stage(state))
        if int(state.placed.sum()) <= before or (state.placed | taken).all():
            return


def final_stage(state: MapState) -> int:
    """Which intrinsics so many pictures determine, given what is known of lenses in general."""
    pictures = int(state.placed.sum())
    return CENTRED if pictures >= 6 else BENT if pictures >= 5 else RADIAL if pictures >= 4 else FOCAL
