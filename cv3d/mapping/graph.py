"""Pictures with their keypoints and verified matches: what poses are found from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.features.matching import MatchOptions, SetMatch
from cv3d.features.matching.extraction import matched_scale
from cv3d.features.refinement.linking import link_matches
from cv3d.features.store import FeatureStore
from cv3d.geometry.two_view import TwoView
from cv3d.media.picture import Picture

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PicturePair:
    """Two pictures that show the same."""

    first: int
    second: int
    matches: Ints
    """(k, 2), verified matches as keypoints of the first and of the second picture."""
    geometry: TwoView | None
    """What verification found; None for pairs that were matched under poses found already."""


@dataclass(frozen=True, eq=False)
class MatchGraph:
    """All pictures, those that could not be read included: then without size and keypoints."""

    pictures: tuple[Picture, ...]
    sizes: tuple[tuple[int, int] | None, ...]
    """Width and height, pixels."""
    keypoints: tuple[Floats, ...]
    """(n, 2) of each picture, pixels."""
    noise: Floats
    """(P,), what a pixel of the picture as it was matched measures in the picture, pixels."""
    pairs: tuple[PicturePair, ...]
    """Verified pairs, ascending."""
    reasons: tuple[str, ...]
    """Why matching left a picture out or alone, (P,); else empty."""

    def __len__(self) -> int:
        return len(self.pictures)

    def without(self, dropped: Bools) -> MatchGraph:
        """The same without some of the pairs, (e,)."""
        kept = tuple(pair for pair, is_dropped in zip(self.pairs, dropped.tolist(), strict=True) if not is_dropped)
        return replace(self, pairs=kept)

    def degrees(self) -> Ints:
        """How many verified pairs each picture is in, (P,)."""
        ends = [end for pair in self.pairs for end in (pair.first, pair.second)]
        return np.bincount(np.array(ends, np.intp), minlength=len(self))


def load_graph(store: Path, matched: SetMatch, pictures: Sequence[Picture], options: MatchOptions) -> MatchGraph:
    """Read what matching left in a feature store.

    Args:
        store: the file.
        matched: what matching said of the same pictures.
        pictures: in its order.
        options: of the matching.

    Raises:
        InputError: the store cannot be read.
    """
    places = {one.image_id: place for place, one in enumerate(matched.pictures) if one.image_id is not None}
    with FeatureStore.open(store, read_only=True) as opened:
        keypoints = []
        for one in matched.pictures:
            found = None if one.image_id is None else opened.keypoints(one.image_id)
            keypoints.append(np.zeros((0, 2)) if found is None else found[:, :2].astype(np.float64))
        pairs = []
        for i, j in matched.edges.tolist():
            ids = matched.pictures[i].image_id, matched.pictures[j].image_id
            if ids[0] is None or ids[1] is None:
                continue
            key = (min(ids[0], ids[1]), max(ids[0], ids[1]))
            geometry, found_matches = opened.two_view(key), opened.matches(key)
            if geometry is not None and found_matches is not None and geometry.verified:
                indices = found_matches.indices[geometry.inliers].astype(np.intp)
                pairs.append(PicturePair(places[key[0]], places[key[1]], indices, geometry))
    sizes = tuple(one.size for one in matched.pictures)
    noise = np.array([1.0 if size is None else matched_scale(size, options) for size in sizes])
    reasons = tuple(one.reason for one in matched.pictures)
    ordered = tuple(sorted(pairs, key=lambda pair: (pair.first, pair.second)))
    return MatchGraph(tuple(pictures), sizes, tuple(keypoints), noise, ordered, reasons)


@dataclass(frozen=True, eq=False)
class TrackTable:
    """Keypoints that show one point, as a flat table ordered by track and then by picture."""

    picture: Ints
    """(N,)."""
    keypoint: Ints
    """(N,), which keypoint of the picture."""
    track: Ints
    """(N,), ascending from 0."""
    starts: Ints
    """(T + 1,), where each track's rows begin."""

    def __len__(self) -> int:
        return len(self.picture)

    @property
    def count(self) -> int:
        """Tracks."""
        return len(self.starts) - 1


def build_tracks(graph: MatchGraph) -> TrackTable:
    """Join verified matches to tracks; none has two keypoints of one picture."""
    links = link_matches(
        [len(points) for points in graph.keypoints],
        [(pair.first, pair.second) for pair in graph.pairs],
        [pair.matches for pair in graph.pairs],
        [float(len(pair.matches)) for pair in graph.pairs],
    )
    rows = np.flatnonzero(links.tracks >= 0)
    pictures = links.pictures()[rows]
    order = np.lexsort((pictures, links.tracks[rows]))
    rows, pictures = rows[order], pictures[order]
    tracks = links.tracks[rows].astype(np.intp)
    starts = np.searchsorted(tracks, np.arange(links.track_count + 1))
    keypoint = rows - links.offsets[pictures]
    return TrackTable(pictures.astype(np.intp), keypoint.astype(np.intp), tracks, starts.astype(np.intp))
