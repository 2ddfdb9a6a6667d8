"""The reduced camera system by conjugate gradients, without ever forming it.

Preconditioned by the diagonal blocks of the Schur complement (Agarwal et al. 2010, "Bundle adjustment in the large",
section 4: Schur-Jacobi).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle import iterative_kernels
from cv3d.geometry.bundle.direct import Step, back_substituted, factored, predicted_decrease
from cv3d.geometry.bundle.evaluating import Evaluator
from cv3d.geometry.bundle.normal import NormalEquations

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class IterativeSolver:
    """Conjugate gradients on the implicit Schur complement."""

    evaluator: Evaluator
    tolerance: float
    """Relative residual, in the norm of the preconditioner, at which to stop."""
    max_iterations: int

    def solve(self, normal: NormalEquations, damping: float) -> Step | None:
        """An approximate step of `(H + damping * diag(H)) x = -g`; None where the system is not positive definite."""
        factors, solved = factored(self.evaluator, normal, damping)
        prepared = self._preconditioner(normal, damping, factors, solved)
        if prepared is None:
            return None
        inverses, right = prepared
        columns = normal.structure.columns
        lanes = np.arange(inverses.shape[1])
        place = columns.block_offset[:, None] + lanes
        used = lanes < columns.block_width[:, None]
        place = np.where(used, place, 0)

        def precondition(vector: Floats) -> Floats:
            result = np.zeros_like(vector)
            gathered = np.where(used, vector[place], 0.0)
            result[place[used]] = np.einsum("bij,bj->bi", inverses, gathered)[used]
            return result

        solution, residual = np.zeros_like(right), right.copy()
        preconditioned = precondition(residual)
        direction = preconditioned.copy()
        energy = first = float(residual @ preconditioned)
        for _ in range(self.max_iterations):
            if energy <= self.tolerance**2 * first:
                break
            product = self._multiply(normal, damping, factors, direction)
            curvature = float(direction @ product)
            if not curvature > 0.0:
                return None
            length = energy / curvature
            solution += length * direction
            residual -= length * product
            preconditioned = precondition(residual)
            before, energy = energy, float(residual @ preconditioned)
            direction = preconditioned + (energy / before) * direction
        points = back_substituted(self.evaluator, normal, factors, solved, solution)
        return Step(solution, points, predicted_decrease(normal, damping, solution, points, -residual))

    def _multiply(self, normal: NormalEquations, damping: float, factors: Floats, vector: Floats) -> Floats:
        structure = normal.structure
        parts = np.zeros((len(self.evaluator.chunks), len(vector)))
        iterative_kernels.multiply_views(normal.of_views, structure.blocks, vector, parts[0])
        part_of = {chunk: part for part, chunk in enumerate(self.evaluator.chunks)}
        self.evaluator.each(
            lambda first, last: iterative_kernels.multiply_points(
                first,
                last,
                structure.point_free,
                structure.slot_start,
                structure.slots,
                normal.coupling,
                factors,
                vector,
                parts[part_of[first, last]],
            )
        )
        product: Floats = parts.sum(axis=0) + damping * normal.diagonal * vector
        for prior in normal.priors:
            product[prior.columns] += prior.information @ vector[prior.columns]
        return product

    def _preconditioner(
        self, normal: NormalEquations, damping: float, factors: Floats, solved: Floats
    ) -> tuple[Floats, Floats] | None:
        """Inverse diagonal blocks (B, widest, widest) and the right side (n,)."""
        structure, columns = normal.structure, normal.structure.columns
        blocks, size = len(columns.block_offset), columns.total
        widest = int(columns.block_width.max(initial=0))
        block_of = np.zeros(size, np.intp)
        block_of[columns.block_offset] = np.arange(blocks)
        parts = len(self.evaluator.chunks)
        diagonal, right = np.zeros((parts, blocks, widest, widest)), np.zeros((parts, size))
        part_of = {chunk: part for part, chunk in enumerate(self.evaluator.chunks)}
        self.evaluator.each(
            lambda first, last: iterative_kernels.diagonal_blocks(
                first,
                last,
                structure.point_free,
                structure.slot_start,
                structure.slots,
                normal.coupling,
                factors,
                solved,
                block_of,
                diagonal[part_of[first, last]],
                right[part_of[first, last]],
            )
        )
        own = diagonal.sum(axis=0)
        iterative_kernels.scatter_diagonal_blocks(normal.of_views, structure.blocks, block_of, own)
        owner = np.repeat(np.arange(blocks), columns.block_width)
        lane = np.arange(size) - columns.block_offset[owner]
        for prior in normal.priors:
            at = prior.columns
            same = owner[at][:, None] == owner[at]
            rows, others = np.nonzero(same)
            own[owner[at[rows]], lane[at[rows]], lane[at[others]]] += prior.information[rows, others]
        own[owner, lane, lane] += damping * normal.diagonal
        unused = np.arange(widest) >= columns.block_width[:, None]
        own[unused.nonzero()[0], unused.nonzero()[1], unused.nonzero()[1]] = 1.0
        scale = np.sqrt(np.abs(np.diagonal(own, axis1=1, axis2=2)))
        try:
            factor = np.linalg.cholesky(own / scale[:, :, None] / scale[:, None, :])
        except np.linalg.LinAlgError:
            return None
        root = np.linalg.inv(factor) / scale[:, None, :]
        return np.swapaxes(root, 1, 2) @ root, -(right.sum(axis=0) + normal.gradient)
