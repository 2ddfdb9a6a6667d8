"""How well a bundle adjustment determines what it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.geometry.bundle.direct import DirectSolver, Reduced, factored
from cv3d.geometry.bundle.evaluating import Evaluator
from cv3d.geometry.bundle.normal import NormalEquations
from cv3d.geometry.bundle.problem import BundleProblem
from cv3d.geometry.bundle.result import BundleResult
from cv3d.geometry.bundle.structure import POSE, Columns, build, lay_out
from cv3d.geometry.fused import fused
from cv3d.geometry.robust import Loss

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]

_SINGULAR = 1e-12
"""Pivot of the scaled reduced system at which an unknown counts as not determined."""


@dataclass(frozen=True, eq=False)
class BundleCovariance:
    """Covariance of the estimate, the gauge being what was held, known or asked to be."""

    poses: Floats
    """Of x = [rho, phi] in exp(x) rig_from_world, (P, 6, 6): translation, then rotation in radians, in the rig's
    frame; zero where held."""
    points: Floats
    """(M, 3, 3); zero where held, NaN where the observations do not determine the point."""
    intrinsics: tuple[Floats, ...]
    """Of all parameters of each camera, (params, params); zero for those held."""
    joint: Floats
    """Of all columns, (n, n)."""
    columns: Columns
    """Where poses and intrinsics stand in `joint`."""

    def between_poses(self, first: int, second: int) -> Floats:
        """Covariance between the steps of two poses, (6, 6); zero where one is held."""
        a, b = self.columns.pose_offset[[first, second]]
        if a < 0 or b < 0:
            return np.zeros((POSE, POSE))
        block: Floats = self.joint[a : a + POSE, b : b + POSE]
        return block


def bundle_covariance(
    result: BundleResult, fixed_distance: tuple[int, int] | None = None, variance: float = 1.0
) -> BundleCovariance:
    """The inverse of the normal equations at a solution.

    Robust weights count as information. The gauge has to be fixed: by held poses or priors, and the scale by metric
    measurements, a second held pose or `fixed_distance`.

    Args:
        result: the solution.
        fixed_distance: two poses whose distance is the unit of length, and therefore without error.
        variance: factor on the covariance; 1 trusts the sigmas given, `result.noise ** 2` takes the residuals' word.

    Raises:
        EstimationError: the observations do not determine every unknown, or the gauge is not fixed.
    """
    problem = result.as_problem()
    normal, reduced, _ = reduced_at_start(problem, result.options.loss, result.options.depth_loss, result.used)
    structure, columns = normal.structure, normal.structure.columns
    joint = variance * _inverse(reduced.dense(), _distance_row(problem, columns, fixed_distance))
    poses = np.zeros((len(problem.poses), POSE, POSE))
    for pose in np.flatnonzero(columns.pose_offset >= 0):
        span = slice(columns.pose_offset[pose], columns.pose_offset[pose] + POSE)
        poses[pose] = joint[span, span]
    intrinsics = []
    for camera, basis in enumerate(columns.bases):
        span = slice(columns.camera_offset[camera], columns.camera_offset[camera] + basis.shape[1])
        intrinsics.append(basis @ joint[span, span] @ basis.T if basis.shape[1] else np.zeros((len(basis),) * 2))
    points = np.zeros((len(problem.points), 3, 3))
    _point_covariances(
        structure.point_free,
        structure.slot_start,
        structure.slots,
        normal.coupling,
        reduced.factors,
        joint,
        variance,
        points,
    )
    return BundleCovariance(poses, points, tuple(intrinsics), joint, columns)


def reduced_at_start(
    problem: BundleProblem, loss: Loss, depth_loss: Loss, counted: Bools | None = None
) -> tuple[NormalEquations, Reduced, float]:
    """Normal equations, their Schur complement and the cost where a problem starts.

    Args:
        problem: the problem.
        loss: of the pixels.
        depth_loss: of the depths.
        counted: which observations count, (N,); None: those that are visible. Those of points that they do not
            determine are left out: they say nothing of anything else, and eliminating their point would say so only up
            to rounding.
    """
    structure = build(problem, lay_out(problem))
    evaluator = Evaluator.of(problem, structure, loss, depth_loss)
    state, at = evaluator.start(), evaluator.room()
    evaluator.linearize(state, at)
    evaluator.active[:] = at.visible if counted is None else counted[structure.order]
    evaluator.linearize(state, at)
    normal = evaluator.normal_equations(at, state)
    factors, _ = factored(evaluator, normal, 0.0)
    lost = structure.point_free & (factors[:, 0] == 0.0)
    if lost.any():
        evaluator.active[lost[structure.point]] = False
        evaluator.linearize(state, at)
        normal = evaluator.normal_equations(at, state)
    return normal, DirectSolver(evaluator, None).reduce(normal, 0.0), at.cost


def _distance_row(problem: BundleProblem, columns: Columns, pair: tuple[int, int] | None) -> Floats | None:
    """Derivative of the distance of two poses by the columns, (n,)."""
    if pair is None:
        return None
    poses = problem.poses[list(pair)]
    rotations, translations = poses[:, :3, :3], poses[:, :3, 3]
    centres = -np.einsum("pji,pj->pi", rotations, translations)
    between = centres[1] - centres[0]
    length = float(np.linalg.norm(between))
    row = np.zeros(columns.total)
    if not length > 0.0:
        raise EstimationError(f"poses {pair[0]} and {pair[1]} stand in one place: their distance cannot be the unit")
    for i, sign in enumerate((1.0, -1.0)):
        offset = columns.pose_offset[pair[i]]
        if offset >= 0:
            # exp(x) T has its centre at c - R^T rho to first order.
            row[offset : offset + 3] = sign * rotations[i] @ between / length
    if not row.any():
        raise EstimationError("both poses of the fixed distance are held")
    return row


def _inverse(matrix: Floats, constraint: Floats | None) -> Floats:
    """Inverse of the reduced system, along a constraint row . x = 0 where there is one."""
    if len(matrix) == 0:
        return matrix
    scale = np.sqrt(np.where(np.diagonal(matrix) > 0.0, np.diagonal(matrix), 1.0))
    scaled = matrix / scale[:, None] / scale
    row = None if constraint is None else constraint / scale
    if row is not None:
        row = row / np.linalg.norm(row)
        scaled = scaled + np.outer(row, row)
    factor, info = torch.linalg.cholesky_ex(torch.from_numpy(scaled))
    if int(info) != 0 or float(torch.diagonal(factor).min()) ** 2 < _SINGULAR:
        raise EstimationError(
            "the observations do not determine every pose and intrinsic parameter: hold a pose, give a prior, or name "
            "the poses whose distance is the unit"
        )
    inverse: Floats = torch.cholesky_inverse(factor).numpy()
    if row is not None:
        along = inverse @ row
        inverse = inverse - np.outer(along, along) / float(row @ along)
    return inverse / scale[:, None] / scale


@fused
def _point_covariances(  # noqa: PLR0912
    free: Bools,
    slot_start: Ints,
    slots: Ints,
    coupling: Floats,
    factors: Floats,
    joint: Floats,
    variance: float,
    out: Floats,
) -> None:
    """V^-1 + (V^-1 W) joint (V^-1 W)^T of every point, (M, 3, 3)."""
    for p in range(len(free)):
        if not free[p]:
            continue
        i0, l10, i1, l20, l21, i2 = (
            factors[p, 0],
            factors[p, 1],
            factors[p, 2],
            factors[p, 3],
            factors[p, 4],
            factors[p, 5],
        )
        if i0 == 0.0:
            for i in range(3):
                for j in range(3):
                    out[p, i, j] = np.nan
            continue
        root = np.zeros((3, 3))
        root[0, 0], root[1, 1], root[2, 2] = i0, i1, i2
        root[1, 0] = -l10 * i0 * i1
        root[2, 1] = -l21 * i1 * i2
        root[2, 0] = -(l20 * i0 + l21 * root[1, 0]) * i2
        inverse = np.zeros((3, 3))
        for i in range(3):
            for j in range(3):
                for m in range(3):
                    inverse[i, j] += root[m, i] * root[m, j]
        first, last = slot_start[p], slot_start[p + 1]
        size = 0
        for s in range(first, last):
            size += slots[s, 1]
        moves, at = np.zeros((3, size)), np.empty(size, np.intp)
        k = 0
        for s in range(first, last):
            offset, width, begin = slots[s, 0], slots[s, 1], slots[s, 2]
            for i in range(width):
                at[k] = offset + i
                for a in range(3):
                    for b in range(3):
                        moves[a, k] += inverse[a, b] * coupling[begin + b * width + i]
                k += 1
        for i in range(3):
            for j in range(3):
                out[p, i, j] = variance * inverse[i, j]
        for i in range(size):
            for j in range(size):
                value = joint[at[i], at[j]]
                for a in range(3):
                    for b in range(3):
                        out[p, a, b] += moves[a, i] * value * moves[b, j]
