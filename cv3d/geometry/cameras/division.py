"""The one-parameter division model.

Fitzgibbon, "Simultaneous linear estimation of multiple view geometry and lens distortion", CVPR 2001.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.cameras.base import FREE, coefficients
from cv3d.geometry.cameras.quotient import DenominatorSlopes, QuotientModel, within_radius

_MIN_ROOT = 1e-6


@dataclass(frozen=True)
class Division(QuotientModel):
    """The ray of m is (m_x, m_y, 1 + k1 |m|^2): r_undistorted = r / (1 + k1 r^2), in homogeneous form.

    For k1 < 0 (barrel) it reaches beyond 90 degrees, every pixel having its ray. For k1 > 0 the domain ends where
    r = 1 / sqrt(k1), at which the undistorted radius is greatest.

    With R the distance off the axis, k1 R r^2 - z r + R = 0; its root continuous with the pinhole is
    r = 2 R / (z + sqrt(z^2 - 4 k1 R^2)).
    """

    name: str = "division"
    shape_names: tuple[str, ...] = ("k1",)
    neutral_shape: tuple[float, ...] = (0.0,)
    shape_bounds: tuple[tuple[float, float], ...] = (FREE,)

    def _denominator(self, shape: Tensor, r_squared: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        (k1,) = coefficients(shape)
        return _denominator(k1, r_squared, z)[0], (z * z > 4.0 * k1 * r_squared) & ((z > 0.0) | (k1 < 0.0))

    def _denominator_slopes(self, shape: Tensor, r_squared: Tensor, z: Tensor) -> DenominatorSlopes:
        (k1,) = coefficients(shape)
        value, root = _denominator(k1, r_squared, z)
        inverse_root = 1.0 / root
        return DenominatorSlopes(
            value=value,
            by_r=-2.0 * k1 * inverse_root,
            by_z=value * inverse_root,
            by_shape=(-r_squared * inverse_root,),
        )

    def _unmap(self, shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        (k1,) = coefficients(shape)
        bounded = k1 > 0.0
        limit = torch.where(bounded, 1.0 / torch.where(bounded, k1, 1.0), float("inf"))
        u, v, r_squared, inside = within_radius(m, limit)
        return torch.stack([u, v, 1.0 + k1 * r_squared], -1), inside


def _denominator(k1: Tensor, r_squared: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Half of z + s and s = sqrt(z^2 - 4 k1 R^2), free of cancellation behind the camera."""
    quarter = k1 * r_squared
    root = (z * z - 4.0 * quarter).clamp(min=_MIN_ROOT**2).sqrt()
    ahead = z >= 0.0
    behind = -2.0 * quarter / torch.where(ahead, 1.0, root - z)
    return torch.where(ahead, 0.5 * (z + root), behind), root
