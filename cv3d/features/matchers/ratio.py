"""The ratio test (Lowe, "Distinctive image features from scale-invariant keypoints", 2004), section 7.1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.errors import InputError
from cv3d.features.extractors.base import Features
from cv3d.features.matchers.base import Matches, check_pairs
from cv3d.features.matchers.nearest import EMPTY_BELOW, as_matches, nearest


@dataclass(frozen=True)
class RatioOptions:
    """What counts as a match."""

    max_ratio: float = 0.8
    """How far the nearest descriptor may be, as a share of the distance of the second nearest."""

    def __post_init__(self) -> None:
        if not 0.0 < self.max_ratio <= 1.0:
            raise InputError(f"a ratio of distances has to lie in (0, 1], not {self.max_ratio}")


class RatioTest:
    """Matches mutual nearest neighbours where the nearest is clearly nearer than the second nearest."""

    name = "ratio"

    def __init__(self, options: RatioOptions | None = None) -> None:
        self.options = options or RatioOptions()

    @torch.no_grad()
    def match(self, features0: Features, features1: Features) -> Matches:
        """Matches of B pairs; the score of a match is its cosine.

        Raises:
            InputError: the batches differ in size, or descriptors in length.
        """
        check_pairs(features0, features1)
        found = nearest(features0, features1, has_second=True)
        assert found.second is not None
        is_match = squared_distance(found.cosine) < self.options.max_ratio**2 * squared_distance(found.second)
        is_match &= found.is_mutual & (found.cosine > EMPTY_BELOW)
        return as_matches(found.best, found.cosine, is_match)


def squared_distance(cosine: Tensor) -> Tensor:
    """Between two vectors of unit length."""
    return (2.0 - 2.0 * cosine).clamp(min=0.0)
