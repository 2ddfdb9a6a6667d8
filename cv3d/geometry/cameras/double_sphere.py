"""The double sphere camera model.

Usenko, Demmel and Cremers, "The double sphere camera model", 3DV 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.cameras.base import coefficients
from cv3d.geometry.cameras.quotient import DenominatorSlopes, QuotientModel, within_radius
from cv3d.geometry.cameras.unified import ALPHA_BOUNDS, length, lifted_depth, max_radius_squared, opening


@dataclass(frozen=True)
class DoubleSphere(QuotientModel):
    """Projection onto a unit sphere, then by the unified model seen from a centre shifted by xi.

    m = (x, y) / (alpha d2 + (1 - alpha) z2) with z2 = z + xi d1, d1 = |(x, y, z)|, d2 = |(x, y, z2)|. The domain is
    that of the unified model for the point (x, y, z2), as long as the shifted direction turns the same way as the ray.
    """

    name: str = "double_sphere"
    shape_names: tuple[str, ...] = ("xi", "alpha")
    neutral_shape: tuple[float, ...] = (0.0, 0.0)
    shape_bounds: tuple[tuple[float, float], ...] = ((-1.0, 1.0), ALPHA_BOUNDS)

    def _denominator(self, shape: Tensor, r_squared: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        xi, alpha = coefficients(shape)
        d1 = length(r_squared, z)
        z2 = z + xi * d1
        d2 = length(r_squared, z2)
        return alpha * d2 + (1.0 - alpha) * z2, (z2 > -opening(alpha) * d2) & (d1 + xi * z > 0.0)

    def _denominator_slopes(self, shape: Tensor, r_squared: Tensor, z: Tensor) -> DenominatorSlopes:
        xi, alpha = coefficients(shape)
        d1 = length(r_squared, z)
        xi_over_d1 = xi / d1
        z2 = z + xi * d1
        d2 = length(r_squared, z2)
        alpha_over_d2 = alpha / d2
        by_z2 = alpha_over_d2 * z2 + (1.0 - alpha)
        return DenominatorSlopes(
            value=alpha * d2 + (1.0 - alpha) * z2,
            by_r=alpha_over_d2 + by_z2 * xi_over_d1,
            by_z=by_z2 * (1.0 + xi_over_d1 * z),
            by_shape=(by_z2 * d1, d2 - z2),
        )

    def _unmap(self, shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        xi, alpha = coefficients(shape)
        u, v, r_squared, inside = within_radius(m, max_radius_squared(alpha))
        depth = lifted_depth(alpha, r_squared)
        under_root = depth * depth + (1.0 - xi * xi) * r_squared
        scale = (depth * xi + under_root.clamp(min=0.0).sqrt()) / (depth * depth + r_squared)
        return torch.stack([u * scale, v * scale, depth * scale - xi], -1), inside & (under_root > 0.0)
