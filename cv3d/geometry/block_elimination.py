"""In which order the blocks of a sparse symmetric matrix are eliminated, and which fronts that makes.

The multifrontal method (Duff and Reid 1983, "The multifrontal solution of indefinite sparse symmetric linear
equations") eliminates groups of unknowns in small dense matrices, the fronts. What these are depends on the pattern
alone, so it is found once for all iterations of a solver.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

Indices = NDArray[np.int64]

_MERGED_BELOW = ((8, 0.8), (24, 0.4), (64, 0.2))
"""Unknown blocks of a merged front, and the share of zeros up to which the merging is worth it; see Davis 2006."""
_MERGED_ABOVE = 0.1


@dataclass(frozen=True, eq=False)
class Front:
    """A group of unknowns that is eliminated at once."""

    pivots: Indices
    """The unknowns, (p,), in the order of elimination."""
    border: Indices
    """Later unknowns that they meet, (b,), in the order of elimination."""
    parent: int
    """The front that takes up what remains; -1 for none."""
    into_parent: Indices
    """Where the border is among the parent's pivots and border, (b,)."""
    children: tuple[int, ...]
    """The fronts whose parent this is."""


@dataclass(frozen=True, eq=False)
class Elimination:
    """The fronts of a matrix of blocks."""

    count: int
    """Unknown blocks."""
    fronts: tuple[Front, ...]
    """Children before parents."""
    front_of: Indices
    """Which front eliminates each unknown, (n,)."""
    place_of: Indices
    """Where it is among its pivots, (n,)."""
    rank: Indices
    """When each unknown is eliminated, (n,)."""


def eliminate(count: int, rows: Indices, cols: Indices) -> Elimination:
    """The elimination of a symmetric matrix of `count` by `count` blocks.

    Args:
        count: unknown blocks.
        rows: first index of each block that is not on the diagonal, (m,), either triangle, repeated ones too.
        cols: second index, (m,).
    """
    order = _least_degree_order(count, rows, cols)
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    columns, parents = _structure(count, rank[rows], rank[cols])
    pivots, borders, heads = _merged(columns, parents)
    return _assembled(count, order, pivots, borders, heads)


def _least_degree_order(count: int, rows: Indices, cols: Indices) -> Indices:
    """An order with little fill: SuperLU's minimum degree on a matrix of this pattern (Liu 1985)."""
    if count < 3:
        return np.arange(count)
    ones = np.ones(len(rows))
    pattern = coo_matrix((np.r_[ones, ones], (np.r_[rows, cols], np.r_[cols, rows])), shape=(count, count)).tocsc()
    pattern.data[:] = -1.0
    degree = -np.asarray(pattern.sum(axis=0)).ravel()
    laplacian = pattern + coo_matrix((degree + 1.0, (np.arange(count), np.arange(count))), shape=(count, count))
    factor = splu(laplacian.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.argsort(factor.perm_c).astype(np.int64)


def _structure(count: int, rows: Indices, cols: Indices) -> tuple[list[Indices], list[int]]:
    """For each unknown, by rank, those of higher rank that it meets when it is eliminated; and the first of them."""
    low, high = np.minimum(rows, cols), np.maximum(rows, cols)
    apart = low != high
    low, high = low[apart], high[apart]
    by_low = np.argsort(low, kind="stable")
    starts = np.searchsorted(low[by_low], np.arange(count + 1))
    high = high[by_low]
    met: list[set[int]] = [set(high[starts[k] : starts[k + 1]].tolist()) for k in range(count)]
    columns: list[Indices] = []
    parents: list[int] = []
    for k in range(count):
        mine = met[k]
        parent = min(mine, default=-1)
        columns.append(np.array(sorted(mine), dtype=np.int64))
        parents.append(parent)
        if parent >= 0:
            met[parent].update(mine)
            met[parent].discard(parent)
        met[k] = set()
    return columns, parents


def _merged(columns: list[Indices], parents: list[int]) -> tuple[list[list[int]], list[Indices], list[int]]:
    """Fronts made of single unknowns by merging children into parents where that makes few zeros.

    Returns:
        Pivots of each front and its border, by rank, and the front's own parent; fronts that were merged away are
        empty.
    """
    count = len(columns)
    pivots = [[k] for k in range(count)]
    zeros = [0] * count
    merged_into = list(range(count))

    def find(k: int) -> int:
        while merged_into[k] != k:
            merged_into[k] = merged_into[merged_into[k]]
            k = merged_into[k]
        return k

    children: list[list[int]] = [[] for _ in range(count)]
    for k, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(k)
    for k in range(count):
        # The child with the largest border fits best.
        for child in sorted(children[k], key=lambda c: -len(columns[c])):
            own, other = len(pivots[k]), len(pivots[child])
            total = own + other
            size = total + len(columns[k])
            wasted = zeros[k] + zeros[child] + other * (own + len(columns[k]) - len(columns[child]))
            stored = total * size - total * (total - 1) // 2
            allowed = next((share for most, share in _MERGED_BELOW if total <= most), _MERGED_ABOVE)
            if wasted <= allowed * stored:
                pivots[k] = pivots[child] + pivots[k]
                pivots[child] = []
                zeros[k] = wasted
                merged_into[child] = k
    heads = [find(parent) if parent >= 0 else -1 for parent in parents]
    return pivots, columns, heads


def _assembled(
    count: int, order: Indices, pivots: list[list[int]], borders: list[Indices], heads: list[int]
) -> Elimination:
    """The fronts, numbered children before parents, with unknowns by their own numbers."""
    kept = [k for k in range(count) if pivots[k]]
    number = {k: position for position, k in enumerate(kept)}
    front_of, place_of = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    members = {}
    children: list[list[int]] = [[] for _ in kept]
    for k in kept:
        own = np.array(sorted(pivots[k]), dtype=np.int64)
        members[k] = np.concatenate([own, borders[k]])
        front_of[order[own]] = number[k]
        place_of[order[own]] = np.arange(len(own))
        if heads[k] >= 0:
            children[number[heads[k]]].append(number[k])
    fronts = []
    for k in kept:
        head = heads[k]
        into = np.searchsorted(members[head] if head >= 0 else borders[k], borders[k]).astype(np.int64)
        parent = number[head] if head >= 0 else -1
        mine = tuple(children[number[k]])
        fronts.append(Front(order[members[k][: len(pivots[k])]], order[borders[k]], parent, into, mine))
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    return Elimination(count, tuple(fronts), front_of, place_of, rank)
