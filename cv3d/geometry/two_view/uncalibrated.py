"""Two pictures of unknown cameras: fundamental matrix or homography, and focal lengths from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cv3d.geometry.robust_fit import Problem, Support, fit_support
from cv3d.geometry.two_view.chance import is_explained
from cv3d.geometry.two_view.decomposition import recover_pose
from cv3d.geometry.two_view.parameters import FocalPose, Fundamental, Homography
from cv3d.geometry.two_view.residuals import EpipolarProblem, Floats, HomographyProblem, Matches
from cv3d.geometry.two_view.result import FocalEstimate, TwoViewOptions, UnknownFocal
from cv3d.geometry.two_view.sampling import (
    Sampling,
    focals_of_fundamental,
    pose_of_fundamental,
    sample_homography,
    sample_shared_focal,
)
from cv3d.geometry.two_view.simpler import fit_simpler

_FOCAL_STARTS = (0.7, 1.2, 2.5)
"""Focal lengths over the rays' unit (about half a picture's diagonal) to start from where the matrix gives none."""
_WORSE = 1.1
"""Noise over that of the fundamental matrix from which on a pinhole pose does not explain the matches."""
_POSE_UNKNOWNS = 5
_LEAST = 8
_LEAST_PLANAR = 6
"""Fewest inliers: a model that leaves no residual says nothing."""
_SAME_POSE = 1e-6


@dataclass(frozen=True, eq=False)
class UncalibratedMotion:
    """What the matches of two unknown cameras say."""

    support: Support[Fundamental] | Support[Homography]
    is_homography: bool


@dataclass(frozen=True, eq=False)
class FocalMotion:
    """A relative pose found together with focal lengths."""

    support: Support[FocalPose]
    estimate: FocalEstimate
    covariance: Floats
    """Of the pose's tangent, (5, 5)."""


def relate_by_homography(matches: Matches, pool: Matches, sampling: Sampling) -> UncalibratedMotion | None:
    """The homography that explains most matches, sampled among `pool`; None where nothing is supported."""
    start = sample_homography(pool, sampling)
    problem: Problem[Homography] = HomographyProblem(matches)
    plane = None if start is None else fit_support(problem, start, sampling.max_error, _LEAST_PLANAR)
    return UncalibratedMotion(plane, True) if plane else None


def relate_uncalibrated(
    matches: Matches, pool: Matches, sampling: Sampling, chance: float, start: Fundamental | None
) -> UncalibratedMotion | None:
    """The simplest model that explains matches of unknown cameras.

    Args:
        matches: homogeneous rays of n matches.
        pool: those of them to draw samples from.
        sampling: how to sample them.
        chance: probability that a random match agrees with an epipolar geometry.
        start: a fundamental matrix from sample consensus; None where it found none.

    Returns:
        A homography where it explains all that a fundamental matrix does; None where nothing is supported.
    """
    epipolar: Problem[Fundamental] = EpipolarProblem(matches)
    general = None if start is None else fit_support(epipolar, start, sampling.max_error, _LEAST)
    start_plane = sample_homography(pool, sampling)
    planar: Problem[Homography] = HomographyProblem(matches)
    plane = start_plane and fit_simpler(planar, start_plane, general, sampling.max_error, _LEAST_PLANAR)
    if plane and (general is None or is_explained(plane, general, sampling.max_error, chance)):
        return UncalibratedMotion(plane, True)
    return UncalibratedMotion(general, False) if general else None


def find_focal(
    matches: Matches, sampling: Sampling, general: Support[Fundamental], options: TwoViewOptions
) -> FocalMotion | str:
    """Focal lengths and pose of two pinhole cameras from their matches.

    Args:
        matches: homogeneous rays relative to the principal points.
        sampling: how to sample them.
        general: the fundamental matrix that explains them.
        options: which focal lengths are unknown, and how well they must be determined.

    Returns:
        The estimate, or the reason why there is none.
    """
    shared = options.unknown_focal is UnknownFocal.SHARED
    starts = _shared_starts(matches, sampling, general) if shared else _separate_starts(matches, general)
    fits = [fit_support(EpipolarProblem(matches), start, sampling.max_error, _LEAST) for start in starts]
    fit = min((found for found in fits if found is not None), key=lambda found: _cost(found, sampling), default=None)
    fit = fit and _facing(matches, sampling, fit)
    if fit is None or fit.count < 0.9 * general.count or fit.noise > _WORSE * general.noise + 0.02 * sampling.max_error:
        return "no focal length explains the matches: lens distortion, or another principal point"
    if fit.covariance is None:
        return "the motion does not determine the focal length: the optical axes meet or are parallel"
    spread = np.sqrt(np.diag(fit.covariance)[_POSE_UNKNOWNS:])
    if not np.isfinite(spread).all() or float(spread.max()) > options.max_focal_deviation:
        return (
            f"the focal length is uncertain by {100.0 * float(spread.max()):.0f} %: "
            "the optical axes nearly meet or are parallel, or there is too little parallax"
        )
    focals = (fit.model.focals[0] * sampling.scales[0], fit.model.focals[1] * sampling.scales[1])
    estimate = FocalEstimate(
        focals,
        (focals[0] * float(spread[0]), focals[1] * float(spread[-1])),
        fit.covariance[_POSE_UNKNOWNS:, _POSE_UNKNOWNS:],
    )
    return FocalMotion(fit, estimate, fit.covariance[:_POSE_UNKNOWNS, :_POSE_UNKNOWNS])


def _shared_starts(matches: Matches, sampling: Sampling, general: Support[Fundamental]) -> list[FocalPose]:
    sampled = sample_shared_focal(matches, sampling)
    guessed = [_guess(matches, general, (focal, focal)) for focal in _FOCAL_STARTS]
    return [replace(start, shared=True) for start in ([sampled] if sampled else []) + guessed]


def _separate_starts(matches: Matches, general: Support[Fundamental]) -> list[FocalPose]:
    direct = focals_of_fundamental(general.model.matrix)
    pairs = ([direct] if direct else []) + [(focal, focal) for focal in _FOCAL_STARTS]
    return [_guess(matches, general, pair) for pair in pairs]


def _guess(matches: Matches, general: Support[Fundamental], focals: tuple[float, float]) -> FocalPose:
    return pose_of_fundamental(general.model.matrix, focals, matches[general.inliers])


def _facing(matches: Matches, sampling: Sampling, fit: Support[FocalPose]) -> Support[FocalPose] | None:
    """The fit with most points in front of the cameras: four poses share an essential matrix."""
    scales = [np.array([focal, focal, 1.0]) for focal in fit.model.focals]
    rays0, rays1 = matches.first.rays[fit.inliers] / scales[0], matches.second.rays[fit.inliers] / scales[1]
    pose = recover_pose(fit.model.pose.matrix, rays0, rays1)
    if float(np.abs(pose.as_matrix() - fit.model.pose.as_matrix()).max()) < _SAME_POSE:
        return fit
    return fit_support(EpipolarProblem(matches), replace(fit.model, pose=pose), sampling.max_error, _LEAST)


def _cost(fit: Support[FocalPose], sampling: Sampling) -> float:
    return float(np.minimum(fit.errors**2, sampling.max_error**2).sum())
