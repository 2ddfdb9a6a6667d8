"""Mutual nearest neighbours: the cheapest matcher, and often enough."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cv3d.features.extractors.base import Features
from cv3d.features.matchers.base import Matches, check_pairs
from cv3d.features.matchers.nearest import EMPTY_BELOW, as_matches, nearest


@dataclass(frozen=True)
class MutualOptions:
    """What counts as a match."""

    min_cosine: float = -1.0
    """The cosine between two descriptors to exceed. XFeat's authors use 0.82 where false matches are costly."""


class MutualNearest:
    """Matches two entries that are each other's nearest neighbour."""

    name = "mutual"

    def __init__(self, options: MutualOptions | None = None) -> None:
        self.options = options or MutualOptions()

    @torch.no_grad()
    def match(self, features0: Features, features1: Features) -> Matches:
        """Matches of B pairs; the score of a match is its cosine.

        Raises:
            InputError: the batches differ in size, or descriptors in length.
        """
        check_pairs(features0, features1)
        found = nearest(features0, features1)
        is_match = found.is_mutual & (found.cosine > max(self.options.min_cosine, EMPTY_BELOW))
        return as_matches(found.best, found.cosine, is_match)
