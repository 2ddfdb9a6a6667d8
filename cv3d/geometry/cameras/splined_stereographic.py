"""The stereographic projection of points, the ground that splined models stand on."""

from __future__ import annotations

import torch
from torch import Tensor

from cv3d.geometry.cameras.base import unit_scaled

BEHIND = 1e-6
"""|p| + z over the largest component of p, below which a point counts as exactly behind the camera."""


def length_plus_depth(x: Tensor, y: Tensor, z: Tensor, length: Tensor) -> Tensor:
    """|p| + z without cancellation behind the camera."""
    behind = z < 0.0
    return torch.where(behind, (x * x + y * y) / torch.where(behind, length - z, 1.0), length + z)


def _scaled_ray(points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x, y of unit-scaled points, |p|, 2 / (|p| + z), and the factor of the scaling."""
    x, y, z, factor = unit_scaled(points)
    squared = x * x + y * y + z * z
    length = torch.where(squared == 0.0, 1.0, squared).sqrt()
    return x, y, length, 2.0 / length_plus_depth(x, y, z, length).clamp(min=BEHIND), factor


def stereographic(points: Tensor) -> Tensor:
    """The projections u of points (..., N, 3), (..., N, 2)."""
    x, y, _, scale, _ = _scaled_ray(points)
    return torch.stack([x * scale, y * scale], -1)


def stereographic_with_jacobian(points: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`stereographic` and its derivative by the points, (..., N, 2, 3)."""
    x, y, length, scale, factor = _scaled_ray(points)
    bend = -0.5 * scale * scale / length
    jacobian = x.new_empty((*x.shape, 2, 3))
    jacobian[..., 0, 0] = scale + bend * x * x
    jacobian[..., 0, 1] = bend * x * y
    jacobian[..., 1, 0] = jacobian[..., 0, 1]
    jacobian[..., 1, 1] = scale + bend * y * y
    jacobian[..., 0, 2] = -scale * x / length
    jacobian[..., 1, 2] = -scale * y / length
    return torch.stack([x * scale, y * scale], -1), jacobian * factor[..., None, None]
