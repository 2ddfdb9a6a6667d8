"""The fisheye model of Kannala and Brandt with four coefficients.

Kannala and Brandt, "A generic camera model and calibration method for conventional, wide-angle, and fish-eye lenses",
PAMI 2006, eq. 6, in the parameterisation of OpenCV's `fisheye` module: unit leading coefficient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.cameras.base import FREE, CameraModel, coefficients, unit_scaled
from cv3d.geometry.cameras.inversion import first_turning_point, invert_monotone

_DEGENERATE = 1e-6
"""Scaled points have a component of 1; less than this is left only of a null vector."""


@dataclass(frozen=True)
class KannalaBrandt4(CameraModel):
    """m = theta_d (x, y) / r with theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8).

    The angle off the axis is theta = atan2(r, z), so that rays beyond 90 degrees are as good as any. The domain ends
    at the first turning point of theta_d, at 180 degrees at the latest.
    """

    name: str = "kannala_brandt4"
    shape_names: tuple[str, ...] = ("k1", "k2", "k3", "k4")
    neutral_shape: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    shape_bounds: tuple[tuple[float, float], ...] = (FREE,) * 4

    def _map(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, z, _ = unit_scaled(points)
        r_squared = x * x + y * y
        on_axis = r_squared == 0.0
        r = torch.where(on_axis, 1.0, r_squared).sqrt()
        theta_d, _ = distorted_angle(shape, torch.atan2(r, z))
        scale = torch.where(on_axis, 1.0 / _away_from_zero(z), theta_d / r)
        return torch.stack([x * scale, y * scale], -1)

    def _map_with_jacobians(self, shape: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, z, factor = unit_scaled(points)
        r_squared = x * x + y * y
        on_axis = r_squared == 0.0
        r = torch.where(on_axis, 1.0, r_squared).sqrt()
        theta = torch.where(on_axis, 0.0, torch.atan2(r, z))
        theta_d, slope = distorted_angle(shape, theta)
        along = slope / (r_squared + z * z).clamp(min=_DEGENERATE)
        # tangential stretch theta_d / r, radial stretch d theta_d / d r; on the axis both are 1 / z.
        radial = torch.where(on_axis, 1.0 / _away_from_zero(z), along * z)
        tangential = torch.where(on_axis, radial, theta_d / r)
        cosine, sine = x / r, y / r
        m = torch.stack([x * tangential, y * tangential], -1)

        # Factors of (radial - tangential) are bounded by 1: no division by a small r amplifies its cancellation.
        difference = (radial - tangential) * factor
        mixed = cosine * sine * difference
        backward = -along * factor
        tangential = tangential * factor
        dm_dpoints = m.new_empty((*m.shape, 3))
        dm_dpoints[..., 0, 0] = tangential + cosine * cosine * difference
        dm_dpoints[..., 0, 1] = mixed
        dm_dpoints[..., 1, 0] = mixed
        dm_dpoints[..., 1, 1] = tangential + sine * sine * difference
        dm_dpoints[..., 0, 2] = x * backward
        dm_dpoints[..., 1, 2] = y * backward

        dm_dshape = m.new_empty((*m.shape, 4))
        theta_squared = theta * theta
        power = theta
        for i in range(4):
            power = power * theta_squared
            dm_dshape[..., 0, i] = power * cosine
            dm_dshape[..., 1, i] = power * sine
        return m, dm_dpoints, dm_dshape

    def _unmap(self, shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        u, v = m.unbind(-1)
        r_squared = u * u + v * v
        on_axis = r_squared == 0.0
        r = torch.where(on_axis, 1.0, r_squared).sqrt()
        theta, reached = invert_monotone(
            lambda t: distorted_angle(shape, t), torch.where(on_axis, 0.0, r), domain_angle(shape)
        )
        sine = theta.sin() / r
        return torch.stack([u * sine, v * sine, theta.cos()], -1), reached

    def _in_domain(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, z, _ = unit_scaled(points)
        theta = torch.atan2((x * x + y * y).sqrt(), z)
        return (theta < domain_angle(shape)) & ((x != 0.0) | (y != 0.0) | (z != 0.0))


def distorted_angle(shape: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The distorted angle and its derivative by theta, both (..., N)."""
    k1, k2, k3, k4 = coefficients(shape)
    s = theta * theta
    value = theta * (1.0 + s * (k1 + s * (k2 + s * (k3 + s * k4))))
    slope = 1.0 + s * (3.0 * k1 + s * (5.0 * k2 + s * (7.0 * k3 + s * (9.0 * k4))))
    return value, slope


def domain_angle(shape: Tensor) -> Tensor:
    """The angle, (..., 1), up to which the distorted angle increases, pi at most, for `shape` (..., S)."""
    return first_turning_point(lambda t: distorted_angle(shape, t)[1], math.pi, shape[..., :1])


def _away_from_zero(z: Tensor) -> Tensor:
    """`z` of a point on the axis, or 1 where there is no point to speak of."""
    return torch.where(z.abs() < _DEGENERATE, 1.0, z)
