"""Marginalisation: what leaves a sliding window stays in it as a Gaussian prior.

Everything is linearised at the state of the problem given: its poses, points and intrinsics are the linearisation point
of the new prior, and the robust weights are those of that state. Priors of earlier marginalisations keep the
linearisation points that they were made with; what they say of the present state is carried over through the exact
derivative of their offset. Later adjustments move the remaining poses, not the prior's linearisation point: a problem
that is linear gives the same answer as the whole window would have, and one that is not differs by the curvature
between that point and the later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import UsageError
from cv3d.geometry.bundle.covariance import reduced_at_start
from cv3d.geometry.bundle.direct import Reduced
from cv3d.geometry.bundle.normal import NormalEquations
from cv3d.geometry.bundle.priors import GaussianPrior, PointPriors
from cv3d.geometry.bundle.problem import BundleProblem, Observations, Views
from cv3d.geometry.bundle.structure import POSE
from cv3d.geometry.robust import SQUARED, Loss

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]

_NEGLIGIBLE = 1e-12
"""Eigenvalue of what leaves, over the largest one, below which it says nothing of what stays."""


@dataclass(frozen=True, eq=False)
class Marginalized:
    """A window without what left it."""

    problem: BundleProblem
    """What stays, with the new prior in it."""
    prior: GaussianPrior | None
    """The new prior, in the numbering of `problem`; None where what left says nothing of what stays."""
    pose_index: Ints
    """Where each pose of the old problem is in the new one, (P,); -1: it left."""
    point_index: Ints
    """Where each point of the old problem is in the new one, (M,); -1: it left."""
    dropped: int
    """Observations that were given up: the leaving poses' views of points that stay."""


def marginalize(
    problem: BundleProblem,
    poses: Sequence[int],
    points: Bools | None = None,
    loss: Loss = SQUARED,
    depth_loss: Loss = SQUARED,
) -> Marginalized:
    """Take poses, and points that only they held in place, out of a window and leave a prior in their stead.

    All observations of the leaving points go into the prior, also those from poses that stay. The leaving poses'
    observations of points that stay are dropped, which keeps the prior on poses and intrinsics alone.

    Args:
        problem: the window, at the state to linearise at: usually `BundleResult.as_problem()`.
        poses: which leave.
        points: which leave, (M,); None: those that the leaving poses see and fewer than two other views do.
        loss: of the pixels, whose weights are frozen; `depth_loss` of the depths.
        depth_loss: as `loss`.

    Raises:
        UsageError: no pose would stay, or a point that stays would be seen less than twice.
        InputError: the problem makes no sense.
    """
    problem.check()
    leaving = np.zeros(len(problem.poses), np.bool_)
    leaving[list(poses)] = True
    if leaving.all():
        raise UsageError("every pose would leave the window")
    seen = problem.observations
    by_leaving = leaving[problem.views.pose[seen.view]]
    others = np.bincount(seen.point[~by_leaving], minlength=len(problem.points))
    if points is None:
        points = (np.bincount(seen.point[by_leaving], minlength=len(problem.points)) > 0) & (others < 2)
    goes = points[seen.point]
    consumed = tuple(p for p in problem.priors if leaving[list(p.poses)].any())
    inner = replace(
        problem,
        observations=_subset(seen, goes),
        priors=consumed,
        point_priors=_point_priors(problem.point_priors, points),
    )
    normal, reduced, cost = reduced_at_start(inner, loss, depth_loss)
    prior = _prior(problem, leaving, normal, reduced, cost)
    return _without(problem, leaving, points, prior, consumed, int((by_leaving & ~goes).sum()))


def _prior(
    problem: BundleProblem, leaving: Bools, normal: NormalEquations, reduced: Reduced, cost: float
) -> GaussianPrior | None:
    """The quadratic that is left of the reduced system when the leaving poses' columns are eliminated too."""
    columns = normal.structure.columns
    matrix, gradient = reduced.dense(), reduced.right
    used = np.zeros(columns.total, np.bool_)
    used[np.flatnonzero(np.diagonal(matrix) > 0.0)] = True
    goes = np.zeros(columns.total, np.bool_)
    for pose in np.flatnonzero(leaving & (columns.pose_offset >= 0)):
        goes[columns.pose_offset[pose] : columns.pose_offset[pose] + POSE] = True
    staying_cameras = set(problem.views.camera[~leaving[problem.views.pose]].tolist())
    tied_poses: list[int] = []
    tied_cameras: list[int] = []
    stays: list[int] = []
    for pose in np.flatnonzero(~leaving & (columns.pose_offset >= 0)):
        span = np.arange(columns.pose_offset[pose], columns.pose_offset[pose] + POSE)
        if used[span].any():
            tied_poses.append(int(pose))
            stays.extend(span.tolist())
    for camera, basis in enumerate(columns.bases):
        span = columns.camera_offset[camera] + np.arange(basis.shape[1])
        if not len(span):
            continue
        if camera not in staying_cameras:
            goes[span] = True
        elif used[span].any():
            tied_cameras.append(camera)
            stays.extend(span.tolist())
    if not stays:
        return None
    gone = np.flatnonzero(goes & used)
    kept = np.array(stays, np.intp)
    information, slope = matrix[np.ix_(kept, kept)], gradient[kept]
    constant = cost - 0.5 * float((reduced.solved**2).sum())
    if len(gone):
        scale = np.sqrt(np.diagonal(matrix)[gone])
        values, vectors = np.linalg.eigh(matrix[np.ix_(gone, gone)] / scale[:, None] / scale)
        certain = values > _NEGLIGIBLE * values[-1]
        root = (vectors[:, certain] / np.sqrt(values[certain])) / scale[:, None]
        across, along = root.T @ matrix[np.ix_(gone, kept)], root.T @ gradient[gone]
        information, slope = information - across.T @ across, slope - across.T @ along
        constant -= 0.5 * float(along @ along)
    return GaussianPrior(
        tuple(tied_poses),
        problem.poses[tied_poses].copy(),
        0.5 * (information + information.T),
        slope,
        constant,
        tuple(tied_cameras),
        tuple(problem.cameras[camera].params for camera in tied_cameras),
    )


def _without(
    problem: BundleProblem,
    leaving: Bools,
    points: Bools,
    prior: GaussianPrior | None,
    consumed: tuple[GaussianPrior, ...],
    dropped: int,
) -> Marginalized:
    pose_index, point_index = _renumbered(leaving), _renumbered(points)
    view_stays = ~leaving[problem.views.pose]
    view_index = _renumbered(~view_stays)
    seen, views = problem.observations, problem.views
    stays = view_stays[seen.view] & ~points[seen.point]
    counts = np.bincount(seen.point[stays], minlength=len(problem.points))
    held = np.zeros(len(points), np.bool_) if problem.held_points is None else problem.held_points
    anchored = held.copy()
    if problem.point_priors is not None:
        anchored[problem.point_priors.points] = True
    weak = ~points & (counts < 2) & ~anchored
    if seen.depth is None and weak.any():
        raise UsageError(f"point {int(weak.argmax())} would stay in the window and be seen less than twice there")
    mapping = {int(old): int(pose_index[old]) for old in np.flatnonzero(~leaving)}
    renumbered = prior.renumbered(mapping) if prior is not None else None
    carried = tuple(p.renumbered(mapping) for p in problem.priors if p not in consumed)
    remaining = _subset(seen, stays)
    kept_priors = _point_priors(problem.point_priors, ~points)
    rest = replace(
        problem,
        poses=problem.poses[~leaving],
        points=problem.points[~points],
        views=Views(
            pose_index[views.pose[view_stays]],
            views.camera[view_stays],
            None if views.cam_from_rig is None else views.cam_from_rig[view_stays],
        ),
        observations=replace(remaining, view=view_index[remaining.view], point=point_index[remaining.point]),
        held_poses=None if problem.held_poses is None else problem.held_poses[~leaving],
        held_points=None if problem.held_points is None else held[~points],
        priors=carried if renumbered is None else (*carried, renumbered),
        point_priors=None if kept_priors is None else replace(kept_priors, points=point_index[kept_priors.points]),
    )
    return Marginalized(rest, renumbered, pose_index, point_index, dropped)


def _renumbered(goes: Bools) -> Ints:
    """New indices of what stays, -1 for what goes."""
    index = np.cumsum(~goes) - 1
    return np.where(goes, -1, index).astype(np.intp)


def _subset(seen: Observations, chosen: Bools) -> Observations:
    return Observations(
        pixels=seen.pixels[chosen],
        view=seen.view[chosen],
        point=seen.point[chosen],
        sigma=seen.sigma[chosen] if isinstance(seen.sigma, np.ndarray) and seen.sigma.ndim else seen.sigma,
        covariance=None if seen.covariance is None else seen.covariance[chosen],
        depth=None if seen.depth is None else seen.depth[chosen],
        depth_sigma=seen.depth_sigma[chosen]
        if isinstance(seen.depth_sigma, np.ndarray) and seen.depth_sigma.ndim
        else seen.depth_sigma,
    )


def _point_priors(priors: PointPriors | None, chosen: Bools) -> PointPriors | None:
    if priors is None:
        return None
    keep = chosen[priors.points]
    return PointPriors(priors.points[keep], priors.at[keep], priors.information[keep]) if keep.any() else None
