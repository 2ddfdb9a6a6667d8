"""The same problem as plain array expressions: one dense Jacobian, one dense solution.

What the kernels compute, in a form that is checked by reading. The tests hold them to it; nothing calls it in the
normal course, for its memory grows with the square of the problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.bundle.problem import BundleProblem, is_measured
from cv3d.geometry.bundle.structure import POSE, Columns, lay_out
from cv3d.geometry.pixel_rays import cross_matrix
from cv3d.geometry.robust import SQUARED, Loss

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DenseSystem:
    """Weighted residuals and their Jacobian: the columns of :class:`Columns`, then three for every point."""

    cost: float
    """Half the robust sum, without priors."""
    hessian: Floats
    """(n + 3 M, n + 3 M), held points' rows being zero."""
    gradient: Floats
    """(n + 3 M,)."""
    columns: Columns

    def step(self, damping: float) -> Floats:
        """The solution of `(H + damping * diag(H)) x = -g`, held points' entries being zero."""
        diagonal = np.diagonal(self.hessian)
        free = diagonal > 0.0
        damped = self.hessian + damping * np.diag(diagonal)
        step = np.zeros(len(diagonal))
        step[free] = np.linalg.solve(damped[np.ix_(free, free)], -self.gradient[free])
        return step


def dense_system(problem: BundleProblem, loss: Loss = SQUARED, depth_loss: Loss = SQUARED) -> DenseSystem:
    """Normal equations of a problem at its own state, every observation in front of its camera; priors are left out."""
    columns = lay_out(problem)
    seen, count = problem.observations, len(problem.observations)
    rows = 3
    total = columns.total + 3 * len(problem.points)
    jacobian, residuals = np.zeros((count, rows, total)), np.zeros((count, rows))
    cost = 0.0
    sigma = np.broadcast_to(np.asarray(seen.sigma, np.float64), (count,))
    depth_sigma = np.broadcast_to(np.asarray(seen.depth_sigma, np.float64), (count,))
    for k in range(count):
        view, point = int(seen.view[k]), int(seen.point[k])
        pose, camera = int(problem.views.pose[view]), int(problem.views.camera[view])
        rigid = problem.poses[pose]
        offset = np.eye(4) if problem.views.cam_from_rig is None else problem.views.cam_from_rig[view]
        rigged = rigid[:3, :3] @ problem.points[point] + rigid[:3, 3]
        in_camera = offset[:3, :3] @ rigged + offset[:3, 3]
        lens, params = problem.cameras[camera].lens, torch.tensor(problem.cameras[camera].params, dtype=torch.float64)
        pixel, by_point, by_params = (
            value[0].numpy() for value in lens.project_with_jacobians(params, torch.from_numpy(in_camera[None]))
        )
        covariance = np.eye(2) * sigma[k] ** 2 if seen.covariance is None else seen.covariance[k]
        root = np.linalg.cholesky(np.linalg.inv(covariance)).T
        parts = [(root @ (pixel - seen.pixels[k]), root @ by_point, root @ by_params, loss)]
        if seen.depth is not None and is_measured(seen.depth)[k]:
            error = np.array([(in_camera[2] - seen.depth[k]) / depth_sigma[k]])
            by_depth = np.array([[0.0, 0.0, 1.0 / depth_sigma[k]]])
            parts.append((error, by_depth, np.zeros((1, len(params))), depth_loss))
        row = 0
        for error, by_camera_point, by_camera, robust in parts:
            rho, weight = robust.evaluate(torch.tensor(float(error @ error), dtype=torch.float64))
            cost += 0.5 * float(rho)
            span = slice(row, row + len(error))
            row += len(error)
            scale = np.sqrt(float(weight))
            by_rigged = scale * by_camera_point @ offset[:3, :3]
            residuals[k, span] = scale * error
            at = columns.pose_offset[pose]
            if at >= 0:
                jacobian[k, span, at : at + POSE] = np.concatenate(
                    [by_rigged, -by_rigged @ cross_matrix(rigged)], axis=1
                )
            at, basis = columns.camera_offset[camera], columns.bases[camera]
            if basis.shape[1]:
                jacobian[k, span, at : at + basis.shape[1]] = scale * by_camera @ basis
            if problem.held_points is None or not problem.held_points[point]:
                at = columns.total + 3 * point
                jacobian[k, span, at : at + 3] = by_rigged @ rigid[:3, :3]
    flat = jacobian.reshape(-1, total)
    return DenseSystem(cost, flat.T @ flat, flat.T @ residuals.reshape(-1), columns)
