"""The keypoints of a whole set, refined so that a keypoint stays one keypoint in all its pairs; no poses needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from cv3d.compute import Compute
from cv3d.features.refinement.course import Course
from cv3d.features.refinement.linking import Links, link_matches
from cv3d.features.refinement.observations import PictureCache, Pictures
from cv3d.features.refinement.options import SetOptions
from cv3d.features.refinement.results import Bools, Floats
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.local_affinity import two_view_affinities
from cv3d.geometry.two_view import TwoView
from cv3d.progress import SILENT, Progress

Ints = NDArray[np.int64]

_STEP = 1.0
"""What a step to another picture costs in comparison to a stretch by e: fewer steps are better."""
_NOWHERE = -9999
"""How SciPy marks a node without predecessor."""


@dataclass(frozen=True, eq=False)
class VerifiedPair:
    """A pair of pictures with its inlier matches."""

    first: int
    """The first picture."""
    second: int
    """The second picture."""
    matches: Ints
    """(k, 2), inliers, as indices of keypoints of the first and of the second picture."""
    geometry: TwoView
    """What relates the pictures."""


@dataclass(frozen=True, eq=False)
class SetRefinement:
    """Refined keypoints of a set."""

    keypoints: tuple[Floats, ...]
    """(n, 2) for each picture, pixels, in the order handed in; as given where not refined."""
    covariances: tuple[Floats, ...]
    """(n, 2, 2) for each picture, pixels squared; NaN where not refined."""
    masks: tuple[Bools, ...]
    """(n,) for each picture: whether the keypoint was aligned, or is what others of its track are aligned to."""
    references: tuple[Bools, ...]
    """(n,) for each picture: whether the keypoint is the reference of its track, and so has kept its place."""
    links: Links
    """The tracks."""

    def agrees(self, first: int, second: int, matches: Ints) -> Bools:
        """Which matches (k, 2) of two pictures join refined keypoints of one track, (k,)."""
        offsets, tracks = self.links.offsets, self.links.tracks
        one, two = tracks[offsets[first] + matches[:, 0]], tracks[offsets[second] + matches[:, 1]]
        refined = self.masks[first][matches[:, 0]] & self.masks[second][matches[:, 1]]
        result: Bools = refined & (one == two) & (one >= 0)
        return result


def refine_set_keypoints(
    pictures: Pictures,
    keypoints: Sequence[Floats],
    pairs: Sequence[VerifiedPair],
    compute: Compute,
    cameras: Sequence[Camera | None] | None = None,
    options: SetOptions | None = None,
    progress: Progress = SILENT,
) -> SetRefinement:
    """Align the keypoints of every track to one of them.

    Verified matches become tracks. In each the observation that the others' views differ least from is the reference
    and stays where it is. The local affinity to an observation is that of the verified pair, or a chain of such. What
    does not align is tried again from observations of the track that did.

    Args:
        pictures: gives a picture by its number.
        keypoints: (n, 2) of each picture, pixels.
        pairs: the verified pairs, in any order.
        compute: the device of the alignment.
        cameras: of each picture, as they were known when the pairs were verified.
        options: patches, what is accepted, and memory.
        progress: is told how far it is, in observations.

    Raises:
        InputError: a picture is not grey, or of another type.
        ValueError: an essential matrix comes without cameras, or a pair without a model.
    """
    options = options or SetOptions()
    links = link_matches(
        [len(points) for points in keypoints],
        [(pair.first, pair.second) for pair in pairs],
        [pair.matches for pair in pairs],
        [len(pair.matches) for pair in pairs],
    )
    affinities = [_affinities(pair, keypoints, cameras) for pair in pairs]
    places = np.concatenate([np.zeros((0, 2)), *(np.asarray(points, dtype=np.float64) for points in keypoints)])
    graph = _Graph(links, np.concatenate([np.zeros((0, 2, 2)), *affinities])[links.kept])
    cache = PictureCache(pictures, compute, options.max_pixels)
    state = Course(places, links.pictures(), graph.references())

    rows = np.flatnonzero((links.tracks >= 0) & ~state.is_reference)
    origins, chained = graph.chains(state.is_reference)
    rows = rows[origins[rows] >= 0]
    state.align(rows, origins[rows], chained[rows], cache, compute, options.alignment, progress)
    for _ in range(options.rounds - 1):
        rows, sources, warps = graph.retries(state.mask, state.tried, links.tracks)
        if not len(rows):
            break
        state.align(rows, sources, warps, cache, compute, options.alignment, progress)
    places, covariances, mask, held = state.result()
    cuts = links.offsets[1:-1]
    return SetRefinement(
        tuple(np.split(places, cuts)),
        tuple(np.split(covariances, cuts)),
        tuple(np.split(mask, cuts)),
        tuple(np.split(held, cuts)),
        links,
    )


def _affinities(pair: VerifiedPair, keypoints: Sequence[Floats], cameras: Sequence[Camera | None] | None) -> Floats:
    if not len(pair.matches):
        return np.zeros((0, 2, 2))
    one, two = (None, None) if cameras is None else (cameras[pair.first], cameras[pair.second])
    first = np.asarray(keypoints[pair.first], dtype=np.float64)[pair.matches[:, 0]]
    second = np.asarray(keypoints[pair.second], dtype=np.float64)[pair.matches[:, 1]]
    return two_view_affinities(pair.geometry, first, second, one, two)


class _Graph:
    """Matches as edges in both directions, with their affinities."""

    def __init__(self, links: Links, affinities: Floats) -> None:
        good: Bools = np.asarray(np.isfinite(affinities).all(axis=(1, 2)))
        good &= np.abs(np.linalg.det(np.where(good[:, None, None], affinities, np.eye(2)))) > 1e-6
        edges, forward = links.edges[good], affinities[good]
        self.count = int(links.offsets[-1])
        self.tracks = links.tracks
        self.start = np.concatenate([edges[:, 0], edges[:, 1]])
        self.end = np.concatenate([edges[:, 1], edges[:, 0]])
        self.affinities = np.concatenate([forward, np.linalg.inv(forward)])
        singular = np.linalg.svd(self.affinities, compute_uv=False)
        self.distortion = np.abs(np.log(singular)).sum(axis=1)
        order = np.argsort(self.start * (self.count + 1) + self.end, kind="stable")
        for name in ("start", "end", "affinities", "distortion"):
            setattr(self, name, getattr(self, name)[order])
        self._keys = self.start * (self.count + 1) + self.end

    def references(self) -> Bools:
        """(N,), for each track the keypoint that most others are near to, by how their views differ."""
        central = np.bincount(self.start, np.exp(-self.distortion), self.count)
        order = np.lexsort((-central, self.tracks))
        order = order[self.tracks[order] >= 0]
        first = np.ones(len(order), dtype=bool)
        first[1:] = np.diff(self.tracks[order]) != 0
        chosen = np.zeros(self.count, dtype=bool)
        chosen[order[first]] = True
        return chosen

    def chains(self, is_reference: Bools) -> tuple[Ints, Floats]:
        """The reference (N,) of each keypoint, -1 for none, and the affinity (N, 2, 2) from there along matches."""
        root = self.count
        sources = np.flatnonzero(is_reference)
        graph = coo_array(
            (
                np.concatenate([_STEP + self.distortion, np.full(len(sources), _STEP)]),
                (
                    np.concatenate([self.start, np.full(len(sources), root)]),
                    np.concatenate([self.end, sources]),
                ),
            ),
            shape=(root + 1, root + 1),
        )
        _, before = dijkstra(graph.tocsr(), indices=root, return_predecessors=True)
        before = before[:root].astype(np.int64)
        origins = np.where(is_reference, np.arange(root), -1)
        affinities = np.tile(np.eye(2), (root, 1, 1))
        open_rows = np.flatnonzero((before != _NOWHERE) & (before != root))
        while len(open_rows):
            ready = origins[before[open_rows]] >= 0
            rows, open_rows = open_rows[ready], open_rows[~ready]
            edge = np.searchsorted(self._keys, before[rows] * (root + 1) + rows)
            origins[rows] = origins[before[rows]]
            affinities[rows] = self.affinities[edge] @ affinities[before[rows]]
        return origins, affinities

    def retries(self, mask: Bools, tried: set[tuple[int, int]], tracks: Ints) -> tuple[Ints, Ints, Floats]:
        """Keypoints still open, an aligned neighbour of each that was not tried, and the affinity from it."""
        usable = np.flatnonzero(mask[self.start] & ~mask[self.end])
        usable = usable[np.argsort(self.distortion[usable], kind="stable")]
        chosen: dict[int, int] = {}
        for edge, end, start in zip(
            usable.tolist(), self.end[usable].tolist(), self.start[usable].tolist(), strict=True
        ):
            if end not in chosen and (start, end) not in tried:
                chosen[end] = edge
        edges = np.array(list(chosen.values()), dtype=np.int64)
        return self.end[edges], self.start[edges], self.affinities[edges]
