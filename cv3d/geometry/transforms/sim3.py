"""Similarities of space: rigid motions with a change of scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from cv3d.geometry.transforms.algebra import broadcast_shapes, cross, skew, stumpff
from cv3d.geometry.transforms.base import LieGroup
from cv3d.geometry.transforms.se3 import SE3, homogeneous
from cv3d.geometry.transforms.so3 import SO3

_NODES, _WEIGHTS = (values.tolist() for values in np.polynomial.legendre.leggauss(16))


@dataclass(frozen=True, eq=False)
class Sim3(LieGroup):
    """Similarities `b_from_a`: x_b = s R x_a + t. The tangent is [rho, phi, sigma], (..., 7), with s = exp(sigma)."""

    wxyz_xyz_scale: Tensor
    """Unit quaternion, real part first, then translation, then scale (positive), (..., 8)."""

    parameter_dim: ClassVar[int] = 8
    tangent_dim: ClassVar[int] = 7
    matrix_dim: ClassVar[int] = 4

    @property
    def parameters(self) -> Tensor:
        """Quaternion, translation and scale, (..., 8)."""
        return self.wxyz_xyz_scale

    @classmethod
    def identity(
        cls,
        batch: Sequence[int] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """No motion at scale 1, `batch` times."""
        wxyz_xyz_scale = torch.zeros((*batch, 8), dtype=dtype, device=device)
        wxyz_xyz_scale[..., 0] = 1.0
        wxyz_xyz_scale[..., 7] = 1.0
        return cls(wxyz_xyz_scale)

    @classmethod
    def from_rotation_translation_and_scale(cls, rotation: SO3, translation: Tensor, scale: Tensor) -> Self:
        """Scale and rotate, then translate.

        Args:
            rotation: R.
            translation: t, (..., 3), the origin of frame a seen from frame b.
            scale: s, (...), positive: lengths in frame b over lengths in frame a.

        Returns:
            The similarity with the batch that the three broadcast to.
        """
        batch = broadcast_shapes(rotation.batch_shape, translation.shape[:-1], scale.shape)
        parts = [rotation.wxyz.expand(*batch, 4), translation.expand(*batch, 3), scale.expand(batch)[..., None]]
        return cls(torch.cat(parts, dim=-1))

    @classmethod
    def from_rigid(cls, rigid: SE3) -> Self:
        """A rigid motion as a similarity of scale 1."""
        return cls(torch.cat([rigid.wxyz_xyz, torch.ones_like(rigid.wxyz_xyz[..., :1])], dim=-1))

    @classmethod
    def from_matrix(cls, matrix: Tensor) -> Self:
        """From matrices [sR t], (..., 3, 4), or the same with the row [0 0 0 1], (..., 4, 4), which is not read."""
        if matrix.shape[-2:] not in ((4, 4), (3, 4)):
            raise ValueError(f"similarities are (..., 4, 4) or (..., 3, 4) matrices, got {tuple(matrix.shape)}")
        linear = matrix[..., :3, :3]
        scale = torch.sqrt(linear.square().sum(dim=(-2, -1)) / 3.0)
        rotation = SO3.from_matrix(linear / scale[..., None, None])
        return cls.from_rotation_translation_and_scale(rotation, matrix[..., :3, 3], scale)

    @classmethod
    def exp(cls, tangent: Tensor) -> Self:
        """Similarities from tangent vectors [rho, phi, sigma], (..., 7), accurate for |sigma| up to 20."""
        rho, phi, sigma = tangent[..., :3], tangent[..., 3:6], tangent[..., 6:]
        straight, once_factor, twice_factor = _translation_factors(phi.square().sum(dim=-1, keepdim=True), sigma)
        once = cross(phi, rho)
        translation = straight * rho + once_factor * once + twice_factor * cross(phi, once)
        return cls(torch.cat([SO3.exp(phi).wxyz, translation, torch.exp(sigma)], dim=-1))

    def log(self) -> Tensor:
        """Tangent vectors [rho, phi, sigma], (..., 7), with |phi| at most pi.

        The matrix W with t = W rho is inverted within the algebra of skew(phi): along phi its eigenvalue is C, across
        it P + i A theta, in the terms of :func:`_translation_factors` and with P = C - B theta^2.
        """
        phi, translation, sigma = self.rotation().log(), self.translation(), torch.log(self.wxyz_xyz_scale[..., 7:])
        squared_angle = phi.square().sum(dim=-1, keepdim=True)
        c, a, b = _translation_factors(squared_angle, sigma)
        p = c - b * squared_angle
        squared_modulus = p.square() + a.square() * squared_angle
        once = cross(phi, translation)
        twice = cross(phi, once)
        rho = translation / c - a / squared_modulus * once + (a.square() - p * b) / (c * squared_modulus) * twice
        return torch.cat([rho, phi, sigma], dim=-1)

    def rotation(self) -> SO3:
        """R."""
        return SO3(self.wxyz_xyz_scale[..., :4])

    def translation(self) -> Tensor:
        """t, (..., 3): the origin of frame a seen from frame b."""
        return self.wxyz_xyz_scale[..., 4:7]

    def scale(self) -> Tensor:
        """s, (...): lengths in frame b over lengths in frame a."""
        return self.wxyz_xyz_scale[..., 7]

    def as_matrix(self) -> Tensor:
        """Homogeneous matrices [[sR, t], [0, 1]], (..., 4, 4)."""
        return homogeneous(self._scaled_rotation(), self.translation())

    def inverse(self) -> Self:
        """`a_from_b`, given `b_from_a`."""
        rotation, scale = self.rotation().inverse(), 1.0 / self.wxyz_xyz_scale[..., 7:]
        return type(self)(torch.cat([rotation.wxyz, -scale * rotation.apply(self.translation()), scale], dim=-1))

    def adjoint(self) -> Tensor:
        """[[sR, skew(t) R, -t], [0, R, 0], [0, 0, 1]], (..., 7, 7)."""
        rotation, translation = self.rotation().as_matrix(), self.translation()
        column = torch.zeros_like(translation)[..., None]
        zero = torch.zeros_like(rotation)
        top = torch.cat([self._scaled_rotation(), skew(translation) @ rotation, -translation[..., None]], dim=-1)
        middle = torch.cat([zero, rotation, column], dim=-1)
        bottom = torch.cat([column, column, torch.ones_like(column[..., :1, :])], dim=-2).transpose(-1, -2)
        return torch.cat([top, middle, bottom], dim=-2)

    def normalized(self) -> Self:
        """The same similarity with its quaternion at unit norm."""
        return type(self)(torch.cat([self.rotation().normalized().wxyz, self.wxyz_xyz_scale[..., 4:]], dim=-1))

    def apply(self, points: Tensor) -> Tensor:
        """Transform points, (..., 3); see :meth:`LieGroup.apply` for the batch axes."""
        return self.wxyz_xyz_scale[..., 7:] * self.rotation().apply(points) + self.translation()

    def _compose(self, other: Self) -> Self:
        return self.from_rotation_translation_and_scale(
            self.rotation() @ other.rotation(), self.apply(other.translation()), self.scale() * other.scale()
        )

    def _scaled_rotation(self) -> Tensor:
        return self.wxyz_xyz_scale[..., 7:, None] * self.rotation().as_matrix()


def _translation_factors(squared_angle: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """C, A and B in W = C I + A skew(phi) + B skew(phi)^2, the matrix that takes rho to the translation.

    W is the integral of exp(u (sigma I + skew(phi))) over u from 0 to 1. Its closed form divides by sigma, theta and
    sigma^2 + theta^2, each of which may vanish alone or with the others; Gauss-Legendre quadrature with 16 nodes needs
    no such cases, is smooth in both arguments, and is exact to rounding for |sigma| up to 20.

    Args:
        squared_angle: theta^2, (..., 1), at most (2 pi)^2.
        sigma: logarithm of the scale, (..., 1).

    Returns:
        C, A and B, (..., 1) each.
    """
    nodes = 0.5 + 0.5 * torch.tensor(_NODES, dtype=sigma.dtype, device=sigma.device)
    weights = 0.5 * torch.tensor(_WEIGHTS, dtype=sigma.dtype, device=sigma.device)
    growth = weights * torch.exp(nodes * sigma)
    _, c1, c2 = stumpff(nodes.square() * squared_angle, 3)
    straight = growth.sum(dim=-1, keepdim=True)
    once = (growth * nodes * c1).sum(dim=-1, keepdim=True)
    twice = (growth * nodes.square() * c2).sum(dim=-1, keepdim=True)
    return straight, once, twice
