"""Fused twins of camera models for arrays of numbers, on the CPU in float64.

The reference is the model's own expression on tensors (`CameraModel`), to which the tests hold every entry of
:data:`TWINS`. Models that have no twin take the reference for arrays, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.bundle.projection_kernels import PARAMS
from cv3d.geometry.cameras import brown, fused_kernels, kannala_brandt
from cv3d.geometry.cameras.fused_kernels import BROWN, KANNALA_BRANDT, PINHOLE, UNBENT
from cv3d.geometry.cameras.inversion import bracket_table

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TWINS: dict[str, int] = {
    "pinhole": PINHOLE,
    "brown4": BROWN,
    "brown5": BROWN,
    "brown8": BROWN,
    "brown12": BROWN,
    "kannala_brandt4": KANNALA_BRANDT,
}
"""Which kernels take the place of which model."""

_AFFINE = 4


@dataclass(frozen=True, eq=False)
class FusedLens:
    """One camera's parameters as the kernels take them."""

    kind: int
    """Which formulas."""
    params: Floats
    """fx fy cx cy and the coefficients, padded with zeros, (16,)."""
    nodes: Floats
    """Arguments of the radial part between which its inverse is looked for, up to the domain's edge, (T,): angles off
    the axis of a Kannala-Brandt lens, ideal radii of a Brown lens."""
    values: Floats
    """Distorted radii there, (T,)."""

    def project(self, points: Floats) -> Floats:
        """As `CameraModel.project`: pixels (..., 2) of points (..., 3)."""
        flat = np.ascontiguousarray(points, np.float64).reshape(-1, 3)
        pixels = np.empty((len(flat), 2))
        fused_kernels.project_all(self.kind, self.params, flat, pixels)
        return pixels.reshape(*np.shape(points)[:-1], 2)

    def unproject_checked(self, pixels: Floats) -> tuple[Floats, Bools]:
        """As `CameraModel.unproject_checked`: rays (..., 3) of pixels (..., 2), and which mean something, (...)."""
        flat, lead = np.ascontiguousarray(pixels, np.float64).reshape(-1, 2), np.shape(pixels)[:-1]
        rays, valid = np.empty((len(flat), 3)), np.empty(len(flat), np.bool_)
        fused_kernels.unproject_all(self.kind, self.params, self.nodes, self.values, flat, rays, valid)
        return rays.reshape(*lead, 3), valid.reshape(lead)

    def ray_jacobians(self, rays: Floats) -> Floats:
        """Derivatives of unit rays (n, 3) by their pixels, (n, 3, 2); not finite where the lens is singular."""
        jacobians = np.empty((len(rays), 3, 2))
        fused_kernels.differentiate_all(self.kind, self.params, rays, jacobians)
        return jacobians


@lru_cache(maxsize=1024)
def fused_lens(model: str, params: tuple[float, ...]) -> FusedLens | None:
    """The twin of a camera's lens, or None where its model has none.

    Args:
        model: name of the lens model.
        params: its parameters, in the order of the model's `param_names`.
    """
    if model not in TWINS:
        return None
    kind = TWINS[model]
    if kind == BROWN and not any(params[_AFFINE:]):
        kind = UNBENT
    padded = np.zeros(PARAMS)
    padded[: len(params)] = params
    return FusedLens(kind, padded, *_table(kind, params))


def _table(kind: int, params: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Arguments of the radial part up to the edge of the domain, and its values there: those of the reference."""
    shape = torch.tensor(params[_AFFINE:], dtype=torch.float64)
    if kind == PINHOLE:
        return np.zeros(0), np.zeros(0)
    if kind == KANNALA_BRANDT:
        limit = kannala_brandt.domain_angle(shape)
        nodes, values = bracket_table(lambda t: kannala_brandt.distorted_angle(shape, t), limit)
        return nodes.numpy(), values.numpy()
    nodes, values = bracket_table(lambda t: brown.distorted_radius(shape, t), brown.domain_angle(shape))
    return nodes.tan().numpy(), values.numpy()
