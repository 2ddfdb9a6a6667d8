"""Models that divide (x, y) by a function of the point: what they share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.cameras.base import CameraModel, unit_scaled

MIN_DENOMINATOR = 1e-6
"""Smallest denominator, for a point whose largest component is 1, that is inside the domain."""


@dataclass(frozen=True)
class QuotientModel(CameraModel):
    """A model of the form m = (x, y) / D with D a function of (x^2 + y^2, z), homogeneous of degree 1."""

    @abstractmethod
    def _denominator(self, shape: Tensor, r_squared: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """D, and whether the model's own conditions for being one-to-one hold, both (..., N)."""

    @abstractmethod
    def _denominator_slopes(self, shape: Tensor, r_squared: Tensor, z: Tensor) -> DenominatorSlopes:
        """D and its derivatives."""

    def _map(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, z, _ = unit_scaled(points)
        denominator, _ = self._denominator(shape, x * x + y * y, z)
        inverse = 1.0 / denominator.clamp(min=MIN_DENOMINATOR)
        return torch.stack([x * inverse, y * inverse], -1)

    def _map_with_jacobians(self, shape: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, z, factor = unit_scaled(points)
        slopes = self._denominator_slopes(shape, x * x + y * y, z)
        return quotient_with_jacobians(x, y, factor, slopes, MIN_DENOMINATOR)

    def _in_domain(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, z, _ = unit_scaled(points)
        denominator, inside = self._denominator(shape, x * x + y * y, z)
        return inside & (denominator > MIN_DENOMINATOR)


@dataclass(frozen=True)
class DenominatorSlopes:
    """A denominator D(r^2, z; shape) and its derivatives, each (..., N)."""

    value: Tensor
    """D."""
    by_r: Tensor
    """(dD/dx) / x = (dD/dy) / y = 2 dD/d(r^2)."""
    by_z: Tensor
    """dD/dz."""
    by_shape: tuple[Tensor, ...]
    """dD by each shape parameter."""


def quotient_with_jacobians(
    x: Tensor, y: Tensor, factor: Tensor, denominator: DenominatorSlopes, smallest: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(x, y) / D and its derivatives, D being held at or above `smallest`.

    Args:
        x: (..., N), of the scaled point.
        y: (..., N), of the scaled point.
        factor: (..., N), scaled point over point.
        denominator: D at the scaled point.
        smallest: where D is less, it is taken to be this constant.

    Returns:
        m (..., N, 2); its derivatives by the point before scaling, (..., N, 2, 3); by shape, (..., N, 2, S).
    """
    inverse = 1.0 / denominator.value.clamp(min=smallest)
    m = torch.stack([x * inverse, y * inverse], -1)
    # dm = (dx, dy) / D - m dD / D.
    slope = torch.where(denominator.value > smallest, -inverse, 0.0)
    minus_m = m * slope[..., None]
    by_r, by_z = denominator.by_r * factor, denominator.by_z * factor
    by_x, by_y = by_r * x, by_r * y
    inverse = inverse * factor
    dm_dpoints = m.new_empty((*m.shape, 3))
    dm_dshape = m.new_empty((*m.shape, len(denominator.by_shape)))
    for axis in range(2):
        component = minus_m[..., axis]
        dm_dpoints[..., axis, 0] = component * by_x
        dm_dpoints[..., axis, 1] = component * by_y
        dm_dpoints[..., axis, 2] = component * by_z
        dm_dpoints[..., axis, axis] += inverse
        for i, by_parameter in enumerate(denominator.by_shape):
            dm_dshape[..., axis, i] = component * by_parameter
    return m, dm_dpoints, dm_dshape


def within_radius(m: Tensor, max_radius_squared: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image coordinates pulled back radially to a disc.

    Args:
        m: (..., N, 2).
        max_radius_squared: (..., 1), positive; may be infinite.

    Returns:
        The components u and v, and the squared radius, after pulling back, and whether they were inside, each (..., N).
    """
    u, v = m.unbind(-1)
    r_squared = u * u + v * v
    inside = r_squared < max_radius_squared
    scale = torch.where(inside, 1.0, (max_radius_squared / torch.where(inside, 1.0, r_squared)).sqrt())
    return u * scale, v * scale, torch.minimum(r_squared, max_radius_squared), inside
