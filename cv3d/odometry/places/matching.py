"""Rows of one description that are those of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.features.matchers.nearest import best_of_columns, largest_of_rows, mutual

Rows = NDArray[np.intp]
_OPPOSITE = -2.0
"""Less than any cosine."""
_SAME_PLACE = 2.0
"""Side of the squares, in pixels of the network's picture, of which each counts once."""


@dataclass(frozen=True, eq=False)
class RowMatches:
    """Pairs of rows, m of them, each row at most once."""

    query_rows: Rows
    """(m,)."""
    place_rows: Rows
    """(m,)."""
    cosines: NDArray[np.float32]
    """(m,)."""

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.query_rows)

    def __getitem__(self, chosen: NDArray[np.bool_] | Rows) -> RowMatches:
        """Some of the pairs."""
        return RowMatches(self.query_rows[chosen], self.place_rows[chosen], self.cosines[chosen])


def match_rows(
    query: NDArray[np.floating],
    place: NDArray[np.floating],
    min_cosine: float,
    allowed: NDArray[np.bool_] | None = None,
) -> RowMatches:
    """Rows that are each other's nearest.

    Args:
        query: descriptors of unit length, (n, C).
        place: descriptors of unit length, (m, C).
        min_cosine: the cosine to exceed.
        allowed: which pairs may match, (n, m); None: all.
    """
    if not len(query) or not len(place):
        nothing = np.zeros(0, np.intp)
        return RowMatches(nothing, nothing, np.zeros(0, np.float32))
    left = torch.from_numpy(np.ascontiguousarray(query, dtype=np.float32))
    right = torch.from_numpy(np.ascontiguousarray(place, dtype=np.float32))
    similarity = (left @ right.T)[None]
    if allowed is not None:
        similarity = torch.where(torch.from_numpy(allowed), similarity, _OPPOSITE)
    cosine, best = largest_of_rows(similarity)
    is_match = (mutual(best, best_of_columns(similarity)) & (cosine > min_cosine))[0].numpy()
    query_rows = np.flatnonzero(is_match)
    return RowMatches(query_rows, best[0].numpy()[query_rows].astype(np.intp), cosine[0].numpy()[query_rows])


def once_each(matches: RowMatches, pixels: NDArray[np.floating], pixel_size: float) -> RowMatches:
    """The matches without those that say the same twice.

    A mapped point that is also a keypoint has two rows; both agree with a pose or neither does, and counted twice they
    would pass for more evidence than there is.

    Args:
        matches: m of them.
        pixels: where the query's rows are, (n, 2).
        pixel_size: pixels that one of the network's picture is.
    """
    squares = np.floor(pixels[matches.query_rows] / (_SAME_PLACE * pixel_size)).astype(np.int64)
    best_first = np.argsort(-matches.cosines, kind="stable")
    _, first = np.unique(squares[best_first], axis=0, return_index=True)
    return matches[np.sort(best_first[first])]
