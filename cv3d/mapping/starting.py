"""Which two pictures a map begins with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.two_view import Degeneracy, TwoView, TwoViewOptions, estimate_two_view
from cv3d.mapping.graph import MatchGraph, PicturePair
from cv3d.mapping.state import MapState

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LOOKED_AT = 8
"""Pairs whose motions are estimated before the best of them is tried."""
_WIDE = np.radians(8.0)
"""Parallax from which on more is no further help."""
_NARROW = np.radians(1.0)
"""Parallax below which a pair is no beginning."""
_FEWEST = 30
_AMBIGUOUS = 0.3
"""What a pair counts whose matches lie on a plane, over another one."""
_SAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Start:
    """Two pictures and the motion between them."""

    pair: PicturePair
    motion: TwoView
    score: float


def find_starts(state: MapState, excluded: Bools, max_error: float, seed: int) -> Iterator[Start]:
    """Pairs to begin with, the most promising first.

    Args:
        state: the map; its cameras count as they are.
        excluded: (P,), pictures that a map is not begun with.
        max_error: of an inlier, pixels as matched.
        seed: of the random samples.
    """
    graph = state.graph
    pairs = [pair for pair in graph.pairs if not (excluded[pair.first] or excluded[pair.second])]
    pairs = [pair for pair in pairs if len(pair.matches) >= _FEWEST]
    degrees = graph.degrees()
    # A pair amid many neighbours can be grown from; one at the rim can not.
    pairs.sort(key=lambda pair: -len(pair.matches) * np.sqrt(min(degrees[pair.first], degrees[pair.second])))
    for first in range(0, len(pairs), _LOOKED_AT):
        starts = [_start(state, pair, max_error, seed) for pair in pairs[first : first + _LOOKED_AT]]
        yield from sorted((start for start in starts if start is not None), key=lambda start: -start.score)


def motion_between(graph: MatchGraph, state: MapState, pair: PicturePair, max_error: float, seed: int) -> TwoView:
    """The motion of a pair with the cameras as they are now."""
    first, second = pair.matches.T
    scale = 0.5 * (graph.noise[pair.first] + graph.noise[pair.second])
    return estimate_two_view(
        graph.keypoints[pair.first][first],
        graph.keypoints[pair.second][second],
        state.camera(pair.first),
        state.camera(pair.second),
        TwoViewOptions(max_error=max_error * scale, max_samples=_SAMPLES, seed=seed),
    )


def _start(state: MapState, pair: PicturePair, max_error: float, seed: int) -> Start | None:
    motion = motion_between(state.graph, state, pair, max_error, seed)
    if motion.cam1_from_cam0 is None or not motion.verified or not motion.parallax >= _NARROW:
        return None
    plain = motion.degeneracy in (Degeneracy.NONE,)
    score = motion.inlier_count * min(1.0, motion.parallax / _WIDE) * (1.0 if plain else _AMBIGUOUS)
    return Start(pair, motion, float(score))
