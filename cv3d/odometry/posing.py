"""Where a camera is, from points of known place: the likeliest motion from a prediction, some matches being wrong.

Residuals are those of the tangent plane of the viewing ray, in pixels, so any central lens will do; measured depths
join in with their own deviation. Gauss-Newton with Student's weights, which forget what is far off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_FREEDOM = 4.0
"""Degrees of freedom of Student's distribution, of which pixel errors with some mismatches are drawn."""
_RAYLEIGH_MEDIAN = 1.17741
"""Median length of a vector of two normal deviates."""

_MOST_SPREAD = 3.0
"""Most that the points' noise may exceed the one expected."""
_GATE = 3.0
"""Deviations beyond which a point is an outlier."""


@dataclass(frozen=True, eq=False)
class Posed:
    """A refined pose."""

    cam_from_world: Floats
    """(4, 4)"""
    inliers: Bools
    """(n,) points that it agrees with."""
    errors: Floats
    """(n,) in standard deviations; infinite behind the camera."""
    noise: float
    """Deviation of one coordinate of the inliers over that expected; NaN without any."""
    information: Floats
    """(6, 6) of the left perturbation [translation, rotation], for the deviations expected."""


def refine_pose(
    points: Floats,
    rays: Floats,
    moves: Floats,
    covariance: NDArray[np.floating],
    start: Floats,
    depth: Floats | None = None,
    depth_sigma: Floats | None = None,
    prior: Floats | None = None,
) -> Posed:
    """Move a predicted pose to where it agrees best with what is seen.

    Args:
        points: places in the world, (n, 3).
        rays: unit rays along which they are seen, (n, 3).
        moves: by what a change of the ray moves the pixel, (n, 2, 3); see :meth:`RayTable.tangents`.
        covariance: of the pixels (xx, xy, yy), (n, 3), pixels squared.
        start: cam_from_world, (4, 4), to begin from.
        depth: measured depth along z, (n,); 0 or NaN where there is none.
        depth_sigma: its deviation, (n,).
        prior: information (6, 6) with which the start is held; None: it is a mere start.
    """
    count = len(points)
    measured = np.zeros(count) if depth is None else np.where(np.isfinite(depth), depth, 0.0)
    by_depth = np.ones(count) if depth_sigma is None else np.ascontiguousarray(depth_sigma, np.float64)
    moved = np.array(start, np.float64, order="C")
    errors = np.empty(count)
    information = np.empty((6, 6))
    held = np.zeros((6, 6)) if prior is None else np.ascontiguousarray(prior, np.float64)
    whitened = np.empty((count, 2, 3))
    whiten_kernel(np.ascontiguousarray(moves), np.ascontiguousarray(covariance, np.float64), whitened)
    places, along = np.ascontiguousarray(points, np.float64), np.ascontiguousarray(rays, np.float64)
    # A prediction may be many pixels off: the noise that is allowed for shrinks as the pose comes near, down to what
    # the points themselves show.
    spread = 16.0
    for steps in (5, 5, 5, 5):
        refine_kernel(
            places, along, whitened, 1.0 / spread, measured, by_depth * spread, held, moved, steps, errors, information
        )
        errors *= spread
        shown = float(np.median(errors)) / _RAYLEIGH_MEDIAN if count else 1.0
        spread = min(max(spread / 4.0, shown, 1.0), _MOST_SPREAD if spread <= 4.0 else spread)
    inliers = errors < _GATE * spread
    left_over = max(2 * int(inliers.sum()) - 6, 1)
    noise = math.sqrt(float((errors[inliers] ** 2).sum()) / left_over) if inliers.any() else math.nan
    return Posed(moved, inliers, errors, noise, information)


@fused
def whiten_kernel(moves: Floats, covariance: Floats, whitened: Floats) -> None:
    """Rows (n, 2, 3) that give the pixel error in its own deviations: the inverse Cholesky factor times the moves."""
    for i in range(len(moves)):
        a, b, c = covariance[i, 0], covariance[i, 1], covariance[i, 2]
        l00 = math.sqrt(a)
        l10 = b / l00
        l11 = math.sqrt(max(c - l10 * l10, 1e-12))
        for k in range(3):
            whitened[i, 0, k] = moves[i, 0, k] / l00
            whitened[i, 1, k] = (moves[i, 1, k] - l10 * whitened[i, 0, k]) / l11


@fused
def refine_kernel(  # noqa: PLR0912, PLR0915
    points: Floats,
    rays: Floats,
    whitened: Floats,
    scale: float,
    depth: Floats,
    depth_sigma: Floats,
    prior: Floats,
    cam_from_world: Floats,
    steps: int,
    errors: Floats,
    information: Floats,
) -> None:
    """Gauss-Newton on one pose, in place; `errors` come back in deviations, infinite behind the camera."""
    jacobian = np.empty((3, 6))
    residual = np.empty(3)
    gradient = np.empty(6)
    offset = np.zeros(6)
    left = steps
    while True:
        information[:] = prior
        for k in range(6):
            gradient[k] = 0.0
            for m in range(6):
                gradient[k] += prior[k, m] * offset[m]
        for i in range(len(points)):
            x = (
                cam_from_world[0, 0] * points[i, 0]
                + cam_from_world[0, 1] * points[i, 1]
                + cam_from_world[0, 2] * points[i, 2]
                + cam_from_world[0, 3]
            )
            y = (
                cam_from_world[1, 0] * points[i, 0]
                + cam_from_world[1, 1] * points[i, 1]
                + cam_from_world[1, 2] * points[i, 2]
                + cam_from_world[1, 3]
            )
            z = (
                cam_from_world[2, 0] * points[i, 0]
                + cam_from_world[2, 1] * points[i, 1]
                + cam_from_world[2, 2] * points[i, 2]
                + cam_from_world[2, 3]
            )
            u0, u1, u2 = rays[i, 0], rays[i, 1], rays[i, 2]
            along = u0 * x + u1 * y + u2 * z
            if not along > 1e-9:
                errors[i] = np.inf
                continue
            f = 1.0 / along
            for r in range(2):
                m0, m1, m2 = whitened[i, r, 0], whitened[i, r, 1], whitened[i, r, 2]
                e = f * scale * (m0 * x + m1 * y + m2 * z)
                residual[r] = e
                jacobian[r, 0] = f * (scale * m0 - e * u0)
                jacobian[r, 1] = f * (scale * m1 - e * u1)
                jacobian[r, 2] = f * (scale * m2 - e * u2)
            square = residual[0] ** 2 + residual[1] ** 2
            errors[i] = math.sqrt(square)
            rows = 2
            if depth[i] > 0.0:
                residual[2] = (z - depth[i]) / depth_sigma[i]
                jacobian[2, 0] = jacobian[2, 1] = 0.0
                jacobian[2, 2] = 1.0 / depth_sigma[i]
                rows = 3
            for r in range(rows):
                d0, d1, d2 = jacobian[r, 0], jacobian[r, 1], jacobian[r, 2]
                # d(phi x X)/dphi = -[X]x
                jacobian[r, 3] = d2 * y - d1 * z
                jacobian[r, 4] = d0 * z - d2 * x
                jacobian[r, 5] = d1 * x - d0 * y
            weight = (_FREEDOM + 2.0) / (_FREEDOM + square)
            by_depth = 0.0
            if rows == 3:
                by_depth = (_FREEDOM + 1.0) / (_FREEDOM + residual[2] * residual[2])
            for r in range(rows):
                w = weight if r < 2 else by_depth
                for k in range(6):
                    wj = w * jacobian[r, k]
                    gradient[k] += wj * residual[r]
                    for m in range(k, 6):
                        information[k, m] += wj * jacobian[r, m]
        for k in range(6):
            for m in range(k):
                information[k, m] = information[m, k]
        if left == 0:
            return
        damped = information.copy()
        for k in range(6):
            damped[k, k] += 1e-6 * information[k, k] + 1e-12
        delta = -np.linalg.solve(damped, gradient)
        offset += delta
        _move(cam_from_world, delta)
        size = 0.0
        for k in range(6):
            size += delta[k] * delta[k] * information[k, k]
        # One more pass gives the errors at the place reached.
        left = 0 if size < 1e-6 else left - 1


@fused
def _move(cam_from_world: Floats, delta: NDArray[np.floating]) -> None:
    """Left-multiply a rigid transform by exp of a small motion [rho, phi], first-order in the translation."""
    angle = math.sqrt(delta[3] ** 2 + delta[4] ** 2 + delta[5] ** 2)
    if angle < 1e-12:
        s, c = 1.0, 0.5
    else:
        s = math.sin(angle) / angle
        c = (1.0 - math.cos(angle)) / (angle * angle)
    x, y, z = delta[3], delta[4], delta[5]
    turn = np.empty((3, 3))
    turn[0, 0] = 1.0 - c * (y * y + z * z)
    turn[1, 1] = 1.0 - c * (x * x + z * z)
    turn[2, 2] = 1.0 - c * (x * x + y * y)
    turn[0, 1] = c * x * y - s * z
    turn[1, 0] = c * x * y + s * z
    turn[0, 2] = c * x * z + s * y
    turn[2, 0] = c * x * z - s * y
    turn[1, 2] = c * y * z - s * x
    turn[2, 1] = c * y * z + s * x
    moved = np.empty((3, 4))
    for r in range(3):
        for k in range(4):
            moved[r, k] = 0.0
            for m in range(3):
                moved[r, k] += turn[r, m] * cam_from_world[m, k]
        moved[r, 3] += delta[r]
    # A step of Newton's towards the nearest rotation: predictions multiply poses, which would let rounding grow.
    for r in range(3):
        for k in range(3):
            cam_from_world[r, k] = 1.5 * moved[r, k]
            for m in range(3):
                dot = moved[m, 0] * moved[r, 0] + moved[m, 1] * moved[r, 1] + moved[m, 2] * moved[r, 2]
                cam_from_world[r, k] -= 0.5 * dot * moved[m, k]
        cam_from_world[r, 3] = moved[r, 3]
