"""Cholesky factors of large sparse matrices of small square blocks, as pose graphs have them.

They solve, and give the blocks of the inverse on the diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk, dtrsm
from scipy.linalg.lapack import dpotrf, dpotri

from cv3d.errors import EstimationError
from cv3d.geometry.block_elimination import Elimination, Front, Indices, eliminate

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Assembly:
    """Where the blocks of a matrix go in a front, and where its remainder goes in the parent's."""

    source: Indices
    """Which of the blocks, (k,)."""
    row: Indices
    """Block row in the front, (k,)."""
    col: Indices
    """Block column, (k,)."""
    spans: tuple[tuple[int, int, int], ...]
    """Stretches of the border that stay together in the parent: first block there, first and last but one here."""


class BlockPattern:
    """The pattern of a symmetric positive definite matrix of blocks, analysed once and factored often."""

    def __init__(self, count: int, size: int, rows: Sequence[int] | Indices, cols: Sequence[int] | Indices) -> None:
        """Analyse a pattern.

        Args:
            count: block rows, n.
            size: rows of a block, d.
            rows: first index of each block off the diagonal, (m,), of either triangle; a place may be there repeatedly.
            cols: second index, (m,).
        """
        self.count, self.size = count, size
        rows, cols = np.asarray(rows, dtype=np.int64), np.asarray(cols, dtype=np.int64)
        if (rows == cols).any():
            raise ValueError("blocks on the diagonal are given apart from the others")
        low, high = np.minimum(rows, cols), np.maximum(rows, cols)
        places, self._place = np.unique(low * count + high, return_inverse=True)
        low, high = places // count, places % count
        self.elimination: Elimination = eliminate(count, low, high)
        rank = self.elimination.rank
        low_is_late = rank[low] > rank[high]
        early, late = np.where(low_is_late, high, low), np.where(low_is_late, low, high)
        self._transposed = rows != late[self._place]
        self._places = len(places)
        self._plans = self._plan(early, late)

    def with_size(self, size: int) -> BlockPattern:
        """The same pattern of blocks of another size, without a new analysis."""
        other = copy(self)
        other.size = size
        return other

    def factor(self, diagonal: Floats, blocks: Floats) -> BlockCholesky:
        """Factor a matrix.

        Args:
            diagonal: (n, d, d), symmetric.
            blocks: the block at (rows[k], cols[k]), (m, d, d); blocks of one place are added up.

        Raises:
            EstimationError: the matrix is not positive definite.
        """
        size = self.size
        lower = np.zeros((self._places, size, size))
        oriented = np.where(self._transposed[:, None, None], blocks.transpose(0, 2, 1), blocks)
        if len(blocks) == self._places:
            lower[self._place] = oriented
        else:
            np.add.at(lower, self._place, oriented)
        remains: list[Floats | None] = [None] * len(self._plans)
        triangles, belows = [], []
        for number, (front, plan) in enumerate(zip(self.elimination.fronts, self._plans, strict=True)):
            matrix = _front(front, plan, diagonal, lower)
            for child in front.children:
                rest = remains[child]
                if rest is not None:
                    _add(matrix, rest, self._plans[child].spans, size)
                    remains[child] = None
            own = len(front.pivots) * size
            # In Fortran's order a transposed view is the matrix itself: its upper triangle is the lower one here.
            upper, info = dpotrf(np.ascontiguousarray(matrix[:own, :own]).T, lower=0, clean=1, overwrite_a=1)
            if info != 0:
                raise EstimationError("the matrix is not positive definite: the measurements leave unknowns open")
            below = np.zeros((own, 0), order="F")
            if len(front.border):
                below = dtrsm(1.0, upper, np.ascontiguousarray(matrix[own:, :own]).T, trans_a=1, overwrite_b=1)
                rest = np.ascontiguousarray(matrix[own:, own:])
                remains[number] = dsyrk(-1.0, below, beta=1.0, c=rest.T, trans=1, overwrite_c=1).T
            triangles.append(upper)
            belows.append(below)
        return BlockCholesky(self, triangles, belows)

    def _plan(self, early: Indices, late: Indices) -> list[_Assembly]:
        """Every block goes to the front of whichever of its two unknowns is eliminated first."""
        found = self.elimination
        front_of = found.front_of[early]
        by_front = np.argsort(front_of, kind="stable")
        starts = np.searchsorted(front_of[by_front], np.arange(len(found.fronts) + 1))
        plans = []
        for number, front in enumerate(found.fronts):
            source = by_front[starts[number] : starts[number + 1]]
            members = found.rank[np.concatenate([front.pivots, front.border])]
            row = np.searchsorted(members, found.rank[late[source]])
            plans.append(_Assembly(source, row, found.place_of[early[source]], _spans(front.into_parent)))
        return plans


class BlockCholesky:
    """The factor of a matrix of a :class:`BlockPattern`."""

    def __init__(self, pattern: BlockPattern, triangles: list[Floats], belows: list[Floats]) -> None:
        self._pattern = pattern
        self._triangles = triangles
        """U of each front's pivots, U^T U, (p, p)."""
        self._belows = belows
        """U^-T times the front's pivot rows over the border, (p, b)."""

    def solve(self, right: Floats) -> Floats:
        """Solve for right-hand sides, (n, d) or (n, d, k), of the same shape as the result."""
        pattern = self._pattern
        x = right.reshape(pattern.count, pattern.size, -1).copy()
        columns = x.shape[2]
        fronts = pattern.elimination.fronts
        for front, upper, below in zip(fronts, self._triangles, self._belows, strict=True):
            y = dtrsm(1.0, upper, x[front.pivots].reshape(-1, columns), trans_a=1)
            x[front.pivots] = y.reshape(-1, pattern.size, columns)
            if len(front.border):
                x[front.border] -= (below.T @ y).reshape(-1, pattern.size, columns)
        for front, upper, below in zip(
            reversed(fronts), reversed(self._triangles), reversed(self._belows), strict=True
        ):
            y = x[front.pivots].reshape(-1, columns)
            if len(front.border):
                y = y - below @ x[front.border].reshape(-1, columns)
            x[front.pivots] = dtrsm(1.0, upper, y).reshape(-1, pattern.size, columns)
        return x.reshape(right.shape)

    def inverse_diagonal(self) -> Floats:
        """The blocks of the inverse on its diagonal, (n, d, d), without the rest of it.

        The inverse on a front follows from that on its border, which is part of its parent's (Takahashi, Fagan and
        Chin 1973, "Formation of a sparse bus impedance matrix and its application to short circuit study").
        """
        pattern = self._pattern
        size = pattern.size
        result = np.empty((pattern.count, size, size))
        fronts = pattern.elimination.fronts
        inverses: list[Floats | None] = [None] * len(fronts)
        waiting = [len(front.children) for front in fronts]
        for number in range(len(fronts) - 1, -1, -1):
            front, upper, below = fronts[number], self._triangles[number], self._belows[number]
            own = len(front.pivots) * size
            inverse, _ = dpotri(upper, lower=0)
            inverse = np.triu(inverse) + np.triu(inverse, 1).T
            whole = np.empty((own + below.shape[1],) * 2) if front.children else None
            if front.parent >= 0:
                outer = inverses[front.parent]
                index = _scalar_index(front.into_parent, size)
                border = outer[np.ix_(index, index)] if outer is not None else np.zeros((0, 0))
                waiting[front.parent] -= 1
                if not waiting[front.parent]:
                    inverses[front.parent] = None
                over = dtrsm(1.0, upper, below)
                cross = -over @ border
                inverse = inverse - cross @ over.T
                if whole is not None:
                    whole[:own, own:], whole[own:, :own], whole[own:, own:] = cross, cross.T, border
            if whole is not None:
                whole[:own, :own] = inverse
                inverses[number] = whole
            each = np.arange(len(front.pivots))
            result[front.pivots] = inverse.reshape(len(each), size, len(each), size)[each, :, each, :]
        return result

    def log_determinant(self) -> float:
        """Logarithm of the matrix's determinant."""
        return 2.0 * float(sum(np.log(np.diagonal(upper)).sum() for upper in self._triangles))


def _scalar_index(blocks: Indices, size: int) -> Indices:
    return (blocks[:, None] * size + np.arange(size)).ravel()


def _spans(into: Indices) -> tuple[tuple[int, int, int], ...]:
    breaks = (np.flatnonzero(np.diff(into) != 1) + 1).tolist()
    return tuple((int(into[a]), a, b) for a, b in zip([0, *breaks], [*breaks, len(into)], strict=True) if b > a)


def _front(front: Front, plan: _Assembly, diagonal: Floats, lower: Floats) -> Floats:
    """The part of the matrix that belongs to a front; its lower triangle counts."""
    own, size = len(front.pivots), diagonal.shape[1]
    total = own + len(front.border)
    matrix = np.zeros((total * size, total * size))
    view = matrix.reshape(total, size, total, size)
    each = np.arange(own)
    view[each, :, each, :] = diagonal[front.pivots]
    view[plan.row, :, plan.col, :] = lower[plan.source]
    return matrix


def _add(matrix: Floats, rest: Floats, spans: tuple[tuple[int, int, int], ...], size: int) -> None:
    """Add what a child leaves to its parent's front, of which the lower triangle counts."""
    parts = [(slice(at * size, (at + b - a) * size), slice(a * size, b * size)) for at, a, b in spans]
    for position, (into_rows, rows) in enumerate(parts):
        for into_cols, cols in parts[: position + 1]:
            matrix[into_rows, into_cols] += rest[rows, cols]
