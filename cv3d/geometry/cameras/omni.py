"""The omnidirectional model: a sphere with a shifted centre, then radial and tangential distortion.

Mei and Rives, "Single view point omnidirectional camera calibration from planar grids", ICRA 2007, with the four
coefficients that OpenCV's `omnidir` module and Kalibr's omni-radtan keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.cameras.base import FREE, CameraModel, coefficients, unit_scaled
from cv3d.geometry.cameras.brown import distort, distort_with_jacobians, domain_angle, undistort
from cv3d.geometry.cameras.quotient import DenominatorSlopes, quotient_with_jacobians, within_radius
from cv3d.geometry.cameras.unified import length

_MIN_DENOMINATOR = 1e-3


@dataclass(frozen=True)
class Omnidirectional(CameraModel):
    """(x, y) / (z + xi d), d = |point|, followed by Brown-Conrady distortion with k1 k2 p1 p2.

    The domain ends where z + xi d vanishes (xi <= 1) or the radius stops growing (xi > 1), or at the first turning
    point of the radial polynomial.
    """

    name: str = "omni"
    shape_names: tuple[str, ...] = ("xi", "k1", "k2", "p1", "p2")
    neutral_shape: tuple[float, ...] = (0.0,) * 5
    shape_bounds: tuple[tuple[float, float], ...] = ((-1.0, float("inf")), *(FREE,) * 4)

    def _map(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, z, _ = unit_scaled(points)
        xi = coefficients(shape)[0]
        inverse = 1.0 / (z + xi * length(x * x + y * y, z)).clamp(min=_MIN_DENOMINATOR)
        return distort(shape[..., 1:], torch.stack([x * inverse, y * inverse], -1))

    def _map_with_jacobians(self, shape: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, z, factor = unit_scaled(points)
        xi = coefficients(shape)[0]
        d = length(x * x + y * y, z)
        xi_over_d = xi / d
        slopes = DenominatorSlopes(value=z + xi * d, by_r=xi_over_d, by_z=1.0 + xi_over_d * z, by_shape=(d,))
        ideal, ideal_by_points, ideal_by_xi = quotient_with_jacobians(x, y, factor, slopes, _MIN_DENOMINATOR)
        m, (u_x, u_y, v_x, v_y), by_distortion = distort_with_jacobians(shape[..., 1:], ideal[..., 0], ideal[..., 1])
        dm_dpoints = torch.empty_like(ideal_by_points)
        dm_dpoints[..., 0, :] = (
            u_x[..., None] * ideal_by_points[..., 0, :] + u_y[..., None] * ideal_by_points[..., 1, :]
        )
        dm_dpoints[..., 1, :] = (
            v_x[..., None] * ideal_by_points[..., 0, :] + v_y[..., None] * ideal_by_points[..., 1, :]
        )
        dm_dshape = m.new_empty((*m.shape, 5))
        x_by_xi, y_by_xi = ideal_by_xi[..., 0, 0], ideal_by_xi[..., 1, 0]
        dm_dshape[..., 0, 0] = u_x * x_by_xi + u_y * y_by_xi
        dm_dshape[..., 1, 0] = v_x * x_by_xi + v_y * y_by_xi
        dm_dshape[..., 1:] = by_distortion
        return m, dm_dpoints, dm_dshape

    def _unmap(self, shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        xi = coefficients(shape)[0]
        undistorted, valid = undistort(shape[..., 1:], m)
        bounded = xi > 1.0
        limit = torch.where(bounded, 1.0 / torch.where(bounded, xi * xi - 1.0, 1.0), float("inf"))
        u, v, r_squared, inside = within_radius(undistorted, limit)
        root = (1.0 + (1.0 - xi * xi) * r_squared).clamp(min=0.0).sqrt()
        scale = (xi + root) / (1.0 + r_squared)
        return torch.stack([u * scale, v * scale, scale - xi], -1), valid & inside

    def _in_domain(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, z, _ = unit_scaled(points)
        xi = coefficients(shape)[0]
        r_squared = x * x + y * y
        d = length(r_squared, z)
        denominator = z + xi * d
        angle = torch.atan2(r_squared.sqrt(), denominator)
        inside = (denominator > _MIN_DENOMINATOR) & (d + xi * z > 0.0)
        return inside & (angle < domain_angle(shape[..., 1:]))
