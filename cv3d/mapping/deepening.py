"""More and longer tracks: matching again under the geometry that was found, across pairs that were not matched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cv3d.compute import Compute
from cv3d.features.matching.guided import PosedPair, guided_matches
from cv3d.geometry.pixel_rays import PixelRays, pixel_rays
from cv3d.mapping.graph import MatchGraph, PicturePair, build_tracks
from cv3d.mapping.state import MapState
from cv3d.progress import SILENT, Progress

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

STAGE = "match again"
_MOST_JUDGED = 400
"""Points of a picture by which it is judged which others show the same."""
_WIDEST = np.cos(np.radians(50.0))
"""Angle between two views of a point beyond which its descriptors are not compared."""
_SCALES = 2.5
"""Ratio of distances beyond which they are not, either."""
_NEARBY = 40
"""Pictures around one that are looked at for common points."""
_KEPT = 128
"""Pictures whose rays are kept for their next pair: a megabyte for 15,000 keypoints."""
_FEWEST = 15
"""Points in common, seen or expected, and matches found, of a pair."""


@dataclass(frozen=True)
class DeepenOptions:
    """How matches are looked for again."""

    max_error: float = 3.0
    """Largest distance of a match from the geometry, pixels as matched."""
    neighbours: int = 8
    """Pictures that each is matched with again: those with the most points in common."""
    strangers: int = 4
    """Further ones that it has no match with although they should show the same."""


def deepen(
    state: MapState,
    descriptors: Callable[[int], NDArray[np.generic]],
    compute: Compute,
    options: DeepenOptions | None = None,
    progress: Progress = SILENT,
) -> MapState:
    """Match the placed pictures again, near the epipolar curves, and make tracks anew.

    Args:
        state: a finished map; it stays as it is.
        descriptors: gives the descriptors of a picture's keypoints by its number, (n, D).
        compute: where they are compared.
        options: which pairs, and how near.
        progress: told of the pairs.

    Returns:
        A map over the new tracks with the same poses and cameras, its points made anew.
    """
    options, graph = options or DeepenOptions(), state.graph
    chosen = _pairs(state, options)
    rays = lru_cache(_KEPT)(lambda picture: pixel_rays(state.camera(picture), graph.keypoints[picture]))
    before = {(pair.first, pair.second): pair for pair in graph.pairs}
    progress.start(STAGE, len(chosen))
    for first, second in chosen:
        found = _matched(state, before.get((first, second)), first, second, descriptors, rays, compute, options)
        if found is not None:
            before[first, second] = found
        progress.advance(STAGE)
    progress.finish(STAGE)
    pairs = tuple(before[key] for key in sorted(before))
    return _carried_over(state, replace(graph, pairs=pairs))


def _carried_over(state: MapState, graph: MatchGraph) -> MapState:
    """A map with the same poses over the tracks of another graph."""
    result = MapState(graph, build_tracks(graph), list(state.cameras), state.camera_of)
    result.tolerances = state.tolerances
    result.poses, result.placed = state.poses.copy(), state.placed.copy()
    result.triangulate()
    result.reconsider()
    return result


def _matched(
    state: MapState,
    pair: PicturePair | None,
    first: int,
    second: int,
    descriptors: Callable[[int], NDArray[np.generic]],
    rays: Callable[[int], PixelRays],
    compute: Compute,
    options: DeepenOptions,
) -> PicturePair | None:
    """A pair with the matches found under the geometry, and those of before that agree with it."""
    graph = state.graph
    second_from_first = state.relative_pose(first, second)
    geometry = PosedPair(state.camera(first), state.camera(second), second_from_first, rays(first), rays(second))
    limit = options.max_error * max(graph.noise[first], graph.noise[second])
    found = guided_matches(
        descriptors(first),
        graph.keypoints[first],
        descriptors(second),
        graph.keypoints[second],
        geometry,
        limit,
        compute=compute,
    ).astype(np.intp)
    if pair is not None:
        old = pair.matches[state.agreeing_matches(graph, pair, (limit, limit))]
        free = ~(np.isin(old[:, 0], found[:, 0]) | np.isin(old[:, 1], found[:, 1]))
        found = np.concatenate([found, old[free]])
    if len(found) < _FEWEST:
        return None
    return PicturePair(first, second, found[np.argsort(found[:, 0])], None if pair is None else pair.geometry)


def _pairs(state: MapState, options: DeepenOptions) -> list[tuple[int, int]]:
    """Pairs worth another look, ascending."""
    pictures = np.flatnonzero(state.placed)
    shared, expected = shared_points(state, pictures), _expected(state, pictures)
    chosen: set[tuple[int, int]] = set()
    for place in range(len(pictures)):
        near = np.argsort(-shared[place], kind="stable")[: options.neighbours]
        strange = np.where(shared[place] < _FEWEST, expected[place], 0)
        far = np.argsort(-strange, kind="stable")[: options.strangers]
        for other in (*near[shared[place, near] >= _FEWEST], *far[strange[far] >= _FEWEST]):
            one, two = sorted((int(pictures[place]), int(pictures[other])))
            chosen.add((one, two))
    return sorted(chosen)


def shared_points(state: MapState, pictures: Ints) -> Ints:
    """How many points each two of some pictures see, (p, p); 0 on the diagonal."""
    rows = np.flatnonzero(state.active)
    size = (len(state.graph), state.table.count)
    seen = csr_array((np.ones(len(rows), np.int32), (state.table.picture[rows], state.table.track[rows])), shape=size)
    chosen = seen[pictures]
    shared: Ints = np.asarray((chosen @ chosen.T).toarray(), np.intp)
    np.fill_diagonal(shared, 0)
    return shared


def _expected(state: MapState, pictures: Ints) -> Ints:
    """How many of one picture's points, a sample, another one should show from a similar side, (p, p)."""
    table, centres = state.table, state.centres()
    count = len(pictures)
    expected = np.zeros((count, count), np.intp)
    axes = state.poses[pictures, 2, :3]
    for place, picture in enumerate(pictures.tolist()):
        tracks = table.track[state.active & (table.picture == picture)]
        tracks = tracks[:: max(1, len(tracks) // _MOST_JUDGED)]
        offsets = state.points[tracks] - centres[picture]
        distance = np.linalg.norm(offsets, axis=1)
        for other in _nearby(centres[pictures], axes, place):
            pose, camera = state.poses[pictures[other]], state.camera(int(pictures[other]))
            away = state.points[tracks] - centres[pictures[other]]
            far = np.linalg.norm(away, axis=1)
            alike: Bools = np.asarray((offsets * away).sum(axis=1) >= _WIDEST * distance * far)
            near = (far < _SCALES * distance) & (distance < _SCALES * far)
            pixels = camera.project(state.points[tracks] @ pose[:3, :3].T + pose[:3, 3])
            inside = ((pixels >= 0.0) & (pixels < [camera.width, camera.height])).all(axis=1)
            expected[place, other] = int((alike & near & inside).sum())
    return np.minimum(expected, expected.T)


def _nearby(centres: Floats, axes: Floats, place: int) -> list[int]:
    """The nearest pictures that look the same way as one of them, more or less."""
    distances = np.linalg.norm(centres - centres[place], axis=1)
    distances[(axes @ axes[place] < _WIDEST) | (np.arange(len(centres)) == place)] = np.inf
    nearest = np.argsort(distances, kind="stable")[:_NEARBY]
    found: list[int] = nearest[np.isfinite(distances[nearest])].tolist()
    return found
