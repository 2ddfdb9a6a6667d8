"""The pinhole camera, and the perspective division that the Brown-Conrady models begin with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.geometry.cameras.base import CameraModel, broadcast_shape, smallest_length

MAX_SLOPE = 1e6
"""Points further than this off the axis, as x/z or y/z, are outside the domain of the pinhole camera."""


@dataclass(frozen=True)
class Pinhole(CameraModel):
    """Perspective projection without distortion: m = (x/z, y/z)."""

    name: str = "pinhole"
    shape_names: tuple[str, ...] = ()
    neutral_shape: tuple[float, ...] = ()
    shape_bounds: tuple[tuple[float, float], ...] = ()

    def _map(self, shape: Tensor, points: Tensor) -> Tensor:
        x, y, _, _ = perspective(points, MAX_SLOPE)
        return _at_least_batch(torch.stack([x, y], -1), shape)

    def _map_with_jacobians(self, shape: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, inverse_z, inside = perspective(points, MAX_SLOPE)
        m = _at_least_batch(torch.stack([x, y], -1), shape)
        dm_dpoints = m.new_zeros((*m.shape, 3))
        minus_inverse_z = torch.where(inside, -inverse_z, 0.0)
        dm_dpoints[..., 0, 0] = inverse_z
        dm_dpoints[..., 1, 1] = inverse_z
        dm_dpoints[..., 0, 2] = x * minus_inverse_z
        dm_dpoints[..., 1, 2] = y * minus_inverse_z
        return m, dm_dpoints, m.new_empty((*m.shape, 0))

    def _unmap(self, shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        m = _at_least_batch(m, shape)
        return torch.cat([m, torch.ones_like(m[..., :1])], -1), m.abs().amax(-1) < MAX_SLOPE

    def _in_domain(self, shape: Tensor, points: Tensor) -> Tensor:
        inside = perspective(points, MAX_SLOPE)[3]
        return inside.expand(broadcast_shape(inside.shape, (*shape.shape[:-1], 1)))


def perspective(points: Tensor, max_slope: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Perspective division that stays finite everywhere.

    Args:
        points: (..., N, 3).
        max_slope: z is kept at or above max(|x|, |y|) / max_slope.

    Returns:
        x/z, y/z, 1/z, each (..., N), of the point so moved, and whether it was in front and not moved, (..., N).
    """
    x, y, z = points.unbind(-1)
    # A moved z is a constant to automatic differentiation: outside the domain the derivative by z is zero.
    floor = (torch.maximum(x.abs(), y.abs()).detach() / max_slope).clamp(min=smallest_length(points))
    inside = z > floor
    inverse_z = 1.0 / torch.where(inside, z, floor)
    return x * inverse_z, y * inverse_z, inverse_z, inside


def _at_least_batch(m: Tensor, shape: Tensor) -> Tensor:
    """`m` with the leading axes of the parameters, which no shape parameter has broadcast in."""
    return m.expand(broadcast_shape(m.shape, (*shape.shape[:-1], 1, 2)))
