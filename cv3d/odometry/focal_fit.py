"""The focal length that key frames agree with best: their bundle adjustment with the camera set free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError, InputError
from cv3d.geometry.bundle import (
    BundleOptions,
    BundleProblem,
    BundleResult,
    FreeIntrinsics,
    GaussianPrior,
    Observations,
    Views,
    adjust_bundle,
    bundle_covariance,
)
from cv3d.geometry.cameras import Camera
from cv3d.geometry.robust import Loss, LossKind
from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.points import PointTable
from cv3d.odometry.window import gather

Floats = NDArray[np.float64]

_LOSS = Loss(LossKind.CAUCHY, 2.0)
_ITERATIONS = 80
_ANYTHING = 10.0
"""Deviation of the prior on a focal length over it: none to speak of, but the problem stays solvable."""
_CENTRE = 0.01
"""How far principal points lie from the middle, over the picture's longer side."""
_RADIAL = 0.1
"""Deviation of the radial terms of ordinary lenses."""
_GAIN = 0.95
"""Cost with a radial term over that without, above which the term is left out: small gains are other errors' work."""
_SURE = 5.0
"""Deviations by which a radial term has to differ from 0."""
_UNMODELLED = 0.012
"""What a rolling shutter and the terms of a lens that are left out do to a focal length, over it."""
_VAGUE = 0.1
"""Relative deviation of a half of the key frames from which on it says nothing of the other."""
_NARROW, _WIDE = "brown4", "kannala_brandt4"
"""Models whose radial term is set free; the second is tried where the first shows a strongly bent picture."""
_WIDENED = (1.0, 0.7)
"""Focal lengths of the second over that of the first to begin from."""
_FEWEST_KEYS = 3
_FEWEST_OBSERVATIONS = 100


@dataclass(frozen=True, eq=False)
class FocalFit:
    """A camera that fits key frames."""

    camera: Camera
    deviation: float
    """Of the focal length fx, pixels; infinite where nothing is said of it. It counts with the noise of the pixels, as
    much larger as the two halves of the key frames disagree, and with what the model of the camera leaves out."""
    cost: float
    """Robust cost per observation."""
    observations: int

    @property
    def focal(self) -> float:
        """fx, pixels."""
        return self.camera.params[0]


def free_camera(camera: Camera) -> Camera:
    """A pinhole camera in the form whose radial term can be set free; the others are there already.

    Args:
        camera: a pinhole camera, or one of model `brown4` or `kannala_brandt4`.
    """
    if camera.model in (_NARROW, _WIDE):
        return camera
    return Camera(_NARROW, camera.width, camera.height, (*camera.params[:4], 0.0, 0.0, 0.0, 0.0))


def fit_focal(keys: Sequence[Key], points: PointTable, camera: Camera, starts: Sequence[float]) -> FocalFit | None:
    """Find the focal length of an uncalibrated camera, and a radial term where it explains a good part of the errors.

    Its deviation also counts with a principal point and a radial term that are not quite what is assumed of them.

    Args:
        keys: key frames of one segment.
        points: the map.
        camera: of the tracked pictures, as it was assumed: a pinhole, `brown4` or `kannala_brandt4`.
        starts: factors on its focal length to begin from; the lowest minimum is taken.

    Returns:
        The fit; None where there is too little to fit to.
    """
    problem = _problem(keys, points, free_camera(camera))
    if problem is None:
        return None
    plain = min((_adjusted(_zoomed(_undistorted(problem), start), ()) for start in starts), key=_cost)
    chosen = plain
    if problem.cameras[0].shape[0] != 0.0:
        radial = _adjusted(problem, ("k1",))
    else:
        radial = _adjusted(plain.as_problem(), ("k1",))
    if _cost(radial) < _GAIN * _cost(plain) and abs(radial.cameras[0].params[4]) > _SURE * _deviation(radial, 4):
        chosen = radial
        if problem.cameras[0].model == _NARROW:
            wide = min((_adjusted(_widened(radial.as_problem(), factor), ("k1",)) for factor in _WIDENED), key=_cost)
            chosen = wide if _cost(wide) < _GAIN * _cost(radial) else radial
    uncertain = _adjusted(chosen.as_problem(), ("cx", "cy", "k1"))
    return _fit(chosen, uncertain)


def refit_focal(keys: Sequence[Key], points: PointTable, camera: Camera) -> FocalFit | None:
    """Let the focal length of a calibrated camera go; the rest of its calibration is taken to be right.

    Args:
        keys: key frames of one segment.
        points: the map.
        camera: of the tracked pictures.
    """
    problem = _problem(keys, points, camera)
    if problem is None:
        return None
    found = _adjusted(problem, ())
    return _fit(found, found)


def _problem(keys: Sequence[Key], points: PointTable, camera: Camera) -> BundleProblem | None:
    """What pictures alone say: depths have a calibration of their own."""
    if len(keys) < _FEWEST_KEYS:
        return None
    seen = [replace(key, depth=np.zeros(len(key.rows))) for key in keys]
    job = gather(seen, [i == 0 for i in range(len(keys))], points, camera)
    if job is None or len(job.problem.observations) < _FEWEST_OBSERVATIONS:
        return None
    return _held(job.problem)


def _held(problem: BundleProblem) -> BundleProblem:
    """The same with its first pose held, and those from which nothing is seen."""
    seen = np.bincount(problem.observations.view, minlength=len(problem.poses))
    return replace(problem, held_poses=(seen == 0) | (np.arange(len(seen)) == 0))


def _undistorted(problem: BundleProblem) -> BundleProblem:
    """The same with a lens without radial terms."""
    camera = problem.cameras[0]
    return replace(problem, cameras=(camera.with_params((*camera.params[:4], *(0.0 for _ in camera.shape))),))


def _widened(problem: BundleProblem, factor: float) -> BundleProblem:
    """The same with an equidistant fisheye."""
    camera = problem.cameras[0]
    fx, fy, cx, cy = camera.params[:4]
    wide = Camera(_WIDE, camera.width, camera.height, (factor * fx, factor * fy, cx, cy, 0.0, 0.0, 0.0, 0.0))
    return replace(problem, cameras=(wide,))


def _cost(found: BundleResult) -> float:
    """Of an observation."""
    return found.final_cost / max(int(found.used.sum()), 1)


def _zoomed(problem: BundleProblem, factor: float) -> BundleProblem:
    """The same with another focal length."""
    camera = problem.cameras[0]
    fx, fy = camera.params[:2]
    return replace(problem, cameras=(camera.with_params((factor * fx, factor * fy, *camera.params[2:])),))


def _adjusted(problem: BundleProblem, others: tuple[str, ...]) -> BundleResult:
    """Adjust everything, the focal length and other named parameters of the lens with it."""
    camera = problem.cameras[0]
    side = max(camera.width, camera.height)
    spreads = {"cx": _CENTRE * side, "cy": _CENTRE * side, "k1": _RADIAL}
    spread = np.array([_ANYTHING * camera.params[0], *(spreads[name] for name in others)])
    prior = GaussianPrior.on_camera(0, _ordinary(camera), np.diag(spread**2))
    free = FreeIntrinsics(("fx", "fy", *others), one_focal=True)
    options = BundleOptions(loss=_LOSS, max_iterations=_ITERATIONS, threads=1)
    return adjust_bundle(replace(problem, free_intrinsics=(free,), priors=(prior,)), options)


def _ordinary(camera: Camera) -> tuple[float, ...]:
    """Where the priors have their middle."""
    centre = ((camera.width - 1) / 2.0, (camera.height - 1) / 2.0)
    return (*camera.params[:2], *centre, *(0.0 for _ in camera.shape))


def _deviation(found: BundleResult, parameter: int) -> float:
    """Of one parameter of the camera; infinite where the pictures do not tell."""
    centres = np.stack([inverse(pose)[:3, 3] for pose in found.poses])
    is_seen = np.bincount(found.problem.observations.view, minlength=len(centres)) > 0
    farthest = int(np.where(is_seen, np.linalg.norm(centres - centres[0], axis=1), -1.0).argmax())
    # Residuals are smaller than errors by as many as there are unknowns: a point seen twice fits nearly always.
    measured = 2 * int(found.used.sum())
    left_over = measured - 3 * len(found.points) - 6 * len(found.poses)
    variance = max(found.noise, 1e-3) ** 2 * measured / max(left_over, 1)
    try:
        covariance = bundle_covariance(found, (0, farthest), variance)
    except (EstimationError, InputError):
        return math.inf
    return math.sqrt(float(covariance.intrinsics[0][parameter, parameter]))


def _fit(found: BundleResult, uncertain: BundleResult) -> FocalFit:
    """A result, its noise being that of another with more unknowns."""
    camera, count = found.cameras[0], int(found.used.sum())
    noise = _deviation(uncertain, 0)
    deviation = math.hypot(noise * _disagreement(found), _UNMODELLED * camera.params[0])
    return FocalFit(camera, deviation, _cost(found), count)


def _disagreement(found: BundleResult) -> float:
    """What the halves of the key frames differ by over what noise explains, at least 1: Birge's ratio.

    Errors that last, such as those of a bent picture, are not in the noise of single points.
    """
    problem, half = found.as_problem(), len(found.poses) // 2
    focals, variances = [], []
    for first, last in ((0, half), (half, len(found.poses))):
        part = _part(problem, first, last)
        if part is None:
            return 1.0
        adjusted = _adjusted(part, ())
        focal, deviation = adjusted.cameras[0].params[0], _deviation(adjusted, 0)
        if deviation > _VAGUE * focal:
            return 1.0
        focals.append(focal)
        variances.append(deviation**2)
    return max(1.0, abs(focals[1] - focals[0]) / math.sqrt(sum(variances)))


def _part(problem: BundleProblem, first: int, last: int) -> BundleProblem | None:
    """What some poses in a row see; None where that is too little."""
    seen = problem.observations
    kept = (seen.view >= first) & (seen.view < last)
    kept &= np.bincount(seen.point[kept], minlength=len(problem.points))[seen.point] >= 2
    if last - first < _FEWEST_KEYS or int(kept.sum()) < _FEWEST_OBSERVATIONS or seen.covariance is None:
        return None
    points, index = np.unique(seen.point[kept], return_inverse=True)
    observations = Observations(
        seen.pixels[kept], seen.view[kept] - first, index.astype(np.intp), covariance=seen.covariance[kept]
    )
    part = replace(
        problem,
        poses=problem.poses[first:last],
        points=problem.points[points],
        views=Views.one_per_pose(last - first),
        observations=observations,
        held_poses=None,
    )
    return _held(part)
