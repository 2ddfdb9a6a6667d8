"""From pairwise matches to tracks: which keypoints of a set show one point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Links:
    """Matches of all pairs of a set, and the tracks that they make."""

    offsets: Ints
    """(P + 1,), where each picture's keypoints start in the list of all."""
    edges: Ints
    """(e, 2), matching keypoints, numbered in the list of all."""
    tracks: Ints
    """(N,), the track of each keypoint; -1 for keypoints without one. No track has two keypoints of one picture."""
    kept: NDArray[np.bool_]
    """Of all matches handed in, one pair after the other, those that `edges` has; the others would have joined two
    keypoints of one picture."""

    @property
    def track_count(self) -> int:
        """The number of tracks."""
        return int(self.tracks.max(initial=-1)) + 1

    def pictures(self) -> Ints:
        """(N,), the picture of each keypoint."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def link_matches(
    counts: Sequence[int], pairs: Sequence[tuple[int, int]], matches: Sequence[Ints], support: Sequence[float]
) -> Links:
    """Join matches to tracks.

    Where matches would join two keypoints of one picture, the group of keypoints is joined anew, the matches of the
    best supported pairs first, and whatever would join two of one picture is left out.

    Args:
        counts: how many keypoints each picture has.
        pairs: the pictures of each pair.
        matches: (k, 2) for each pair, verified matches as indices of keypoints.
        support: of each pair, the larger the better, such as its number of inliers.
    """
    offsets = np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))]).astype(np.int64)
    total = int(offsets[-1])
    numbered = [np.asarray(m, dtype=np.int64) + offsets[list(pair)] for pair, m in zip(pairs, matches, strict=True)]
    edges = np.concatenate(numbered) if numbered else np.zeros((0, 2), dtype=np.int64)
    weight = np.repeat(np.asarray(support, dtype=np.float64), [len(m) for m in numbered])
    picture = np.repeat(np.arange(len(counts)), counts)
    groups = _components(edges, total)
    torn = _with_repeated_pictures(groups, picture)
    is_torn = torn[groups[edges[:, 0]]] if len(edges) else np.zeros(0, dtype=bool)
    kept = np.ones(len(edges), dtype=bool)
    order = np.flatnonzero(is_torn)
    order = order[np.argsort(-weight[order], kind="stable")]
    kept[order] = _joinable(edges[order], picture)
    edges = edges[kept]
    return Links(offsets, edges, _numbered(_components(edges, total)), kept)


def _components(edges: Ints, total: int) -> Ints:
    graph = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(total, total))
    labels: Ints = connected_components(graph.tocsr(), directed=False)[1].astype(np.int64)
    return labels


def _with_repeated_pictures(groups: Ints, picture: Ints) -> NDArray[np.bool_]:
    """For each group, whether two of its keypoints are of one picture."""
    keys = np.sort(groups * (int(picture.max(initial=0)) + 1) + picture)
    torn = np.zeros(int(groups.max(initial=-1)) + 1, dtype=bool)
    torn[keys[1:][keys[1:] == keys[:-1]] // (int(picture.max(initial=0)) + 1)] = True
    return torn


def _joinable(edges: Ints, picture: Ints) -> NDArray[np.bool_]:
    """Which edges can be kept, in their order, without joining two keypoints of one picture."""
    parent: dict[int, int] = {}
    held: dict[int, set[int]] = {}

    def root(node: int) -> int:
        while (above := parent.setdefault(node, node)) != node:
            parent[node] = parent.setdefault(above, above)
            node = parent[node]
        return node

    kept = np.zeros(len(edges), dtype=bool)
    for row, (first, second) in enumerate(edges.tolist()):
        a, b = root(first), root(second)
        of_a, of_b = held.setdefault(a, {int(picture[a])}), held.setdefault(b, {int(picture[b])})
        if a == b:
            kept[row] = True
        elif of_a.isdisjoint(of_b):
            if len(of_a) < len(of_b):
                a, b, of_a, of_b = b, a, of_b, of_a
            parent[b] = a
            of_a |= of_b
            del held[b]
            kept[row] = True
    return kept


def _numbered(groups: Ints) -> Ints:
    """Groups of two and more, numbered from 0 in the order of their first member; -1 for the others."""
    sizes = np.bincount(groups, minlength=1)
    _, first = np.unique(groups, return_index=True)
    order = np.sort(first[sizes[groups[first]] > 1])
    number = np.full(len(sizes), -1, dtype=np.int64)
    number[groups[order]] = np.arange(len(order))
    return number[groups]
