"""Two pictures and their matches: which model relates them, and what it says about the cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.pixel_rays import PixelRays, homogeneous_rays, pixel_rays, pixels_per_radian
from cv3d.geometry.robust_fit import Movable, Support
from cv3d.geometry.sample_consensus import log10_false_alarms
from cv3d.geometry.two_view.calibrated import Motion, relate_calibrated
from cv3d.geometry.two_view.chance import chance_of_inlier, distinct_matches, extents_of, support_false_alarms
from cv3d.geometry.two_view.parameters import Fundamental, Homography, RelativePose
from cv3d.geometry.two_view.residuals import Bools, EpipolarProblem, Floats, Matches
from cv3d.geometry.two_view.result import Degeneracy, FocalEstimate, ModelKind, TwoView, TwoViewOptions
from cv3d.geometry.two_view.sampling import Sampling, sample_essential, sample_fundamental
from cv3d.geometry.two_view.uncalibrated import (
    FocalMotion,
    UncalibratedMotion,
    find_focal,
    relate_by_homography,
    relate_uncalibrated,
)

_SAME_PIXEL = 0.5
"""Median displacement below which two pictures are the same, pixels."""
_ROTATION_SAMPLE = 2
_LEAST_CALIBRATED = 6
"""Fewest matches; of a homography too."""
_LEAST_UNCALIBRATED = 8

_UNRELATED = "the matches agree no better than those of unrelated pictures"

_SENTENCES = {
    Degeneracy.NONE: "",
    Degeneracy.NO_MOTION: "the pictures were taken from the same place: they show no motion",
    Degeneracy.PURE_ROTATION: "a rotation explains all matches: there is no parallax to tell the translation from",
    Degeneracy.PLANAR: "all matches are on one plane",
    Degeneracy.PLANAR_AMBIGUOUS: "all matches are on one plane, and two poses explain them equally well",
    Degeneracy.PLANAR_OR_ROTATION: "a homography explains all matches: one plane, or no parallax",
}


def estimate_two_view(
    points0: Floats,
    points1: Floats,
    camera0: Camera | None = None,
    camera1: Camera | None = None,
    options: TwoViewOptions | None = None,
    *,
    sigma0: Floats | None = None,
    sigma1: Floats | None = None,
    likely: Bools | None = None,
) -> TwoView:
    """Relate two pictures by their matches.

    Known cameras give an essential matrix, or a homography where the points are on a plane or the camera only turned;
    unknown ones a fundamental matrix or a homography. A sample consensus finds the model, which is then refined to the
    maximum of the likelihood: first-order reprojection errors through the lens, robust loss.

    Args:
        points0: keypoints in the first picture, (n, 2), pixels.
        points1: the matching keypoints in the second picture, (n, 2), pixels.
        camera0: the first picture's camera; where either is None both count as unknown.
        camera1: the second picture's camera.
        options: thresholds, seed, and which focal lengths to estimate.
        sigma0: noise of one coordinate of each first keypoint, (n,), pixels; its scale is found from the matches, only
            the proportions count. None: all alike.
        sigma1: the same of the second keypoints.
        likely: matches to draw samples from, (n,), such as those of :func:`locally_consistent`; support is counted
            among all. None draws from all, and so do fewer than twice the matches that a sample needs.

    Returns:
        The geometry. Pairs that cannot be related have `model` none and a reason; nothing is raised for them.

    Raises:
        ValueError: shapes that do not match, or noise that is not positive.
    """
    options = options or TwoViewOptions()
    points0, points1 = np.asarray(points0, dtype=np.float64), np.asarray(points1, dtype=np.float64)
    if points0.ndim != 2 or points0.shape[1:] != (2,) or points0.shape != points1.shape:
        raise ValueError(f"matches are two arrays (n, 2) of equal length, got {points0.shape} and {points1.shape}")
    if likely is not None and likely.shape != points0.shape[:1]:
        raise ValueError(f"likely matches are a mask ({len(points0)},), got {likely.shape}")
    noise0, noise1 = _relative_noise(len(points0), sigma0, sigma1)
    setting = None if options.only_homography else _calibrated_rays(points0, points1, camera0, camera1)
    if setting is None:
        setting = _homogeneous_rays(points0, points1, options)
    least = _LEAST_CALIBRATED if setting.calibrated or options.only_homography else _LEAST_UNCALIBRATED
    usable = setting.first.valid & setting.second.valid
    count = int(usable.sum())
    if count < least:
        return _nothing(usable, Degeneracy.TOO_FEW, f"{count} usable matches; at least {least} are needed", options)
    matches = Matches(setting.first[usable], setting.second[usable], noise0[usable], noise1[usable])
    seen = points0[usable], points1[usable]
    sampling = Sampling(options.max_error, options.seed, options.max_samples, setting.scales)
    chance = chance_of_inlier(options.max_error, 1, extents_of(*seen))
    pool = matches
    if likely is not None and int(likely[usable].sum()) >= 2 * least:
        pool = matches[likely[usable]]
    alarms = -math.inf
    outcome: _Outcome | None = None
    if options.only_homography:
        planar = relate_by_homography(matches, pool, sampling)
        outcome = None if planar is None else _of_uncalibrated(planar, matches, setting, sampling, options)
    elif setting.calibrated:
        pose = sample_essential(pool, sampling)
        alarms = _sampled_false_alarms(pose, matches, seen, options, 10)
        if alarms <= options.give_up_above:
            motion = relate_calibrated(matches, sampling, chance, pose)
            outcome = None if motion is None else _of_motion(motion, matches, seen)
    else:
        general = sample_fundamental(pool, sampling)
        alarms = _sampled_false_alarms(general, matches, seen, options, 3)
        if alarms <= options.give_up_above:
            related = relate_uncalibrated(matches, pool, sampling, chance, general)
            outcome = None if related is None else _of_uncalibrated(related, matches, setting, sampling, options)
    if alarms > options.give_up_above:
        return _nothing(usable, Degeneracy.NO_SUPPORT, _UNRELATED, options, alarms)
    if outcome is None:
        return _nothing(usable, Degeneracy.NO_SUPPORT, "no model is supported by enough matches", options)
    return _assembled(outcome, usable, seen, options)


def _sampled_false_alarms(
    start: RelativePose | Fundamental | None,
    matches: Matches,
    seen: tuple[Floats, Floats],
    options: TwoViewOptions,
    models: int,
) -> float:
    """Logarithm of the number of epipolar geometries as good as a sampled one among random matches.

    Not looked at, and minus infinity, where no bound is set.
    """
    if math.isinf(options.give_up_above):
        return -math.inf
    if start is None:
        return math.inf
    agreeing = EpipolarProblem(matches).errors(start) <= options.max_error
    count = distinct_matches(seen[0][agreeing], seen[1][agreeing], options.max_error)
    probability = chance_of_inlier(options.max_error, 1, extents_of(*seen))
    sample_size = 5 if isinstance(start, RelativePose) else 7
    return log10_false_alarms(count, len(matches), sample_size, probability, models)


@dataclass(frozen=True, eq=False)
class _Setting:
    """Rays of all matches, usable or not."""

    first: PixelRays
    second: PixelRays
    scales: tuple[float, float]
    calibrated: bool
    pixel_maps: tuple[Floats, Floats] | None = None
    """Matrices that carry homogeneous pixels to the rays."""


@dataclass(frozen=True, eq=False)
class _Outcome:
    """Everything about the usable matches."""

    model: ModelKind
    matrix: Floats
    support: Support[Movable]
    sample_size: int
    degeneracy: Degeneracy
    pose: Floats | None = None
    rotation: Floats | None = None
    alternative: Floats | None = None
    covariance: Floats | None = None
    parallax: float = math.nan
    focal: FocalEstimate | None = None
    focal_failure: str = ""


def _calibrated_rays(
    points0: Floats, points1: Floats, camera0: Camera | None, camera1: Camera | None
) -> _Setting | None:
    if camera0 is None or camera1 is None:
        return None
    scales = (pixels_per_radian(camera0), pixels_per_radian(camera1))
    return _Setting(pixel_rays(camera0, points0), pixel_rays(camera1, points1), scales, True)


def _homogeneous_rays(points0: Floats, points1: Floats, options: TwoViewOptions) -> _Setting:
    rays, maps, scales = [], [], []
    for index, points in enumerate((points0, points1)):
        finite = points[np.isfinite(points).all(axis=1)]
        points_or_origin = finite if len(finite) else np.zeros((1, 2))
        given = options.principal_points
        centre = np.array(given[index]) if given else points_or_origin.mean(axis=0)
        scale = max(float(np.sqrt(((points_or_origin - centre) ** 2).sum(axis=1).mean())), 1.0)
        rays.append(homogeneous_rays(points, centre, scale))
        maps.append(np.array([[1.0, 0.0, -centre[0]], [0.0, 1.0, -centre[1]], [0.0, 0.0, scale]]) / scale)
        scales.append(scale)
    return _Setting(rays[0], rays[1], (scales[0], scales[1]), False, (maps[0], maps[1]))


def _relative_noise(count: int, sigma0: Floats | None, sigma1: Floats | None) -> tuple[Floats, Floats]:
    """Noise of the keypoints over its root mean square, (n,) each."""
    both = []
    for sigma in (sigma0, sigma1):
        noise = np.ones(count) if sigma is None else np.asarray(sigma, dtype=np.float64)
        if noise.shape != (count,) or not (np.isfinite(noise).all() and (noise > 0.0).all()):
            raise ValueError(f"noise of {count} keypoints is an array ({count},) of positive numbers")
        both.append(noise)
    if sigma0 is None or sigma1 is None:
        # One given alone says how its own points compare with each other, not with the other picture's.
        both = [noise / max(_rms(noise), np.finfo(np.float64).tiny) for noise in both]
    typical = max(_rms(np.concatenate(both)), np.finfo(np.float64).tiny)
    return both[0] / typical, both[1] / typical


def _of_motion(motion: Motion, matches: Matches, seen: tuple[Floats, Floats]) -> _Outcome:
    support, degeneracy = motion.support, motion.degeneracy
    is_essential = degeneracy is Degeneracy.NONE
    if motion.pose is None:
        rotation = support.model.matrix
        moved = np.linalg.norm(seen[1] - seen[0], axis=1)[support.inliers]
        degeneracy = Degeneracy.NO_MOTION if float(np.median(moved)) < _SAME_PIXEL else degeneracy
    else:
        rotation = motion.pose.rotation
    return _Outcome(
        model=ModelKind.ESSENTIAL if is_essential else ModelKind.HOMOGRAPHY,
        matrix=support.model.matrix,
        support=support,
        sample_size=5 if is_essential else 4 if motion.pose is not None else _ROTATION_SAMPLE,
        degeneracy=degeneracy,
        pose=motion.pose.as_matrix() if motion.pose else None,
        rotation=rotation,
        alternative=motion.alternative.as_matrix() if motion.alternative else None,
        covariance=motion.covariance,
        parallax=_median_parallax(matches[support.inliers], rotation),
    )


def _of_uncalibrated(
    motion: UncalibratedMotion, matches: Matches, setting: _Setting, sampling: Sampling, options: TwoViewOptions
) -> _Outcome:
    support = motion.support
    first, second = setting.pixel_maps or (np.eye(3), np.eye(3))
    if isinstance(support.model, Homography):
        pixels = np.linalg.inv(second) @ support.model.matrix @ first
        failure = "a homography explains all matches and leaves the focal length open" if options.unknown_focal else ""
        kind, degeneracy = ModelKind.HOMOGRAPHY, Degeneracy.PLANAR_OR_ROTATION
        return _Outcome(kind, pixels / np.linalg.norm(pixels), support, 4, degeneracy, focal_failure=failure)
    focal = find_focal(matches, sampling, support, options) if options.unknown_focal else ""
    pixels = second.T @ support.model.matrix @ first
    matrix = pixels / np.linalg.norm(pixels)
    if not isinstance(focal, FocalMotion):
        return _Outcome(ModelKind.FUNDAMENTAL, matrix, support, 7, Degeneracy.NONE, focal_failure=focal)
    model = focal.support.model
    pixels = second.T @ model.matrix @ first
    inlying = matches[focal.support.inliers]
    return _Outcome(
        ModelKind.FUNDAMENTAL,
        pixels / np.linalg.norm(pixels),
        focal.support,
        7,
        Degeneracy.NONE,
        pose=model.pose.as_matrix(),
        rotation=model.pose.rotation,
        covariance=focal.covariance,
        parallax=_median_parallax(inlying, model.pose.rotation, model.focals),
        focal=focal.estimate,
    )


def _assembled(outcome: _Outcome, usable: Bools, seen: tuple[Floats, Floats], options: TwoViewOptions) -> TwoView:
    support = outcome.support
    if outcome.sample_size > _ROTATION_SAMPLE and _on_a_line(seen, support):
        return _nothing(usable, Degeneracy.COLLINEAR, "all matches are on one line", options)
    models = 10 if outcome.model is ModelKind.ESSENTIAL else 3 if outcome.model is ModelKind.FUNDAMENTAL else 1
    alarms = support_false_alarms(support, *seen, outcome.sample_size, models)
    distinct = distinct_matches(seen[0][support.inliers], seen[1][support.inliers], support.gate)
    is_chance = alarms > math.log10(options.max_false_alarms)
    degeneracy, reason = outcome.degeneracy, _SENTENCES[outcome.degeneracy]
    if is_chance:
        degeneracy = Degeneracy.NO_SUPPORT
        reason = f"{support.count} of {len(support.inliers)} matches agree, which chance explains"
        if not options.keep_unsupported:
            return _nothing(usable, degeneracy, reason, options, alarms)
    elif distinct < options.min_inliers:
        few = f"{distinct} distinct inliers; a verified pair has {options.min_inliers}"
        reason = f"{few}; {reason}" if reason else few
    errors = np.full(len(usable), np.inf)
    inliers = np.zeros(len(usable), dtype=bool)
    errors[usable], inliers[usable] = support.errors, support.inliers
    return TwoView(
        model=outcome.model,
        matrix=outcome.matrix,
        inliers=inliers,
        errors=errors,
        cam1_from_cam0=outcome.pose,
        rotation=outcome.rotation,
        alternative=outcome.alternative,
        covariance=outcome.covariance,
        focal=outcome.focal,
        focal_failure=outcome.focal_failure,
        parallax=outcome.parallax,
        rms=support.rms,
        noise=support.noise,
        log10_false_alarms=alarms,
        verified=not is_chance and distinct >= options.min_inliers,
        degeneracy=degeneracy,
        reason=reason,
        seed=options.seed,
    )


def _on_a_line(seen: tuple[Floats, Floats], support: Support[Movable]) -> bool:
    """Whether the inliers of a picture scatter about a line no wider than the gate."""
    widths = [np.linalg.eigvalsh(np.cov(points[support.inliers].T))[0] for points in seen]
    return math.sqrt(max(float(min(widths)), 0.0)) < support.gate


def _nothing(
    usable: Bools, degeneracy: Degeneracy, reason: str, options: TwoViewOptions, alarms: float = math.inf
) -> TwoView:
    return TwoView(
        model=ModelKind.NONE,
        matrix=None,
        inliers=np.zeros(len(usable), dtype=bool),
        errors=np.full(len(usable), np.inf),
        cam1_from_cam0=None,
        rotation=None,
        alternative=None,
        covariance=None,
        focal=None,
        focal_failure=reason if options.unknown_focal else "",
        parallax=math.nan,
        rms=math.nan,
        noise=math.nan,
        log10_false_alarms=alarms,
        verified=False,
        degeneracy=degeneracy,
        reason=reason,
        seed=options.seed,
    )


def _median_parallax(matches: Matches, rotation: Floats, focals: tuple[float, float] = (1.0, 1.0)) -> float:
    first, second = matches.first.rays, matches.second.rays
    first, second = (rays / np.array([focal, focal, 1.0]) for rays, focal in zip((first, second), focals, strict=True))
    turned = first @ rotation.T
    sine = np.linalg.norm(np.cross(turned, second), axis=1)
    return float(np.median(np.arctan2(sine, (turned * second).sum(axis=1))))


def _rms(values: Floats) -> float:
    return math.sqrt(float((values**2).mean())) if len(values) else 0.0
