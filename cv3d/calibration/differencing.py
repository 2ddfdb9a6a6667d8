"""How far two cameras differ over the image, once the rotation is taken out that tells them apart only by name.

Two calibrations of one camera may place its axes a little differently: turning the camera frame moves all projections
almost like a shift of the principal point does, and changes nothing about what the camera measures. So each pixel of A
is sent along its ray, turned by the rotation that makes the two agree best, and projected by B; how far it lands from
where it set out is the difference (D. Kogan, mrcal documentation, "Differencing"). At a finite distance a translation
is free too.

Where both cameras state the covariance of their parameters, the expected difference follows from it to first order,
the fit of the rotation included, and weights that fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.calibration.camera_difference import SAME_PX, CameraDifference, Expected, Focus
from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.robust import Loss, LossKind
from cv3d.geometry.transforms import SO3

_NODES = 81
"""Places along the longer side of the image at which cameras are compared."""
_CHUNK = 500
_SAME_ASPECT = 2e-3
_ITERATIONS = 50
_SETTLED = 1e-10
"""Step of the rotation, radians, below which it is found."""
_SMALL_TURN = 1e-4
"""Step, radians, below which the derivatives are no longer computed anew."""
_STEP = 1e-6
_LOSS_MEDIANS = 2.0
"""Scale of the robust loss, in medians of the residuals: what differs more than most does not pull the rotation."""
_LEAST_SIGMA = 0.2
"""Least uncertainty assumed when weighting, as a share of the median: a place known by chance does not rule."""
_LEAST_POINTS = 10
_FOCUS_SHARE = 6.0


def compare_cameras(
    a: Camera,
    b: Camera,
    *,
    covariance_a: NDArray[np.float64] | None = None,
    covariance_b: NDArray[np.float64] | None = None,
    where: Sequence[float] | None = None,
    radius_px: float | None = None,
    distance_m: float = math.inf,
) -> CameraDifference:
    """Compare two cameras over the image.

    The rotation (at a finite distance, and the translation) is fitted by least squares: where both cameras state their
    uncertainty weighted by it, else under a robust loss, so that places where they differ more than elsewhere do not
    pull it.

    Args:
        a: the camera whose pixels are meant.
        b: the camera compared with it; scaled where its pictures have another size of the same shape.
        covariance_a: of A's parameters, (P, P); None: not known.
        covariance_b: of B's parameters.
        where: the rotation is fitted around this place, x and y in pixels of A; None: over the whole image, or around
            its centre where a radius is given.
        radius_px: so far around; None: a sixth of the image's smaller side.
        distance_m: distance of the points compared; infinity: directions.

    Returns:
        The difference.

    Raises:
        InputError: the cameras' pictures differ in shape.
        UsageError: an option is out of its range.
        EstimationError: there is no place that both cameras see.
    """
    b, covariance_b, warnings = _at_size_of(a, b, covariance_b)
    focus = _focus(a, where, radius_px)
    if not distance_m > 0.0:
        raise UsageError(f"the distance is positive, not {distance_m:g}")
    comparison = _Comparison(a, b, with_shift=math.isfinite(distance_m))
    x, y = _axes(a.width, a.height)
    pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    weights = np.ones(len(pixels))
    if focus is not None:
        weights[np.hypot(pixels[:, 0] - focus.x, pixels[:, 1] - focus.y) > focus.radius_px] = 0.0
    motion = comparison.fit(pixels, weights)
    expected = None
    if covariance_a is not None and covariance_b is not None:
        sigma, _ = _expected(comparison, motion, pixels, weights, covariance_a, covariance_b)
        weights = weights * _weights_of(sigma)
        motion = comparison.fit(pixels, weights, robust=False)
        sigma, rms = _expected(comparison, motion, pixels, weights, covariance_a, covariance_b)
        expected = Expected(sigma.reshape(len(y), len(x)), rms)
    vectors = comparison.at(motion, pixels).reshape(len(y), len(x), 2)
    center, edge, corner = _named_places(comparison, motion)
    return CameraDifference(
        a,
        b,
        x,
        y,
        vectors,
        motion.rotation,
        motion.shift * distance_m if comparison.with_shift else None,
        distance_m,
        focus,
        expected,
        center,
        edge,
        corner,
        warnings,
    )


@dataclass(frozen=True)
class _Motion:
    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]
    """Translation over distance, (3,)."""

    def apply(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        return rays @ self.rotation.T + self.shift

    def moved(self, step: NDArray[np.float64]) -> _Motion:
        """After a step: a rotation vector, and where the step has six components a shift."""
        turn = SO3.exp(torch.from_numpy(step[:3])).as_matrix().numpy()
        # The rotation is about the camera, so that the shift turns along.
        shift = turn @ self.shift + (step[3:] if len(step) == 6 else 0.0)
        return _Motion(turn @ self.rotation, shift)


@dataclass(frozen=True)
class _Comparison:
    a: Camera
    b: Camera
    with_shift: bool

    def at(self, motion: _Motion, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Differences at `pixels` (n, 2), pixels; NaN outside of a model's domain."""
        rays = self.a.unproject(pixels)
        return self._difference(motion, rays, pixels, self._seen_by_a(pixels))

    def fit(self, pixels: NDArray[np.float64], weights: NDArray[np.float64], *, robust: bool = True) -> _Motion:
        """The motion for which the differences at `pixels` (n, 2) are least, `weights` (n,) being those of squares.

        Raises:
            EstimationError: there are too few places that both cameras see.
        """
        rays = self.a.unproject(pixels)
        seen = self._seen_by_a(pixels) & (weights > 0.0)
        motion = self._start(rays, pixels, np.where(seen, weights, 0.0))
        size = 6 if self.with_shift else 3
        jacobian = np.zeros((0, 2, size))
        step = np.ones(size)
        for _ in range(_ITERATIONS):
            difference = self._difference(motion, rays, pixels, seen)
            used = np.isfinite(difference).all(axis=1)
            if used.sum() < _LEAST_POINTS:
                raise EstimationError(
                    "the two cameras have too few directions in common to be compared, or the radius around the "
                    "place is too small to fit a rotation in"
                )
            if np.abs(step).max() > _SMALL_TURN:
                jacobian = self._by_motion(motion, rays, size)
            weight = weights[used]
            if robust:
                weight = weight * _robust_weights(weight * (difference[used] ** 2).sum(axis=1))
            weighted = weight[:, None, None] * jacobian[used]
            normal = np.einsum("nki,nkj->ij", weighted, jacobian[used])
            gradient = np.einsum("nki,nk->i", weighted, difference[used])
            # Of a narrow lens turning and shifting are all but one: the shortest step of those that are alike.
            step = -np.linalg.pinv(normal, rcond=1e-12, hermitian=True) @ gradient
            motion = motion.moved(step)
            if np.abs(step).max() < _SETTLED:
                break
        return motion

    def _start(self, rays: NDArray[np.float64], pixels: NDArray[np.float64], weights: NDArray[np.float64]) -> _Motion:
        """The rotation that takes A's rays to B's at the same pixels (Kabsch 1976; directions, so nothing is centred).

        Where B does not see the pixel its ray is as good as any near it: the weights of the fit itself decide later.
        """
        covariance = (weights[:, None] * self.b.unproject(pixels)).T @ rays
        u, _, vt = np.linalg.svd(covariance)
        proper = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(u @ vt)))])
        return _Motion(u @ proper @ vt, np.zeros(3))

    def _by_motion(self, motion: _Motion, rays: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """Derivatives of B's pixels by a step of the motion, (n, 2, size), by central differences."""
        columns = []
        for k in range(size):
            step = np.zeros(size)
            step[k] = _STEP
            ahead = self.b.project(motion.moved(step).apply(rays))
            behind = self.b.project(motion.moved(-step).apply(rays))
            columns.append((ahead - behind) / (2.0 * _STEP))
        return np.stack(columns, axis=-1)

    def _difference(
        self,
        motion: _Motion,
        rays: NDArray[np.float64],
        pixels: NDArray[np.float64],
        seen: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        points = motion.apply(rays)
        valid = self.b.lens.valid_points(_params(self.b), torch.from_numpy(points)).numpy() & seen
        return np.where(valid[:, None], self.b.project(points) - pixels, np.nan)

    def _seen_by_a(self, pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray(self.a.lens.valid_pixels(_params(self.a), torch.from_numpy(pixels)).numpy())


def _robust_weights(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights, (n,), of squared residuals (n,) under a loss as wide as most of them need."""
    scale = max(_LOSS_MEDIANS * math.sqrt(float(np.median(squared))), SAME_PX)
    _, weights = Loss(LossKind.CAUCHY, scale).evaluate(torch.from_numpy(squared))
    return np.asarray(weights.numpy())


def _params(camera: Camera) -> torch.Tensor:
    return torch.tensor(camera.params, dtype=torch.float64)


def _at_size_of(
    a: Camera, b: Camera, covariance: NDArray[np.float64] | None
) -> tuple[Camera, NDArray[np.float64] | None, tuple[str, ...]]:
    """B for pictures of A's size, with its covariance, and what to say about it."""
    if (a.width, a.height) == (b.width, b.height):
        return b, covariance, ()
    sizes = f"{a.width}x{a.height} and {b.width}x{b.height}"
    if abs(math.log((a.width / a.height) / (b.width / b.height))) > _SAME_ASPECT:
        raise InputError(f"the cameras' pictures differ in shape ({sizes}): they cannot be compared pixel by pixel")
    factor = a.width / b.width
    if covariance is not None:
        units = np.concatenate([np.full(4, factor), np.ones(len(b.params) - 4)])
        covariance = covariance * np.outer(units, units)
    scaled = replace(b.scaled(factor), width=a.width, height=a.height)
    return scaled, covariance, (f"the pictures are of {sizes} pixels: the second camera is compared scaled",)


def _focus(a: Camera, where: Sequence[float] | None, radius_px: float | None) -> Focus | None:
    if where is None and radius_px is None:
        return None
    x, y = where if where is not None else (0.5 * (a.width - 1), 0.5 * (a.height - 1))
    radius = radius_px if radius_px is not None else min(a.width, a.height) / _FOCUS_SHARE
    if not (math.isfinite(x) and math.isfinite(y) and -0.5 <= x <= a.width - 0.5 and -0.5 <= y <= a.height - 0.5):
        raise UsageError(f"({x:g}, {y:g}) is not in a picture of {a.width}x{a.height} pixels")
    if not (math.isfinite(radius) and radius > 0.0):
        raise UsageError(f"the radius is a positive number of pixels, not {radius:g}")
    return Focus(float(x), float(y), float(radius))


def _axes(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    step = max(width, height) / _NODES
    cols, rows = max(2, round(width / step)), max(2, round(height / step))
    return np.linspace(0.0, width - 1.0, cols), np.linspace(0.0, height - 1.0, rows)


def _weights_of(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of squares from standard deviations (n,); about 1 in the middle, 0 where nothing is known."""
    known = np.isfinite(sigma)
    middle = float(np.median(sigma[known])) if known.any() else 0.0
    if middle <= 0.0:
        return known.astype(np.float64)
    share = np.where(known, sigma, np.inf) / middle
    return np.asarray((1.0 + _LEAST_SIGMA**2) / (share**2 + _LEAST_SIGMA**2))


def _expected(
    comparison: _Comparison,
    motion: _Motion,
    pixels: NDArray[np.float64],
    weights: NDArray[np.float64],
    covariance_a: NDArray[np.float64],
    covariance_b: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float]:
    """Standard deviation of the difference in the worst direction, (n,), and its RMS, pixels.

    To first order the difference moves with a parameter of either camera as its projection does, less what the fitted
    motion takes up of that: the weighted projection of the derivative on those by the motion.
    """
    size = 6 if comparison.with_shift else 3
    difference = comparison.at(motion, pixels)
    usable = np.flatnonzero(np.isfinite(difference).all(axis=1))
    rays = comparison.a.unproject(pixels[usable])
    by_motion = comparison._by_motion(motion, rays, size)
    weighted = weights[usable][:, None, None] * by_motion
    inverse = np.linalg.pinv(np.einsum("nki,nkj->ij", weighted, by_motion), rcond=1e-12, hermitian=True)
    covariances = np.zeros((len(usable), 2, 2))
    for camera, points, covariance in (
        (comparison.a, rays, covariance_a),
        (comparison.b, motion.apply(rays), covariance_b),
    ):
        chunks = [slice(k, k + _CHUNK) for k in range(0, len(usable), _CHUNK)]
        taken_up = np.zeros((size, len(camera.params)))
        for chunk in chunks:
            taken_up += np.einsum("nki,nkp->ip", weighted[chunk], _by_params(camera, points[chunk]))
        by_motion_error = inverse @ taken_up
        moved = by_motion_error @ covariance
        of_motion = moved @ by_motion_error.T
        for chunk in chunks:
            by_params, turning = _by_params(camera, points[chunk]), by_motion[chunk]
            # A spline's parameters act on a part of the image each: the others need not be multiplied.
            active = np.flatnonzero(by_params.any(axis=(0, 1)))
            by_params = by_params[..., active]
            mixed = turning @ (moved[:, active] @ by_params.transpose(0, 2, 1))
            covariances[chunk] += by_params @ covariance[np.ix_(active, active)] @ by_params.transpose(0, 2, 1)
            covariances[chunk] += turning @ of_motion @ turning.transpose(0, 2, 1) - mixed - mixed.transpose(0, 2, 1)
    a, b, c = covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]
    sigma = np.full(len(pixels), np.nan)
    sigma[usable] = np.sqrt(np.maximum(0.5 * (a + c) + np.sqrt(0.25 * (a - c) ** 2 + b**2), 0.0))
    return sigma, math.sqrt(max(float((a + c).mean()), 0.0))


def _by_params(camera: Camera, points: NDArray[np.float64]) -> NDArray[np.float64]:
    _, _, by_params = camera.lens.project_with_jacobians(_params(camera), torch.from_numpy(points))
    return np.asarray(by_params.numpy())


def _named_places(comparison: _Comparison, motion: _Motion) -> tuple[float, float, float]:
    """The difference at the centre, and the worst at edges and corners."""
    right, bottom = comparison.a.width - 1.0, comparison.a.height - 1.0
    centre = np.array([0.5 * right, 0.5 * bottom])
    places = np.array([[0.0, 0.0], [1.0, -1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    outwards = np.concatenate([places, -places[1:]]) * centre
    shares = np.linspace(1.0, 0.0, 101)
    rays = centre + shares[None, :, None] * outwards[:, None]
    lengths = np.linalg.norm(comparison.at(motion, rays.reshape(-1, 2)).reshape(rays.shape), axis=-1)
    known = np.isfinite(lengths)
    outermost = lengths[np.arange(len(outwards)), known.argmax(axis=1)]
    is_edge = (outwards == 0.0).any(axis=1)
    is_edge[0] = False
    is_corner = (outwards != 0.0).all(axis=1)
    return float(lengths[0, 0]), float(outermost[is_edge].max()), float(outermost[is_corner].max())
