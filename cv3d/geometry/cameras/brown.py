"""The Brown-Conrady family: polynomial or rational radial, tangential and thin prism distortion.

Brown, "Decentering distortion of lenses", Photogrammetric Engineering 1966; Claus and Fitzgibbon, "A rational function
lens distortion model", CVPR 2005; Weng, Cohen and Herniou, "Camera calibration with distortion models and accuracy
evaluation", PAMI 1992. Parameters and their order are OpenCV's: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4]]].

The distortion acts on image coordinates, so that models with another projection in front of it share these functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from cv3d.geometry.cameras.base import FREE, CameraModel, coefficients
from cv3d.geometry.cameras.inversion import first_turning_point, invert_monotone
from cv3d.geometry.cameras.pinhole import perspective

MAX_SLOPE = 1e3
"""Points further than this off the axis, as x/z or y/z, are outside the domain: the polynomials would overflow."""

_COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4")
_COUNTS = {"brown4": 4, "brown5": 5, "brown8": 8, "brown12": 12}
_MIN_DENOMINATOR = 1e-4
_MIN_DETERMINANT = 1e-12
_NEWTON_STEPS = 8
_REAL = 1e-9
"""Imaginary over real part up to which a root counts as real."""

Jacobian2: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]
"""du/dx, du/dy, dv/dx, dv/dy, each (..., N)."""


@dataclass(frozen=True)
class Brown(CameraModel):
    """Perspective division followed by Brown-Conrady distortion with 4, 5, 8 or 12 coefficients.

    The domain is z > 0 up to the first radius at which the radial part stops increasing or its denominator vanishes.
    """

    @staticmethod
    def named(name: str) -> Brown:
        """The member of the family with the given name: brown4, brown5, brown8 or brown12."""
        count = _COUNTS[name]
        return Brown(name, _COEFFICIENTS[:count], (0.0,) * count, (FREE,) * count)

    def _map(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, _, _ = perspective(points, MAX_SLOPE)
        return distort(shape, torch.stack([x, y], -1))

    def _map_with_jacobians(self, shape: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, inverse_z, inside = perspective(points, MAX_SLOPE)
        m, (xx, xy, yx, yy), dm_dshape = distort_with_jacobians(shape, x, y)
        dm_dpoints = m.new_empty((*m.shape, 3))
        minus_inverse_z = torch.where(inside, -inverse_z, 0.0)
        torch.mul(xx, inverse_z, out=dm_dpoints[..., 0, 0])
        torch.mul(xy, inverse_z, out=dm_dpoints[..., 0, 1])
        torch.mul(yx, inverse_z, out=dm_dpoints[..., 1, 0])
        torch.mul(yy, inverse_z, out=dm_dpoints[..., 1, 1])
        torch.mul(xx * x + xy * y, minus_inverse_z, out=dm_dpoints[..., 0, 2])
        torch.mul(yx * x + yy * y, minus_inverse_z, out=dm_dpoints[..., 1, 2])
        return m, dm_dpoints, dm_dshape

    def _unmap(self, shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        undistorted, valid = undistort(shape, m)
        return torch.cat([undistorted, torch.ones_like(undistorted[..., :1])], -1), valid

    def _in_domain(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, _, inside = perspective(points, MAX_SLOPE)
        return inside & ((x * x + y * y).sqrt().atan() < domain_angle(shape))


def distort(shape: Tensor, m: Tensor) -> Tensor:
    """Distorted image coordinates.

    Args:
        shape: (..., S), S = 4, 5, 8 or 12 coefficients in OpenCV's order.
        m: (..., N, 2), ideal image coordinates.

    Returns:
        (..., N, 2).
    """
    x, y = m.unbind(-1)
    u, v, _ = _value_and_jacobian(shape, x, y, _radial(shape, x * x + y * y))
    return torch.stack([u, v], -1)


def distort_with_jacobians(shape: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Jacobian2, Tensor]:
    """Distorted image coordinates and their derivatives.

    Args:
        shape: (..., S), S = 4, 5, 8 or 12 coefficients in OpenCV's order.
        x: (..., N), ideal image coordinate.
        y: (..., N), ideal image coordinate.

    Returns:
        The distorted (u, v), (..., N, 2); its derivatives by (x, y); its derivatives by shape, (..., N, 2, S).
    """
    xx, yy, xy2 = x * x, y * y, 2.0 * x * y
    r2 = xx + yy
    r4 = r2 * r2
    gain, _, inverse_denominator = radial = _radial(shape, r2)
    u, v, jacobian = _value_and_jacobian(shape, x, y, radial)

    count = shape.shape[-1]
    m = torch.stack([u, v], -1)
    d_shape = m.new_empty((*m.shape, count))
    d_shape[..., 0, 2], d_shape[..., 1, 2] = xy2, r2 + 2.0 * yy
    d_shape[..., 0, 3], d_shape[..., 1, 3] = r2 + 2.0 * xx, xy2
    if count >= 8:
        x, y = x * inverse_denominator, y * inverse_denominator
    powers = (r2, r4) if count == 4 else (r2, r4, r4 * r2)
    for power, column in zip(powers, (0, 1, 4), strict=False):
        d_shape[..., 0, column], d_shape[..., 1, column] = x * power, y * power
    if count >= 8:
        x, y = -x * gain, -y * gain
        for power, column in zip(powers, (5, 6, 7), strict=True):
            d_shape[..., 0, column], d_shape[..., 1, column] = x * power, y * power
    if count == 12:
        d_shape[..., 8:] = 0.0
        d_shape[..., 0, 8], d_shape[..., 0, 9] = r2, r4
        d_shape[..., 1, 10], d_shape[..., 1, 11] = r2, r4
    return m, jacobian, d_shape


def undistort(shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    """Ideal image coordinates of distorted ones.

    The radial part alone is inverted first, which settles the branch; damped Newton steps on the whole map follow.

    Args:
        shape: (..., S), S = 4, 5, 8 or 12 coefficients in OpenCV's order.
        m: (..., N, 2), distorted image coordinates.

    Returns:
        (..., N, 2), inside the domain, and whether they map to `m`, (..., N).
    """
    limit = domain_angle(shape)
    max_radius = limit.tan()
    u, v = m.unbind(-1)
    radius_squared = u * u + v * v
    at_centre = radius_squared == 0.0
    distorted = torch.where(at_centre, 1.0, radius_squared).sqrt()
    angle, _ = invert_monotone(lambda t: distorted_radius(shape, t), torch.where(at_centre, 0.0, distorted), limit)
    scale = angle.tan() / distorted
    x, y = u * scale, v * scale

    du, dv, (u_x, u_y, v_x, v_y) = _residual(shape, x, y, u, v)
    damping = torch.ones_like(x)
    for _ in range(_NEWTON_STEPS):
        determinant = u_x * v_y - u_y * v_x
        step = damping / torch.where(determinant.abs() < _MIN_DETERMINANT, _MIN_DETERMINANT, determinant)
        x_new, y_new = x - step * (v_y * du - u_y * dv), y - step * (u_x * dv - v_x * du)
        shrink = (max_radius / (x_new * x_new + y_new * y_new).sqrt().clamp(min=_MIN_DETERMINANT)).clamp(max=1.0)
        x_new, y_new = x_new * shrink, y_new * shrink
        du_new, dv_new, jacobian = _residual(shape, x_new, y_new, u, v)
        better = du_new * du_new + dv_new * dv_new < du * du + dv * dv
        x, y = torch.where(better, x_new, x), torch.where(better, y_new, y)
        du, dv = torch.where(better, du_new, du), torch.where(better, dv_new, dv)
        u_x, u_y = torch.where(better, jacobian[0], u_x), torch.where(better, jacobian[1], u_y)
        v_x, v_y = torch.where(better, jacobian[2], v_x), torch.where(better, jacobian[3], v_y)
        damping = torch.where(better, 1.0, 0.5 * damping)

    tolerance = 256.0 * torch.finfo(m.dtype).eps * (1.0 + distorted)
    valid = (torch.maximum(du.abs(), dv.abs()) < tolerance) & (x * x + y * y < max_radius * max_radius)
    return torch.stack([x, y], -1), valid


def domain_angle(shape: Tensor) -> Tensor:
    """Arc tangent, (..., 1), of the radius to which the radial part increases and is defined, for `shape` (..., S)."""
    return first_turning_point(lambda t: distorted_radius(shape, t)[1], math.atan(MAX_SLOPE), shape[..., :1])


def exact_domain_angle(shape: Sequence[float]) -> float:
    """As :func:`domain_angle` for one camera, from the roots of the polynomials instead of samples.

    A pole that a zero of the numerator almost cancels makes a fold too narrow for any sampling; a fit has to know
    it. Runs on the host in float64: polynomial roots need an eigenvalue solver, which not every device has.

    Args:
        shape: 4, 5, 8 or 12 coefficients in OpenCV's order.

    Returns:
        Radians; the arc tangent of the largest radius considered where there is no turning point.
    """
    k1, k2, _, _, k3, k4, k5, k6 = (*shape[:8], *(0.0,) * (8 - len(shape[:8])))
    numerator = np.polynomial.Polynomial([1.0, k1, k2, k3])
    denominator = np.polynomial.Polynomial([1.0, k4, k5, k6])
    r2 = np.polynomial.Polynomial([0.0, 1.0])
    slope = (numerator + 2.0 * r2 * numerator.deriv()) * denominator - 2.0 * r2 * numerator * denominator.deriv()
    roots = np.concatenate([np.atleast_1d(p.trim().roots()) for p in (slope, denominator)])
    real = roots.real[(np.abs(roots.imag) <= _REAL * np.abs(roots.real)) & (roots.real > 0.0)]
    return math.atan(min(MAX_SLOPE, math.sqrt(real.min()) if len(real) else math.inf))


def _radial(shape: Tensor, r2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Radial gain g(r^2), its derivative by r^2, and one over its denominator, each broadcasting to (..., N)."""
    k1, k2, _, _, *rest = coefficients(shape)
    if not rest:
        return 1.0 + r2 * (k1 + r2 * k2), k1 + 2.0 * k2 * r2, torch.ones_like(k1)
    k3 = rest[0]
    numerator = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = k1 + r2 * (2.0 * k2 + r2 * (3.0 * k3))
    if len(rest) == 1:
        return numerator, slope, torch.ones_like(k1)
    k4, k5, k6 = rest[1:4]
    denominator = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    defined = denominator > _MIN_DENOMINATOR
    inverse = 1.0 / torch.where(defined, denominator, _MIN_DENOMINATOR)
    denominator_slope = torch.where(defined, k4 + r2 * (2.0 * k5 + r2 * (3.0 * k6)), 0.0)
    gain = numerator * inverse
    return gain, (slope - gain * denominator_slope) * inverse, inverse


def distorted_radius(shape: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Distorted radius at r = tan(angle), and its derivative by the angle; negative where the denominator vanishes."""
    r = angle.tan()
    r2 = r * r
    gain, gain_slope, inverse = _radial(shape, r2)
    slope = (gain + 2.0 * r2 * gain_slope) * (1.0 + r2)
    return r * gain, torch.where(inverse < 0.99 / _MIN_DENOMINATOR, slope, -1.0)


def _value_and_jacobian(
    shape: Tensor, x: Tensor, y: Tensor, radial: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Jacobian2]:
    """Distorted coordinates, each (..., N), and their derivatives by (x, y), given what :func:`_radial` found."""
    _, _, p1, p2, *rest = coefficients(shape)
    gain, gain_slope, _ = radial
    xx, yy, xy2 = x * x, y * y, 2.0 * x * y
    r2 = xx + yy
    u = x * gain + p1 * xy2 + p2 * (r2 + 2.0 * xx)
    v = y * gain + p1 * (r2 + 2.0 * yy) + p2 * xy2
    twice_slope = 2.0 * gain_slope
    common = gain + 2.0 * (p1 * y + p2 * x)
    u_x = common + twice_slope * xx + (4.0 * p2) * x
    v_y = common + twice_slope * yy + (4.0 * p1) * y
    u_y = v_x = gain_slope * xy2 + 2.0 * (p1 * x + p2 * y)
    if len(rest) == 8:
        s1, s2, s3, s4 = rest[4:]
        u, v = u + r2 * (s1 + s2 * r2), v + r2 * (s3 + s4 * r2)
        prism_u, prism_v = 2.0 * s1 + 4.0 * s2 * r2, 2.0 * s3 + 4.0 * s4 * r2
        u_x, u_y = u_x + prism_u * x, u_y + prism_u * y
        v_x, v_y = v_x + prism_v * x, v_y + prism_v * y
    return u, v, (u_x, u_y, v_x, v_y)


def _residual(shape: Tensor, x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Jacobian2]:
    x_image, y_image, jacobian = _value_and_jacobian(shape, x, y, _radial(shape, x * x + y * y))
    return x_image - u, y_image - v, jacobian
