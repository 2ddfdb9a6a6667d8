"""Two pictures of known cameras: essential matrix, plane or pure rotation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from cv3d.geometry.robust_fit import Problem, Support, fit_support
from cv3d.geometry.two_view.chance import is_explained
from cv3d.geometry.two_view.decomposition import decompose_homography, ray_depths
from cv3d.geometry.two_view.parameters import Homography, PlanarPose, RelativePose, Rotation
from cv3d.geometry.two_view.residuals import EpipolarProblem, Floats, HomographyProblem, Matches
from cv3d.geometry.two_view.result import Degeneracy
from cv3d.geometry.two_view.sampling import Sampling, sample_homography
from cv3d.geometry.two_view.simpler import DOMINANT, fit_simpler

Simple = TypeVar("Simple", Homography, Rotation)

_PLANE_AHEAD = 0.98
"""Share of the inliers whose rays must hit the plane in front of the camera."""
_TELLING = 1e-3
"""Squared noise over the squared gate below which differences of squared error are rounding."""
_TELLING_LIKELIHOOD = 25.0
"""Twice the log-likelihood ratio, some five sigmas, from which one of two planar poses is ruled out."""
_SAME_BASIN = 0.05
"""Poses closer than this, about radians, are refined to the same."""
_RIVAL = 2.0
"""Truncated error over the best pose's that refinement may still turn into less."""
_PARALLAX_SIGMAS = 3.0
_LEAST = 6
"""Fewest inliers: a homography or an essential matrix that leaves no residual says nothing."""


@dataclass(frozen=True, eq=False)
class Motion:
    """What the matches of two known cameras say about their motion."""

    support: Support[RelativePose] | Support[Homography] | Support[Rotation]
    pose: RelativePose | None
    alternative: RelativePose | None
    covariance: Floats | None
    """(5, 5) of the pose's tangent, or (3, 3) of the rotation's."""
    degeneracy: Degeneracy


def relate_calibrated(matches: Matches, sampling: Sampling, chance: float, start: RelativePose | None) -> Motion | None:
    """The simplest motion that explains matches of two known cameras.

    Args:
        matches: rays of n matches.
        sampling: how to sample them.
        chance: probability that a random match agrees with an epipolar geometry.
        start: a pose from sample consensus; None where it found none.

    Returns:
        The motion, or None where nothing is supported.
    """
    sampled = _fit_pose(matches, sampling, start)
    if sampled is not None:
        # Of a camera that only turned any translation explains the matches, but no other rotation does.
        turn = _fit_simple(matches, sampling, Rotation(sampled.model.rotation), sampled)
        if turn is not None and is_explained(turn, sampled, sampling.max_error, chance):
            return _turned(turn)
    plane = _fit_plane(matches, sampling, sampled)
    essential = _with_plane(matches, sampling, sampled, plane)
    if essential is None:
        return None if plane is None else _without_essential(matches, sampling, plane)
    if plane is not None and is_explained(plane, essential, sampling.max_error, chance):
        planar = _planar(matches, sampling, plane, essential)
        if planar is not None:
            return planar
    return Motion(essential, essential.model, None, essential.covariance, Degeneracy.NONE)


def _fit_plane(
    matches: Matches, sampling: Sampling, essential: Support[RelativePose] | None
) -> Support[Homography] | None:
    """The homography of most matches, sampled among those that the pose explains where there is one."""
    likely = matches if essential is None else matches[essential.inliers]
    start = sample_homography(likely, sampling)
    return None if start is None else _fit_simple(matches, sampling, start, essential)


def _fit_simple(
    matches: Matches, sampling: Sampling, start: Simple, essential: Support[RelativePose] | None
) -> Support[Simple] | None:
    """A homography or rotation near a start; None where it is far from what the pose explains."""
    problem: Problem[Simple] = HomographyProblem(matches)
    return fit_simpler(problem, start, essential, sampling.max_error, _LEAST)


def _with_plane(
    matches: Matches,
    sampling: Sampling,
    essential: Support[RelativePose] | None,
    plane: Support[Homography] | None,
) -> Support[RelativePose] | None:
    """The pose with the least truncated error, tried also from the poses that a dominant plane suggests."""
    if plane is None or (essential is not None and plane.count < DOMINANT * essential.count):
        return essential
    solutions = decompose_homography(plane.model.matrix, _inlier_rays(matches, plane))
    fits = [
        _fit_pose(matches, sampling, solution.pose)
        for solution in solutions
        if _is_rival(matches, sampling, solution.pose, essential)
    ]
    return min(
        (fit for fit in (essential, *fits) if fit is not None),
        key=lambda fit: _truncated(fit.errors, sampling.max_error),
        default=None,
    )


def _is_rival(
    matches: Matches, sampling: Sampling, pose: RelativePose, essential: Support[RelativePose] | None
) -> bool:
    """Whether a pose is another than the one found and could, once refined, be better."""
    if essential is None:
        return True
    if _apart(pose, essential.model) < _SAME_BASIN:
        return False
    errors = EpipolarProblem(matches).errors(pose)
    return _truncated(errors, sampling.max_error) < _RIVAL * _truncated(essential.errors, sampling.max_error)


def _apart(one: RelativePose, other: RelativePose) -> float:
    """The larger of the chords that part two rotations and two directions, about radians."""
    turned = float(np.linalg.norm(one.rotation - other.rotation)) / math.sqrt(2.0)
    return max(turned, float(np.linalg.norm(one.direction - other.direction)))


def _fit_pose(matches: Matches, sampling: Sampling, start: RelativePose | None) -> Support[RelativePose] | None:
    """The pose near a start, without points that are behind a camera beyond the doubt that noise leaves."""
    problem: Problem[RelativePose] = EpipolarProblem(matches)
    fit = None if start is None else fit_support(problem, start, sampling.max_error, _LEAST)
    if fit is None:
        return None
    depths, sines = ray_depths(fit.model, matches.first.rays, matches.second.rays)
    doubt = np.sqrt((matches.first.jacobians**2).sum(axis=(1, 2)) + (matches.second.jacobians**2).sum(axis=(1, 2)))
    behind = (depths < 0.0).any(axis=1) & (sines > _PARALLAX_SIGMAS * fit.gate * doubt)
    errors = np.where(behind, np.inf, fit.errors)
    inliers = fit.inliers & ~behind
    return replace(fit, errors=errors, inliers=inliers) if int(inliers.sum()) >= _LEAST else None


def _without_essential(matches: Matches, sampling: Sampling, plane: Support[Homography]) -> Motion | None:
    if np.linalg.det(plane.model.matrix) > 0.0:
        turn = _fit_simple(matches, sampling, Rotation.nearest(plane.model.matrix), None)
        if turn is not None and turn.count >= plane.count:
            return _turned(turn)
    return _planar(matches, sampling, plane, None)


def _turned(turn: Support[Rotation]) -> Motion:
    return Motion(turn, None, None, turn.covariance, Degeneracy.PURE_ROTATION)


def _planar(
    matches: Matches, sampling: Sampling, plane: Support[Homography], essential: Support[RelativePose] | None
) -> Motion | None:
    """The pose of a planar scene, and the other one where nothing tells them apart."""
    rays = _inlier_rays(matches, plane)
    solutions = [
        solution
        for solution in decompose_homography(plane.model.matrix, rays)
        if float(((rays @ solution.normal) > 0.0).mean()) >= _PLANE_AHEAD
    ]
    if not solutions:
        return None
    if essential is not None:
        solutions.sort(key=lambda solution: _apart(solution.pose, essential.model))
    best = solutions[0]
    covariance = _planar_covariance(plane, best)
    if len(solutions) == 1:
        return Motion(plane, best.pose, None, covariance, Degeneracy.PLANAR)
    # Points on the plane fit both equally; whatever the matches hold beside it decides.
    fits = [_fit_pose(matches, sampling, solution.pose) for solution in solutions]
    costs = [np.inf if fit is None else _truncated(fit.errors, sampling.max_error) for fit in fits]
    unit = plane.noise**2 + _TELLING * plane.gate**2
    if costs[1] - costs[0] > _TELLING_LIKELIHOOD * unit:
        return Motion(plane, best.pose, None, covariance, Degeneracy.PLANAR)
    return Motion(plane, best.pose, solutions[1].pose, covariance, Degeneracy.PLANAR_AMBIGUOUS)


def _planar_covariance(plane: Support[Homography], solution: PlanarPose) -> Floats | None:
    if plane.covariance is None:
        return None
    # The eight unknowns of a planar pose are those of its homography, up to the scale of the matrix.
    matrix, tangents = solution.matrix, solution.tangents.reshape(8, 9)
    size = float(np.linalg.norm(matrix))
    vector = matrix.reshape(9) / size
    sign = float(np.sign(vector @ plane.model.matrix.reshape(9)))
    along = sign * (tangents - np.outer(tangents @ vector, vector)) / size
    to_homography = plane.model.tangents.reshape(8, 9) @ along.T
    if np.linalg.cond(to_homography) > 1e12:
        return None
    back = np.linalg.inv(to_homography)
    return solution.pose_covariance(back @ plane.covariance @ back.T)


def _inlier_rays(matches: Matches, plane: Support[Homography]) -> Floats:
    return matches.first.rays[plane.inliers]


def _truncated(errors: Floats, largest: float) -> float:
    return float(np.minimum(errors**2, largest**2).sum())
