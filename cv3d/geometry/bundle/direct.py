"""The reduced camera system by Cholesky factorisation: dense, or banded with a border of shared intrinsics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.bundle import schur_kernels
from cv3d.geometry.bundle.banded import solve_banded
from cv3d.geometry.bundle.evaluating import Evaluator
from cv3d.geometry.bundle.normal import NormalEquations, PriorTerms

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Step:
    """A solution of the damped normal equations."""

    columns: Floats
    """(n,)."""
    points: Floats
    """(M, 3)."""
    predicted: float
    """How much the quadratic model falls along it."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """The Schur complement, as :func:`schur_kernels.eliminate` stores it."""

    stride: int
    border: int
    band: Floats
    side: Floats
    corner: Floats
    right: Floats
    """Gradient with the points eliminated, (n,)."""
    factors: Floats
    """Of the points' damped blocks, (M, 6)."""
    solved: Floats
    """(M, 3)."""

    def dense(self) -> Floats:
        """The matrix, (n, n); for a system stored without a border."""
        size = self.border
        half = self.band.reshape(size, size)
        full: Floats = np.triu(half) + np.triu(half, 1).T
        return full


@dataclass(frozen=True, eq=False)
class DirectSolver:
    """Factorises the reduced system."""

    evaluator: Evaluator
    half_bandwidth: int | None
    """Subdiagonals of the band; None: dense, without a border."""

    def solve(self, normal: NormalEquations, damping: float) -> Step | None:
        """The step of `(H + damping * diag(H)) x = -g`; None where the system is not positive definite."""
        reduced = self.reduce(normal, damping)
        columns = self._solve_dense(reduced) if self.half_bandwidth is None else self._solve_banded(reduced)
        if columns is None:
            return None
        points = back_substituted(self.evaluator, normal, reduced.factors, reduced.solved, columns)
        return Step(columns, points, predicted_decrease(normal, damping, columns, points))

    def reduce(self, normal: NormalEquations, damping: float) -> Reduced:
        """Eliminate the points."""
        structure = normal.structure
        size = structure.columns.total
        dense = self.half_bandwidth is None
        border = size if dense else structure.columns.border
        stride = size if self.half_bandwidth is None else self.half_bandwidth
        length = size * size if dense else border * (stride + 1)
        parts = len(self.evaluator.chunks)
        band, side = np.zeros((parts, length)), np.zeros((parts, border, size - border))
        corner, right = np.zeros((parts, size - border, size - border)), np.zeros((parts, size))
        factors, solved = factored(self.evaluator, normal, damping)
        schur_kernels.scatter_views(
            normal.of_views,
            normal.view_gradients,
            structure.blocks,
            stride,
            border,
            band[0],
            side[0],
            corner[0],
            right[0],
        )
        for prior in normal.priors:
            _scatter_prior(prior, stride, border, band[0], side[0], corner[0], right[0])
        part_of = {chunk: part for part, chunk in enumerate(self.evaluator.chunks)}

        def chunk(first: int, last: int) -> None:
            part = part_of[first, last]
            schur_kernels.eliminate(
                first,
                last,
                structure.point_free,
                structure.slot_start,
                structure.slots,
                normal.coupling,
                factors,
                solved,
                stride,
                border,
                band[part],
                side[part],
                corner[part],
                right[part],
            )

        self.evaluator.each(chunk)
        for part in range(1, parts):
            for target in (band, side, corner, right):
                target[0] += target[part]
        added = damping * normal.diagonal
        band[0][np.arange(border) * (stride + 1)] += added[:border]
        corner[0][np.diag_indices(size - border)] += added[border:]
        return Reduced(stride, border, band[0], side[0], corner[0], right[0], factors, solved)

    def _solve_dense(self, reduced: Reduced) -> Floats | None:
        size = reduced.border
        if size == 0:
            return np.zeros(0)
        matrix = torch.from_numpy(reduced.band.reshape(size, size))
        factor, info = torch.linalg.cholesky_ex(matrix, upper=True)
        if int(info) != 0:
            return None
        solution: Floats = torch.cholesky_solve(torch.from_numpy(-reduced.right)[:, None], factor, upper=True)[
            :, 0
        ].numpy()
        return solution

    def _solve_banded(self, reduced: Reduced) -> Floats | None:
        border = reduced.border
        side = torch.from_numpy(reduced.side)
        right = torch.cat([side, -torch.from_numpy(reduced.right)[:border, None]], dim=1)
        solved = solve_banded(torch.from_numpy(reduced.band), reduced.stride, right)
        if solved is None:
            return None
        by_side, alone = solved[:, :-1], solved[:, -1:]
        # Of the border's own block the upper triangle is stored.
        corner = torch.from_numpy(reduced.corner).triu()
        corner = corner + corner.triu(1).T - side.T @ by_side
        factor, info = torch.linalg.cholesky_ex(corner)
        if int(info) != 0:
            return None
        own = torch.cholesky_solve(-torch.from_numpy(reduced.right)[border:, None] - side.T @ alone, factor)
        result: Floats = torch.cat([alone - by_side @ own, own])[:, 0].numpy()
        return result


def factored(evaluator: Evaluator, normal: NormalEquations, damping: float) -> tuple[Floats, Floats]:
    """Cholesky factors (M, 6) of the points' damped blocks, and their solved gradients (M, 3)."""
    factors, solved = np.empty_like(normal.of_points), np.empty_like(normal.point_gradients)
    evaluator.each(
        lambda first, last: schur_kernels.factor_points(
            first,
            last,
            normal.structure.point_free,
            normal.of_points,
            normal.point_gradients,
            damping,
            factors,
            solved,
        )
    )
    return factors, solved


def back_substituted(
    evaluator: Evaluator, normal: NormalEquations, factors: Floats, solved: Floats, columns: Floats
) -> Floats:
    """Steps of the points, (M, 3), given those of the columns, (n,)."""
    structure = normal.structure
    points = np.zeros_like(normal.point_gradients)
    evaluator.each(
        lambda first, last: schur_kernels.back_substitute(
            first,
            last,
            structure.point_free,
            structure.slot_start,
            structure.slots,
            normal.coupling,
            factors,
            solved,
            columns,
            points,
        )
    )
    return points


def predicted_decrease(
    normal: NormalEquations, damping: float, columns: Floats, points: Floats, residual: Floats | None = None
) -> float:
    """How much the quadratic model falls along a step.

    As (H + damping D) x = -g + residual, that is 0.5 (damping x^T D x - g^T x - x^T residual).
    """
    curvature = normal.of_points[:, (0, 2, 5)]
    curvature = np.maximum(curvature, schur_kernels.FLOOR * curvature.max(axis=1, initial=0.0)[:, None])
    damped = float(normal.diagonal @ columns**2) + float((curvature * points**2).sum())
    along = float(normal.gradient @ columns) + float((normal.point_gradients * points).sum())
    unsolved = 0.0 if residual is None else float(columns @ residual)
    return 0.5 * (damping * damped - along - unsolved)


def _scatter_prior(
    prior: PriorTerms, stride: int, border: int, band: Floats, side: Floats, corner: Floats, right: Floats
) -> None:
    right[prior.columns] += prior.gradient
    row, column = np.meshgrid(prior.columns, prior.columns, indexing="ij")
    below = row >= column
    row, column, values = row[below], column[below], prior.information[below]
    inside, beside = row < border, (row >= border) & (column < border)
    np.add.at(band, column[inside] * stride + row[inside], values[inside])
    np.add.at(side, (column[beside], row[beside] - border), values[beside])
    both = column >= border
    np.add.at(corner, (column[both] - border, row[both] - border), values[both])
