"""Similarities of descriptors, and nearest neighbours among them."""

from __future__ import annotations

import torch
from torch import Tensor

from cv3d.features.extractors.base import Features
from cv3d.features.matchers.base import Matches

_NOWHERE = -4.0
"""Added to the similarity (a cosine) of an empty entry: below any two real ones'."""
EMPTY_BELOW = -2.0
"""Similarities below this involve an empty entry."""


def similarities(features0: Features, features1: Features) -> Tensor:
    """(B, K0, K1) cosines between descriptors; less than :data:`EMPTY_BELOW` where either entry is empty.

    What marks the empty entries rides along as two further components of the descriptors, so the large matrix is
    written once.
    """
    d0, d1 = features0.descriptors, features1.descriptors
    empty0 = torch.where(features0.mask, 0.0, _NOWHERE).to(d0.dtype)[..., None]
    empty1 = torch.where(features1.mask, 0.0, _NOWHERE).to(d1.dtype)[..., None]
    one0, one1 = torch.ones_like(empty0), torch.ones_like(empty1)
    left = torch.cat((d0, empty0, one0), -1)
    right = torch.cat((d1, one1, empty1), -1)
    return torch.bmm(left, right.transpose(1, 2))


def mutual(best0: Tensor, best1: Tensor) -> Tensor:
    """(B, K0) bool: where the nearest neighbour of the nearest neighbour is the entry itself.

    Args:
        best0: (B, K0) for each entry of the first set the nearest of the second.
        best1: (B, K1) the other way.
    """
    here = torch.arange(best0.shape[1], device=best0.device)
    return best1.gather(1, best0) == here


def as_matches(best: Tensor, similarity: Tensor, is_match: Tensor) -> Matches:
    """Matches of the entries where `is_match`; the score is the cosine, negative ones as 0."""
    return Matches(
        torch.where(is_match, best, -1),
        torch.where(is_match, similarity.float().clamp(0.0, 1.0), 0.0),
    )


def second_largest(similarity: Tensor, best: Tensor) -> Tensor:
    """(B, K0) the largest of each row of (B, K0, K1) without the entry `best` (B, K0).

    At least -1, as if there were an opposite vector: an only candidate has something to be nearer than.
    """
    return similarity.scatter(2, best[..., None], -1.0).amax(2).clamp(min=-1.0)
