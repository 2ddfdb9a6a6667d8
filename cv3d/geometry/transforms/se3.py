"""Rigid motions of space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from cv3d.geometry.transforms.algebra import broadcast_shapes, cross, skew, stumpff
from cv3d.geometry.transforms.base import LieGroup
from cv3d.geometry.transforms.so3 import SO3, inverse_jacobian_curvature


@dataclass(frozen=True, eq=False)
class SE3(LieGroup):
    """Rigid motions `b_from_a`: x_b = R x_a + t. The tangent is [rho, phi], (..., 6): translation, rotation vector."""

    wxyz_xyz: Tensor
    """Unit quaternion, real part first, then translation, (..., 7)."""

    parameter_dim: ClassVar[int] = 7
    tangent_dim: ClassVar[int] = 6
    matrix_dim: ClassVar[int] = 4

    @property
    def parameters(self) -> Tensor:
        """Quaternion and translation, (..., 7)."""
        return self.wxyz_xyz

    @classmethod
    def identity(
        cls,
        batch: Sequence[int] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """No motion, `batch` times."""
        wxyz_xyz = torch.zeros((*batch, 7), dtype=dtype, device=device)
        wxyz_xyz[..., 0] = 1.0
        return cls(wxyz_xyz)

    @classmethod
    def from_rotation_and_translation(cls, rotation: SO3, translation: Tensor) -> Self:
        """Rotate, then translate.

        Args:
            rotation: R.
            translation: t, (..., 3), the origin of frame a seen from frame b; leading axes broadcast with `rotation`.

        Returns:
            The motion with the broadcast batch.
        """
        batch = broadcast_shapes(rotation.batch_shape, translation.shape[:-1])
        return cls(torch.cat([rotation.wxyz.expand(*batch, 4), translation.expand(*batch, 3)], dim=-1))

    @classmethod
    def from_matrix(cls, matrix: Tensor) -> Self:
        """From matrices [R t], (..., 3, 4), or the same with the row [0 0 0 1], (..., 4, 4), which is not read."""
        if matrix.shape[-2:] not in ((4, 4), (3, 4)):
            raise ValueError(f"rigid motions are (..., 4, 4) or (..., 3, 4) matrices, got {tuple(matrix.shape)}")
        return cls.from_rotation_and_translation(SO3.from_matrix(matrix[..., :3, :3]), matrix[..., :3, 3])

    @classmethod
    def exp(cls, tangent: Tensor) -> Self:
        """Motions from tangent vectors [rho, phi], (..., 6) (Solà et al. 2018, eq. 172)."""
        rho, phi = tangent[..., :3], tangent[..., 3:]
        _, _, c2, c3 = stumpff(phi.square().sum(dim=-1, keepdim=True), 4)
        once = cross(phi, rho)
        translation = rho + c2 * once + c3 * cross(phi, once)
        return cls(torch.cat([SO3.exp(phi).wxyz, translation], dim=-1))

    def log(self) -> Tensor:
        """Tangent vectors [rho, phi], (..., 6), with |phi| at most pi."""
        phi, translation = self.rotation().log(), self.translation()
        curvature = inverse_jacobian_curvature(phi.square().sum(dim=-1, keepdim=True))
        once = cross(phi, translation)
        rho = translation - 0.5 * once + curvature * cross(phi, once)
        return torch.cat([rho, phi], dim=-1)

    def rotation(self) -> SO3:
        """R."""
        return SO3(self.wxyz_xyz[..., :4])

    def translation(self) -> Tensor:
        """t, (..., 3): the origin of frame a seen from frame b."""
        return self.wxyz_xyz[..., 4:]

    def as_matrix(self) -> Tensor:
        """Homogeneous matrices, (..., 4, 4)."""
        return homogeneous(self.rotation().as_matrix(), self.translation())

    def inverse(self) -> Self:
        """`a_from_b`, given `b_from_a`."""
        rotation = self.rotation().inverse()
        return type(self)(torch.cat([rotation.wxyz, -rotation.apply(self.translation())], dim=-1))

    def adjoint(self) -> Tensor:
        """[[R, skew(t) R], [0, R]], (..., 6, 6) (Solà et al. 2018, eq. 175)."""
        rotation = self.rotation().as_matrix()
        return _block_upper(rotation, skew(self.translation()) @ rotation)

    def normalized(self) -> Self:
        """The same motion with its quaternion at unit norm."""
        return type(self)(torch.cat([self.rotation().normalized().wxyz, self.translation()], dim=-1))

    def apply(self, points: Tensor) -> Tensor:
        """Move points, (..., 3); see :meth:`LieGroup.apply` for the batch axes."""
        return self.rotation().apply(points) + self.translation()

    def _compose(self, other: Self) -> Self:
        return self.from_rotation_and_translation(self.rotation() @ other.rotation(), self.apply(other.translation()))

    @staticmethod
    def left_jacobian(tangent: Tensor) -> Tensor:
        """J for which exp(x + d) = exp(J d) exp(x) to first order in d (Solà et al. 2018, eq. 179).

        Args:
            tangent: x = [rho, phi], (..., 6).

        Returns:
            (..., 6, 6), blocks in the order of the tangent.
        """
        return _block_upper(SO3.left_jacobian(tangent[..., 3:]), _translation_rotation_block(tangent))

    @staticmethod
    def left_jacobian_inverse(tangent: Tensor) -> Tensor:
        """The inverse of :meth:`left_jacobian`, (..., 6, 6), for |phi| < 2 pi (Solà et al. 2018, eq. 179)."""
        inverse = SO3.left_jacobian_inverse(tangent[..., 3:])
        return _block_upper(inverse, -inverse @ _translation_rotation_block(tangent) @ inverse)

    @staticmethod
    def right_jacobian(tangent: Tensor) -> Tensor:
        """J for which exp(x + d) = exp(x) exp(J d) to first order in d; (..., 6) to (..., 6, 6)."""
        return SE3.left_jacobian(-tangent)

    @staticmethod
    def right_jacobian_inverse(tangent: Tensor) -> Tensor:
        """The inverse of :meth:`right_jacobian`, (..., 6, 6), for |phi| < 2 pi."""
        return SE3.left_jacobian_inverse(-tangent)


def homogeneous(linear: Tensor, translation: Tensor) -> Tensor:
    """[[linear, translation], [0, 1]], (..., 4, 4), from (..., 3, 3) and (..., 3) of equal leading axes."""
    top = torch.cat([linear, translation[..., None]], dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3] = 1.0
    return torch.cat([top, bottom], dim=-2)


def _translation_rotation_block(tangent: Tensor) -> Tensor:
    """How the rotation part moves the translation: the matrix Q of Barfoot and Furgale 2014, eq. 102."""
    rho, phi = skew(tangent[..., :3]), skew(tangent[..., 3:])
    _, _, _, c3, c4, c5 = stumpff(tangent[..., 3:].square().sum(dim=-1)[..., None, None], 6)
    phi_rho, rho_phi = phi @ rho, rho @ phi
    phi_rho_phi = phi_rho @ phi
    return (
        0.5 * rho
        + c3 * (phi_rho + rho_phi + phi_rho_phi)
        + c4 * (phi @ phi_rho + rho_phi @ phi - 3.0 * phi_rho_phi)
        + 0.5 * (c4 - 3.0 * c5) * (phi_rho_phi @ phi + phi @ phi_rho_phi)
    )


def _block_upper(diagonal: Tensor, corner: Tensor) -> Tensor:
    """[[diagonal, corner], [0, diagonal]], (..., 6, 6), from two (..., 3, 3)."""
    top = torch.cat([diagonal, corner], dim=-1)
    bottom = torch.cat([torch.zeros_like(diagonal), diagonal], dim=-1)
    return torch.cat([top, bottom], dim=-2)
