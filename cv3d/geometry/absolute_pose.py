"""Where a camera stands, from points of known place in its picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import poselib
import torch
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.pixel_rays import PixelRays, cross_matrix, pixel_rays, pixels_per_radian
from cv3d.geometry.robust_fit import Problem, Support, fit_support
from cv3d.geometry.sample_consensus import log10_false_alarms, sample_consensus
from cv3d.geometry.transforms import SE3

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_PLANE_COSINE = float(np.cos(np.radians(65.0)))
"""Rays further off the axis are sampled as rays; on an image plane their noise would be stretched."""
_LEAST = 4
_LEAST_WITH_FOCAL = 5
_MAX_FOCAL_RATIO = 20.0
"""Largest ratio of a sampled focal length to the picture's longer side, and of that to it."""
_COLLINEAR = 1e-9
_COPLANAR = 1e-6
"""Variance of points across a plane, over that along it, at which four of them no longer give a focal length."""
_FOCAL_RATIOS = (0.4, 0.6, 0.9, 1.3, 2.0, 3.0, 5.0)
"""Focal lengths tried over the picture's longer side."""
_FOCAL_SLACK = 3.0


@dataclass(frozen=True)
class AbsolutePoseOptions:
    """How a camera is placed."""

    max_error: float = 4.0
    """Largest reprojection error of an inlier in one coordinate, pixels; the pair of both is given the same chance."""
    min_inliers: int = 12
    """Fewest inliers of a verified pose."""
    max_false_alarms: float = 1e-3
    """Poses of unrelated points that may pass as verified, per picture."""
    max_samples: int = 10_000
    """Largest number of random samples."""
    unknown_focal: bool = False
    """Whether to estimate the focal length; the camera's other parameters and the ratio fx : fy are kept."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.max_error > 0.0 and self.max_false_alarms > 0.0) or self.max_samples < 1 or self.min_inliers < 0:
            raise ValueError("max_error, max_false_alarms and max_samples must be positive, min_inliers not negative")


@dataclass(frozen=True, eq=False)
class AbsolutePose:
    """A camera's place."""

    cam_from_world: Floats | None
    """(4, 4); None where no pose is supported."""
    camera: Camera
    """The camera given, with the estimated focal length where that was unknown."""
    covariance: Floats | None
    """Covariance (6, 6) of x = [rho, phi] in exp(x) cam_from_world: translation, then rotation vector in radians, in
    the camera's frame; from the inliers' own scatter. None where they do not determine the pose."""
    focal_deviation: float
    """Standard deviation of the estimated focal length fx, pixels; NaN where it was given."""
    inliers: Bools
    """(n,)."""
    errors: Floats
    """Reprojection errors of all points, (n,), pixels; infinite behind the camera. Points with larger noise than the
    typical one are counted closer in proportion."""
    rms: float
    """Root mean square reprojection error of the inliers, pixels; NaN without any."""
    noise: float
    """Standard deviation of one coordinate of a typical inlier, pixels; NaN without any."""
    verified: bool
    """Whether there are enough inliers, and more than chance explains."""
    reason: str
    """Why it is not verified; else empty."""
    seed: int
    """Seed of the random samples."""

    @property
    def inlier_count(self) -> int:
        """Number of inliers."""
        return int(self.inliers.sum())


@dataclass(frozen=True, eq=False)
class CameraPlace:
    """A pose with the logarithm of a focal factor. Tangent: [rho, phi] of exp(x) cam_from_world, then the factor's."""

    cam_from_world: Floats
    """(4, 4)."""
    log_focal: float = 0.0
    """Logarithm of the focal length over the given camera's."""
    free_focal: bool = False
    """Whether the focal length is unknown."""

    @property
    def unknowns(self) -> int:
        """Six, or seven with the focal length."""
        return 7 if self.free_focal else 6

    def moved(self, step: Floats) -> CameraPlace:
        """The place after a tangent step, (6,) or (7,)."""
        motion = SE3.exp(torch.from_numpy(np.ascontiguousarray(step[:6]))).as_matrix().numpy()
        grown = self.log_focal + float(step[6]) if self.free_focal else self.log_focal
        return replace(self, cam_from_world=motion @ self.cam_from_world, log_focal=grown)


@dataclass(frozen=True, eq=False)
class ReprojectionProblem:
    """Points of known place and their pixels. Two residual components, pixels."""

    points: Floats
    """(n, 3)."""
    pixels: Floats
    """(n, 2)."""
    camera: Camera
    sigma: Floats
    """Noise over the typical noise, (n,)."""

    @property
    def dims(self) -> int:
        """Two."""
        return 2

    def errors(self, model: CameraPlace) -> Floats:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        params, seen = self._params(model), self._seen(model.cam_from_world, slice(None))
        lens = self.camera.lens
        off = lens.project(params, seen).numpy() - self.pixels
        norms = np.linalg.norm(off, axis=1) / self.sigma
        return np.where(lens.valid_points(params, seen).numpy(), norms, np.inf)

    def linearize(self, model: CameraPlace, chosen: Bools) -> tuple[Floats, Floats]:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        params, seen = self._params(model), self._seen(model.cam_from_world, chosen)
        pixels, by_point, by_param = (part.numpy() for part in self.camera.lens.project_with_jacobians(params, seen))
        parts = [by_point, -by_point @ cross_matrix(seen.numpy())]
        if model.free_focal:
            focal = params[:2].numpy()
            parts.append((by_param[:, :, 0] * focal[0] + by_param[:, :, 1] * focal[1])[:, :, None])
        sigma = self.sigma[chosen, None]
        return (pixels - self.pixels[chosen]) / sigma, np.concatenate(parts, axis=2) / sigma[..., None]

    def _params(self, model: CameraPlace) -> torch.Tensor:
        params = torch.tensor(self.camera.params, dtype=torch.float64)
        params[:2] *= math.exp(model.log_focal)
        return params

    def _seen(self, cam_from_world: Floats, chosen: Bools | slice) -> torch.Tensor:
        return torch.from_numpy(self.points[chosen] @ cam_from_world[:3, :3].T + cam_from_world[:3, 3])


@dataclass(frozen=True, eq=False)
class TangentProblem:
    """The same residuals with the lens linearised about each pixel: for sampling, where hundreds of poses are tried.

    A point is projected to the tangent plane of the unit sphere at its pixel's ray, and from there to pixels by the
    lens's derivative. Exact to first order; a point at right angles to the ray, or behind, is infinitely far off.
    """

    points: Floats
    """(n, 3)."""
    rays: Floats
    """Unit rays of the pixels, (n, 3)."""
    to_pixels: Floats
    """Derivatives of pixels by unit rays, over the noise, (n, 2, 3)."""

    @classmethod
    def near(cls, problem: ReprojectionProblem, seen: PixelRays) -> TangentProblem:
        """The linearised residuals of a problem whose pixels have the rays `seen`."""
        jacobians = seen.jacobians
        turned = np.swapaxes(jacobians, 1, 2)
        return cls(problem.points, seen.rays, np.linalg.inv(turned @ jacobians) @ turned / problem.sigma[:, None, None])

    @property
    def dims(self) -> int:
        """Two."""
        return 2

    def errors(self, model: CameraPlace) -> Floats:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        seen = self.points @ model.cam_from_world[:3, :3].T + model.cam_from_world[:3, 3]
        along = (seen * self.rays).sum(axis=1)
        ahead = along > 0.0
        off = (self.to_pixels @ seen[:, :, None])[..., 0] / np.where(ahead, along, 1.0)[:, None]
        return np.where(ahead, np.linalg.norm(off, axis=1), np.inf)

    def linearize(self, model: CameraPlace, chosen: Bools) -> tuple[Floats, Floats]:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        seen = self.points[chosen] @ model.cam_from_world[:3, :3].T + model.cam_from_world[:3, 3]
        rays, to_pixels = self.rays[chosen], self.to_pixels[chosen]
        along = (seen * rays).sum(axis=1)
        residuals = (to_pixels @ seen[:, :, None])[..., 0] / along[:, None]
        by_point = (to_pixels - residuals[:, :, None] * rays[:, None, :]) / along[:, None, None]
        return residuals, np.concatenate([by_point, -by_point @ cross_matrix(seen)], axis=2)


def estimate_absolute_pose(
    points: Floats,
    pixels: Floats,
    camera: Camera,
    options: AbsolutePoseOptions | None = None,
    sigma: Floats | None = None,
) -> AbsolutePose:
    """The pose of a camera that sees points of known place, some of them wrong.

    A sample consensus over minimal samples (three points, four with unknown focal length) is followed by the maximum of
    the likelihood: reprojection errors through the lens, robust loss.

    Args:
        points: places in the world, (n, 3).
        pixels: where they are seen, (n, 2).
        camera: any central camera; with `options.unknown_focal` its focal length is a mere start for the lens's shape.
        options: thresholds, seed, and whether the focal length is unknown.
        sigma: noise of one coordinate of each pixel, (n,), pixels; its scale is found from the data, only the
            proportions count. None: all alike.

    Returns:
        The pose with its inliers. Where there is none, `cam_from_world` is None and `reason` says why.

    Raises:
        ValueError: shapes that do not match, or noise that is not positive.
    """
    options = options or AbsolutePoseOptions()
    points, pixels = np.asarray(points, dtype=np.float64), np.asarray(pixels, dtype=np.float64)
    if points.ndim != 2 or points.shape[1:] != (3,) or pixels.shape != (len(points), 2):
        raise ValueError(f"absolute pose needs points (n, 3) and pixels (n, 2), got {points.shape} and {pixels.shape}")
    noise = np.ones(len(points)) if sigma is None else np.asarray(sigma, dtype=np.float64)
    if noise.shape != (len(points),) or not (np.isfinite(noise).all() and (noise > 0.0).all()):
        raise ValueError(f"noise of {len(points)} pixels is an array ({len(points)},) of positive numbers")
    noise = noise / math.sqrt(float((noise**2).mean())) if len(noise) else noise

    rays = pixel_rays(camera, pixels)
    seen = np.asarray(np.isfinite(pixels).all(axis=1)) if options.unknown_focal else rays.valid
    usable = np.asarray(np.isfinite(points).all(axis=1)) & seen
    least = _LEAST_WITH_FOCAL if options.unknown_focal else _LEAST
    count = int(usable.sum())
    if count < least:
        return _nothing(camera, usable, options, f"{count} usable points; at least {least} are needed")
    if _are_collinear(points[usable]):
        return _nothing(camera, usable, options, "the points are on one line, which leaves the pose open")
    problem = ReprojectionProblem(points[usable], pixels[usable], camera, noise[usable])
    sampled = _sample_with_focal(problem, options) if options.unknown_focal else _sample(problem, rays[usable], options)
    support = None if sampled is None else fit_support(problem, sampled, options.max_error, least)
    if support is None:
        return _nothing(camera, usable, options, "no pose is supported by enough points")
    return _assembled(support, problem, usable, options)


def _sample(problem: ReprojectionProblem, seen: PixelRays, options: AbsolutePoseOptions) -> CameraPlace | None:
    rays = seen.rays
    if bool((rays[:, 2] < _PLANE_COSINE).any()):

        def three_points(sample: NDArray[np.intp]) -> list[CameraPlace]:
            return [_place(pose) for pose in poselib.p3p(rays[sample], problem.points[sample])]

        tangent: Problem[CameraPlace] = TangentProblem.near(problem, seen)
        count = len(problem.points)
        return sample_consensus(tangent, three_points, 3, count, options.max_error, options.seed, options.max_samples)
    focal = pixels_per_radian(problem.camera)
    pinhole = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [focal, 0.0, 0.0]}
    flat = np.ascontiguousarray(rays[:, :2] / rays[:, 2:] * focal)
    settings = {
        "max_reproj_error": 1.15 * options.max_error,
        "max_iterations": options.max_samples,
        "min_iterations": min(100, options.max_samples),
        "seed": options.seed,
    }
    pose, info = poselib.estimate_absolute_pose(flat, problem.points, pinhole, settings, {})
    return _place(pose) if info["num_inliers"] >= _LEAST and np.isfinite(pose.Rt).all() else None


def _sample_with_focal(problem: ReprojectionProblem, options: AbsolutePoseOptions) -> CameraPlace | None:
    """Consensus over samples of four points (Kukelova et al. 2016) around the principal point.

    Their equations degenerate for points on a plane; focal lengths are tried there one by one.
    """
    if _spread(problem.points)[0] < _COPLANAR:
        return _scan_focals(problem, options)
    camera = problem.camera
    fx, fy, cx, cy = camera.params[:4]
    centred = (problem.pixels - np.array([cx, cy])) * np.array([1.0, fx / fy])
    longer = max(camera.width, camera.height)

    def four_points(sample: NDArray[np.intp]) -> list[CameraPlace]:
        poses, focals = poselib.p4pf(centred[sample], problem.points[sample], True)
        return [
            _place(pose, math.log(focal / fx))
            for pose, focal in zip(poses, focals, strict=True)
            if longer / _MAX_FOCAL_RATIO < focal < longer * _MAX_FOCAL_RATIO and np.isfinite(pose.Rt).all()
        ]

    reprojection: Problem[CameraPlace] = problem
    count = len(problem.points)
    return sample_consensus(reprojection, four_points, 4, count, options.max_error, options.seed, options.max_samples)


def _scan_focals(problem: ReprojectionProblem, options: AbsolutePoseOptions) -> CameraPlace | None:
    """The pose with the least truncated error of those sampled at focal lengths from wide angle to telephoto."""
    fx, fy = problem.camera.params[:2]
    longer = max(problem.camera.width, problem.camera.height)
    best: CameraPlace | None = None
    best_cost = math.inf
    for ratio in _FOCAL_RATIOS:
        log_focal = math.log(ratio * longer / fx)
        params = (ratio * longer, ratio * longer * fy / fx, *problem.camera.params[2:])
        guessed = replace(problem, camera=problem.camera.with_params(params))
        seen = pixel_rays(guessed.camera, problem.pixels)
        # The error that a wrong focal length leaves must not part inliers from outliers.
        start = _sample(guessed, seen, replace(options, max_error=_FOCAL_SLACK * options.max_error))
        if start is None:
            continue
        place = replace(start, log_focal=log_focal, free_focal=True)
        fit = fit_support(problem, place, _FOCAL_SLACK * options.max_error, _LEAST_WITH_FOCAL)
        if fit is None:
            continue
        cost = float(np.minimum(fit.errors**2, options.max_error**2).sum())
        if cost < best_cost:
            best, best_cost = fit.model, cost
    return best


def _place(pose: Any, log_focal: float | None = None) -> CameraPlace:  # noqa: ANN401 - PoseLib is not typed
    cam_from_world = np.eye(4)
    cam_from_world[:3] = pose.Rt
    return CameraPlace(cam_from_world, log_focal or 0.0, log_focal is not None)


def _are_collinear(points: Floats) -> bool:
    return _spread(points)[1] <= _COLLINEAR


def _spread(points: Floats) -> tuple[float, float]:
    """Variance of points (n, 3) across their plane and within it across their line, over that along the line."""
    values = np.linalg.eigvalsh(np.cov(points.T))
    largest = max(float(values[2]), np.finfo(np.float64).tiny)
    return float(values[0]) / largest, float(values[1]) / largest


def _assembled(
    support: Support[CameraPlace], problem: ReprojectionProblem, usable: Bools, options: AbsolutePoseOptions
) -> AbsolutePose:
    model, covariance, camera = support.model, support.covariance, problem.camera
    deviation = math.nan
    if model.free_focal:
        factor = math.exp(model.log_focal)
        camera = camera.with_params((camera.params[0] * factor, camera.params[1] * factor, *camera.params[2:]))
        deviation = math.inf if covariance is None else camera.params[0] * math.sqrt(float(covariance[6, 6]))
    probability = min(1.0, math.pi * support.gate**2 / (camera.width * camera.height))
    alarms = log10_false_alarms(support.count, len(support.errors), 4 if model.free_focal else 3, probability, 4)
    if alarms > math.log10(options.max_false_alarms):
        chance = f"{support.count} of {len(support.errors)} points agree, which chance explains"
        return _nothing(problem.camera, usable, options, chance)
    reason = ""
    if support.count < options.min_inliers:
        reason = f"{support.count} inliers; a verified pose has {options.min_inliers}"
    elif covariance is None:
        reason = "the inliers do not determine the pose"
    errors = np.full(len(usable), np.inf)
    inliers = np.zeros(len(usable), dtype=bool)
    errors[usable], inliers[usable] = support.errors, support.inliers
    return AbsolutePose(
        cam_from_world=model.cam_from_world,
        camera=camera,
        covariance=None if covariance is None else covariance[:6, :6],
        focal_deviation=deviation,
        inliers=inliers,
        errors=errors,
        rms=support.rms,
        noise=support.noise,
        verified=not reason,
        reason=reason,
        seed=options.seed,
    )


def _nothing(camera: Camera, usable: Bools, options: AbsolutePoseOptions, reason: str) -> AbsolutePose:
    return AbsolutePose(
        cam_from_world=None,
        camera=camera,
        covariance=None,
        focal_deviation=math.nan,
        inliers=np.zeros(len(usable), dtype=bool),
        errors=np.full(len(usable), np.inf),
        rms=math.nan,
        noise=math.nan,
        verified=False,
        reason=reason,
        seed=options.seed,
    )
