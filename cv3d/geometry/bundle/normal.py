"""States, linearisations and normal equations: what passes between evaluating a bundle problem and solving it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.priors import GaussianPrior
from cv3d.geometry.bundle.structure import POSE, Columns, Structure

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class State:
    """Where the unknowns are."""

    poses: Floats
    """(P, 4, 4)."""
    points: Floats
    """(M, 3)."""
    params: Floats
    """(C, padded)."""


@dataclass(eq=False)
class Linearization:
    """Residuals and derivatives of the sorted observations; the arrays are used again, see :class:`Evaluator`."""

    cost: float
    """Of observations and priors."""
    errors: Floats
    """Projected minus measured, (N, R): pixels, and depth where R = 3."""
    visible: Bools
    """(N,)."""
    residuals: Floats
    """(N, R), weighted."""
    by_columns: Floats
    """(N, R, 6 + F)."""
    by_point: Floats
    """(N, R, 3)."""
    priors: list[PriorTerms] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class PriorTerms:
    """What one prior adds to the normal equations."""

    columns: Ints
    """(k,)."""
    information: Floats
    """(k, k)."""
    gradient: Floats
    """(k,)."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """J^T J and J^T r in the parts that the structure has. Half of sum r^2 is the cost that they belong to."""

    structure: Structure
    of_views: Floats
    """(V, 6 + F, 6 + F), lower triangles."""
    view_gradients: Floats
    """(V, 6 + F)."""
    of_points: Floats
    """xx yx yy zx zy zz, (M, 6)."""
    point_gradients: Floats
    """(M, 3)."""
    coupling: Floats
    """Numbers of all slots."""
    priors: list[PriorTerms]
    gradient: Floats
    """Of the columns, (n,)."""
    diagonal: Floats
    """Of the columns, (n,); 1 where nothing is known of an unknown, so that damping holds it."""

    def largest_gradient(self) -> float:
        """Largest component, each over the square root of its curvature."""
        columns = np.abs(self.gradient) / np.sqrt(self.diagonal)
        curvature = self.of_points[:, (0, 2, 5)]
        points = np.abs(self.point_gradients) / np.sqrt(np.where(curvature > 0.0, curvature, 1.0))
        return float(max(columns.max(initial=0.0), points.max(initial=0.0)))


def prior_terms(prior: GaussianPrior, state: State, columns: Columns) -> tuple[float, PriorTerms]:
    """Cost of a prior at a state, and what it adds to the normal equations there."""
    offset, slope = prior.pose_offsets(state.poses)
    size = len(prior.gradient)
    jacobian, away, at = np.eye(size), np.zeros(size), np.full(size, -1, np.intp)
    for i, pose in enumerate(prior.poses):
        span = slice(POSE * i, POSE * i + POSE)
        away[span], jacobian[span, span] = offset[i], slope[i]
        if columns.pose_offset[pose] >= 0:
            at[span] = columns.pose_offset[pose] + np.arange(POSE)
    begin = POSE * len(prior.poses)
    for camera, params in zip(prior.cameras, prior.at_cameras, strict=True):
        basis = columns.bases[camera]
        span = slice(begin, begin + basis.shape[1])
        difference = state.params[camera, : len(basis)] - np.array(params)
        away[span] = np.linalg.lstsq(basis, difference, rcond=None)[0]
        at[span] = columns.camera_offset[camera] + np.arange(basis.shape[1])
        begin += basis.shape[1]
    slope_here = prior.information @ away
    cost = float(away @ (0.5 * slope_here + prior.gradient)) + prior.constant
    free = at >= 0
    jacobian = jacobian[:, free]
    information = jacobian.T @ prior.information @ jacobian
    return cost, PriorTerms(at[free], information, jacobian.T @ (slope_here + prior.gradient))
