"""Similarities of descriptors, and nearest neighbours among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.features.extractors.base import Features
from cv3d.features.matchers.base import Matches

_NOWHERE = -4.0
"""Added to the similarity (a cosine) of an empty entry: below any two real ones'."""
EMPTY_BELOW = -2.0
"""Similarities below this involve an empty entry."""
_BLOCK = 64
"""How many similarities share a maximum in the first of two steps."""
_STRIP = 256
"""How many entries of the first set are compared with all of the second at once."""


@dataclass(frozen=True)
class Nearest:
    """Of each entry of a first set of features the nearest of a second."""

    best: Tensor
    """(B, K0) int64, the nearest entry of the second set, the first if several are equally near."""
    cosine: Tensor
    """(B, K0) float32, to it; less than :data:`EMPTY_BELOW` where either is empty."""
    second: Tensor | None
    """(B, K0) float32, the cosine to the second nearest, at least -1; None where it was not asked for."""
    is_mutual: Tensor
    """(B, K0) bool, whether no entry of the first set is nearer to that nearest entry; of several equally near the
    first alone, so that it holds for at most one entry for each of the second set."""


Penalty = Callable[[slice], Tensor]
"""For some entries of the first set, by their range, with all of the second what is added to their similarity,
(B, length, K1): 0 for those that may match, :data:`NOT_ALLOWED` or less for the others. An arithmetic mask, since torch
selects by a boolean one five times slower on the CPU."""
NOT_ALLOWED = _NOWHERE


def nearest(
    features0: Features, features1: Features, has_second: bool = False, penalty: Penalty | None = None
) -> Nearest:
    """Nearest neighbours by the cosine between descriptors, in float32.

    The matrix of cosines is never there as a whole: it is made and reduced in strips that stay in the cache. What
    marks the empty entries rides along as two further components of the descriptors. 2048 against 2048 descriptors of
    length 64, on one core: 50 ms as a product and two arg-maxima, 15 ms so.

    Args:
        features0: the first set.
        features1: the second.
        has_second: whether the second nearest are asked for.
        penalty: which pairs of entries count at all; an entry with none is treated as an empty one.
    """
    empty0 = torch.where(features0.mask, 0.0, _NOWHERE)[..., None]
    empty1 = torch.where(features1.mask, 0.0, _NOWHERE)[..., None]
    left = torch.cat((features0.descriptors.float(), empty0, torch.ones_like(empty0)), -1)
    right = torch.cat((features1.descriptors.float(), torch.ones_like(empty1), empty1), -1).transpose(1, 2)
    rows = []
    largest_of_columns: Tensor | None = None
    # One piece of memory for all strips: fresh pages cost as much as what is computed into them.
    buffer = left.new_empty(left.shape[0], min(_STRIP, left.shape[1]), right.shape[2])
    for start in range(0, left.shape[1], _STRIP):
        strip = left[:, start : start + _STRIP]
        similarity = torch.bmm(strip, right, out=buffer[:, : strip.shape[1]])
        if penalty is not None:
            similarity.add_(penalty(slice(start, start + _STRIP)))
        cosine, best = largest_of_rows(similarity)
        rows.append((best, cosine, second_largest(similarity, best) if has_second else cosine))
        top = similarity.amax(1)
        largest_of_columns = top if largest_of_columns is None else torch.maximum(largest_of_columns, top)
    assert largest_of_columns is not None
    best, cosine, second = (torch.cat(parts, 1) for parts in zip(*rows, strict=True))
    count = best.shape[1]
    claims = cosine == largest_of_columns.gather(1, best)
    # Entries are numbered in float32, which every device can reduce by scattering.
    number = torch.arange(count, dtype=torch.float32, device=best.device).expand_as(cosine)
    nobody = torch.full_like(largest_of_columns, count)
    first = nobody.scatter_reduce(1, best, torch.where(claims, number, count), "amin")
    return Nearest(best, cosine, second if has_second else None, claims & (first.gather(1, best) == number))


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
        torch.where(is_match, similarity.clamp(0.0, 1.0), 0.0),
    )


def largest_of_rows(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of each row of (B, M, N), and its column, the first if several are equal.

    In two steps, the maximum of each block of a row and then the place in one block: maxima alone are vector
    operations, while torch finds places one number at a time. 2048 × 2048 on one core: 9 ms become 2.

    Returns:
        (B, M) the values, and (B, M) int64 the columns.
    """
    if similarity.shape[2] <= _BLOCK:
        largest, best = similarity.max(2)
        return largest, best
    first = _best_block(_block_maxima(similarity, 2), similarity.shape[2])
    places = first[..., None] + torch.arange(_BLOCK, device=similarity.device)
    largest, within = similarity.gather(2, places).max(2)
    return largest, first + within


def best_of_columns(similarity: Tensor) -> Tensor:
    """(B, N) int64 the row of the largest of each column of (B, M, N), the first if several are equal.

    In two steps, like :func:`largest_of_rows`. 2048 × 2048 on one core: 40 ms become 2.
    """
    if similarity.shape[1] <= _BLOCK:
        return similarity.argmax(1)
    first = _best_block(_block_maxima(similarity, 1).transpose(1, 2).contiguous(), similarity.shape[1])
    places = first[:, None] + torch.arange(_BLOCK, device=similarity.device)[:, None]
    return first + similarity.gather(1, places).transpose(1, 2).contiguous().argmax(2)


def second_largest(similarity: Tensor, best: Tensor) -> Tensor:
    """(B, K0) the largest of each row of (B, K0, K1) without the entry `best` (B, K0).

    At least -1, as if there were an opposite vector: an only candidate has something to be nearer than.
    """
    columns = similarity.shape[2]
    if columns <= _BLOCK:
        return similarity.scatter(2, best[..., None], -1.0).amax(2).clamp(min=-1.0)
    # Of the block that holds the best, what else it holds; of every other, its maximum.
    block = torch.div(best, _BLOCK, rounding_mode="floor")[..., None]
    places = block * _BLOCK + torch.arange(_BLOCK, device=similarity.device)
    is_other = (places < columns) & (places != best[..., None])
    others = torch.where(is_other, similarity.gather(2, places.clamp(max=columns - 1)), -1.0).amax(2, keepdim=True)
    return _block_maxima(similarity, 2).scatter(2, block, others).amax(2).clamp(min=-1.0)


def _block_maxima(similarity: Tensor, axis: int) -> Tensor:
    """The maxima of successive blocks of an axis of (B, M, N), the last of which may be shorter."""
    length = similarity.shape[axis]
    whole = length - length % _BLOCK
    maxima = torch.unflatten(similarity.narrow(axis, 0, whole), axis, (-1, _BLOCK)).amax(axis + 1)
    if whole == length:
        return maxima
    return torch.cat((maxima, similarity.narrow(axis, whole, length - whole).amax(axis, keepdim=True)), axis)


def _best_block(maxima: Tensor, length: int) -> Tensor:
    """(B, M) where the block of the largest of (B, M, blocks) starts, or as late as a whole block fits in."""
    return (maxima.argmax(2) * _BLOCK).clamp(max=length - _BLOCK)
