"""The unified camera model and its extension to ellipsoids.

Geyer and Daniilidis, "A unifying theory for central panoramic systems", ECCV 2000; Khomutenko, Garcia and Martinet, "An
enhanced unified camera model", RA-L 2016. Both in the parameterisation and with the domains of Usenko, Demmel and
Cremers, "The double sphere camera model", 3DV 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.cameras.base import coefficients
from cv3d.geometry.cameras.quotient import DenominatorSlopes, QuotientModel, within_radius

ALPHA_BOUNDS: tuple[float, float] = (-1.0, 1.0)
"""The literature asks for 0 <= alpha <= 1; below, the formulas continue through the pinhole into a pincushion."""


@dataclass(frozen=True)
class Unified(QuotientModel):
    """The unified camera model: m = (x, y) / (alpha d + (1 - alpha) z), d = |point|."""

    name: str = "ucm"
    shape_names: tuple[str, ...] = ("alpha",)
    neutral_shape: tuple[float, ...] = (0.0,)
    shape_bounds: tuple[tuple[float, float], ...] = (ALPHA_BOUNDS,)

    def _alpha_beta(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        (alpha,) = coefficients(shape)
        return alpha, torch.ones_like(alpha)

    def _denominator(self, shape: Tensor, r_squared: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = self._alpha_beta(shape)
        d = length(beta * r_squared, z)
        return alpha * d + (1.0 - alpha) * z, z > -opening(alpha) * d

    def _denominator_slopes(self, shape: Tensor, r_squared: Tensor, z: Tensor) -> DenominatorSlopes:
        alpha, beta = self._alpha_beta(shape)
        d = length(beta * r_squared, z)
        alpha_over_d = alpha / d
        by_alpha_beta = (d - z, 0.5 * alpha_over_d * r_squared)
        return DenominatorSlopes(
            value=alpha * d + (1.0 - alpha) * z,
            by_r=beta * alpha_over_d,
            by_z=alpha_over_d * z + (1.0 - alpha),
            by_shape=by_alpha_beta[: len(self.shape_names)],
        )

    def _unmap(self, shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = self._alpha_beta(shape)
        u, v, r_squared, inside = within_radius(m, max_radius_squared(alpha) / beta)
        return torch.stack([u, v, lifted_depth(alpha, beta * r_squared)], -1), inside


@dataclass(frozen=True)
class ExtendedUnified(Unified):
    """The extended unified camera model: as the unified one, with d = sqrt(beta (x^2 + y^2) + z^2)."""

    name: str = "eucm"
    shape_names: tuple[str, ...] = ("alpha", "beta")
    neutral_shape: tuple[float, ...] = (0.0, 1.0)
    shape_bounds: tuple[tuple[float, float], ...] = (ALPHA_BOUNDS, (0.0, float("inf")))

    def _alpha_beta(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        alpha, beta = coefficients(shape)
        return alpha, beta


def length(r_squared: Tensor, z: Tensor) -> Tensor:
    """Length of a vector from its squared distance off the axis and its depth; positive even for the null vector."""
    return (r_squared + z * z).clamp(min=torch.finfo(z.dtype).tiny).sqrt()


def opening(alpha: Tensor) -> Tensor:
    """The w with which the domain is z > -w d: the denominator vanishes there, or the radius stops growing."""
    near = torch.where(alpha <= 0.5, alpha, 0.0)
    far = torch.where(alpha <= 0.5, 1.0, alpha)
    return torch.where(alpha <= 0.5, near / (1.0 - near), (1.0 - far) / far)


def max_radius_squared(alpha: Tensor) -> Tensor:
    """Squared radius of the image of the domain, for beta = 1; infinite up to alpha = 1/2."""
    bounded = alpha > 0.5
    return torch.where(bounded, 1.0 / torch.where(bounded, 2.0 * alpha - 1.0, 1.0), float("inf"))


def lifted_depth(alpha: Tensor, r_squared: Tensor) -> Tensor:
    """The z that turns image coordinates into a ray, from their squared radius.

    The textbook form is (1 - alpha^2 r^2) / (alpha s + 1 - alpha) with s^2 = 1 - (2 alpha - 1) r^2. Its numerator and
    denominator vanish together where alpha r = -1; without their common factor it is
    (1 - alpha - alpha s) / (1 - 2 alpha), which is used for all small alpha.
    """
    root = (1.0 - (2.0 * alpha - 1.0) * r_squared).clamp(min=0.0).sqrt()
    small = alpha < 0.25
    reduced = (1.0 - alpha - alpha * root) / torch.where(small, 1.0 - 2.0 * alpha, 1.0)
    denominator = torch.where(small, 1.0, (alpha * root + 1.0 - alpha).clamp(min=torch.finfo(root.dtype).eps))
    return torch.where(small, reduced, (1.0 - alpha * alpha * r_squared) / denominator)
