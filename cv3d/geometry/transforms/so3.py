"""Rotations of space as unit quaternions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from cv3d.geometry.transforms.algebra import skew, stumpff
from cv3d.geometry.transforms.base import LieGroup

_ARCTAN_SERIES_BELOW = 0.01
_ARCTAN_SERIES_TERMS = 8


@dataclass(frozen=True, eq=False)
class SO3(LieGroup):
    """Rotations `b_from_a`; q and -q are the same one. The tangent is the rotation vector, (..., 3), in radians."""

    wxyz: Tensor
    """Unit quaternion, real part first, (..., 4)."""

    parameter_dim: ClassVar[int] = 4
    tangent_dim: ClassVar[int] = 3
    matrix_dim: ClassVar[int] = 3

    @property
    def parameters(self) -> Tensor:
        """The quaternion, (..., 4)."""
        return self.wxyz

    @classmethod
    def identity(
        cls,
        batch: Sequence[int] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """No rotation, `batch` times."""
        wxyz = torch.zeros((*batch, 4), dtype=dtype, device=device)
        wxyz[..., 0] = 1.0
        return cls(wxyz)

    @classmethod
    def from_wxyz(cls, quat_wxyz: Tensor) -> Self:
        """From quaternions, (..., 4), real part first, of any norm but zero (which gives NaN)."""
        return cls(quat_wxyz / torch.linalg.vector_norm(quat_wxyz, dim=-1, keepdim=True))

    @classmethod
    def from_matrix(cls, matrix: Tensor) -> Self:
        """From rotation matrices.

        The matrix determines 4 q q^T linearly (Shepperd 1978, "Quaternion from rotation matrix"). Each row of that is a
        multiple of q; the one with the largest diagonal entry, never below 1, is well away from zero at every angle.

        Args:
            matrix: (..., 3, 3), orthonormal with determinant 1. Rounding errors in it are damped, not checked.

        Returns:
            The rotation, its quaternion with w >= 0.
        """
        if matrix.shape[-2:] != (3, 3):
            raise ValueError(f"rotation matrices are (..., 3, 3), got {tuple(matrix.shape)}")
        m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.flatten(-2).unbind(-1)
        wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
        xy, xz, yz = m01 + m10, m02 + m20, m12 + m21
        ww, xx = 1.0 + m00 + m11 + m22, 1.0 + m00 - m11 - m22
        yy, zz = 1.0 - m00 + m11 - m22, 1.0 - m00 - m11 + m22
        outer = torch.stack([ww, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz], dim=-1)
        largest = torch.stack([ww, xx, yy, zz], dim=-1).argmax(dim=-1)
        row = torch.take_along_dim(outer.reshape(*m00.shape, 4, 4), largest[..., None, None], dim=-2).squeeze(-2)
        return cls.from_wxyz(_positive_real_part(row))

    @classmethod
    def exp(cls, tangent: Tensor) -> Self:
        """Rotations from rotation vectors, (..., 3): axis times angle in radians."""
        real, imaginary_over_half_angle = stumpff(0.25 * tangent.square().sum(dim=-1, keepdim=True), 2)
        return cls(torch.cat([real, 0.5 * imaginary_over_half_angle * tangent], dim=-1))

    def log(self) -> Tensor:
        """Rotation vectors, (..., 3), of angle at most pi.

        The angle is twice the arc tangent of |xyz| / w, which keeps its digits both near 0 and near pi; up to a ratio
        of 0.1 its power series replaces the quotient by |xyz|, for the sake of derivatives at the identity.
        """
        wxyz = _positive_real_part(self.wxyz)
        real, imaginary = wxyz[..., :1], wxyz[..., 1:]
        squared_norm = imaginary.square().sum(dim=-1, keepdim=True)
        use_series = squared_norm < _ARCTAN_SERIES_BELOW * real.square()

        one = torch.ones_like(real)
        series_real = torch.where(use_series, real, one)
        ratio = torch.where(use_series, squared_norm, torch.zeros_like(real)) / series_real.square()
        series = torch.full_like(ratio, 1.0 / (2 * _ARCTAN_SERIES_TERMS - 1))
        for k in range(_ARCTAN_SERIES_TERMS - 2, -1, -1):
            series = 1.0 / (2 * k + 1) - ratio * series

        norm = torch.sqrt(torch.where(use_series, one, squared_norm))
        return 2.0 * torch.where(use_series, series / series_real, torch.atan2(norm, real) / norm) * imaginary

    def as_matrix(self) -> Tensor:
        """Rotation matrices, (..., 3, 3)."""
        w, x, y, z = self.wxyz.unbind(-1)
        _, x2, y2, z2 = (2.0 * self.wxyz).unbind(-1)
        return torch.stack(
            [
                1.0 - (y * y2 + z * z2),
                x * y2 - w * z2,
                x * z2 + w * y2,
                x * y2 + w * z2,
                1.0 - (x * x2 + z * z2),
                y * z2 - w * x2,
                x * z2 - w * y2,
                y * z2 + w * x2,
                1.0 - (x * x2 + y * y2),
            ],
            dim=-1,
        ).reshape(*self.batch_shape, 3, 3)

    def rotation(self) -> SO3:
        """Itself, as the other groups give their rotation."""
        return self

    def inverse(self) -> Self:
        """`a_from_b`, given `b_from_a`."""
        return type(self)(torch.cat([self.wxyz[..., :1], -self.wxyz[..., 1:]], dim=-1))

    def adjoint(self) -> Tensor:
        """The rotation matrix, (..., 3, 3): R exp(phi) R^-1 = exp(R phi)."""
        return self.as_matrix()

    def normalized(self) -> Self:
        """The same rotation with its quaternion at unit norm."""
        return self.from_wxyz(self.wxyz)

    def apply(self, points: Tensor) -> Tensor:
        """Rotate points, (..., 3); see :meth:`LieGroup.apply` for the batch axes.

        A sum over the columns of the matrix broadcasts without a copy per point, which makes it three times as fast as
        the quaternion's two cross products where one rotation serves many points.
        """
        columns = self.as_matrix().unbind(-1)
        return columns[0] * points[..., 0:1] + columns[1] * points[..., 1:2] + columns[2] * points[..., 2:3]

    def _compose(self, other: Self) -> Self:
        w1, x1, y1, z1 = self.wxyz.unbind(-1)
        w2, x2, y2, z2 = other.wxyz.unbind(-1)
        return type(self)(
            torch.stack(
                [
                    w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
                    w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
                    w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
                    w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
                ],
                dim=-1,
            )
        )

    @staticmethod
    def left_jacobian(tangent: Tensor) -> Tensor:
        """J for which exp(phi + d) = exp(J d) exp(phi) to first order in d (Solà et al. 2018, eq. 145).

        Args:
            tangent: rotation vectors phi, (..., 3), radians.

        Returns:
            (..., 3, 3). It is also the matrix V that takes rho to the translation of the SE3 exponential.
        """
        _, _, c2, c3 = stumpff(tangent.square().sum(dim=-1)[..., None, None], 4)
        hat = skew(tangent)
        return _identity_like(hat) + c2 * hat + c3 * hat @ hat

    @staticmethod
    def left_jacobian_inverse(tangent: Tensor) -> Tensor:
        """The inverse of :meth:`left_jacobian`, (..., 3, 3), for |tangent| < 2 pi (Solà et al. 2018, eq. 146)."""
        hat = skew(tangent)
        curvature = inverse_jacobian_curvature(tangent.square().sum(dim=-1)[..., None, None])
        return _identity_like(hat) - 0.5 * hat + curvature * hat @ hat

    @staticmethod
    def right_jacobian(tangent: Tensor) -> Tensor:
        """J for which exp(phi + d) = exp(phi) exp(J d) to first order in d; (..., 3) to (..., 3, 3)."""
        return SO3.left_jacobian(-tangent)

    @staticmethod
    def right_jacobian_inverse(tangent: Tensor) -> Tensor:
        """The inverse of :meth:`right_jacobian`, (..., 3, 3), for |tangent| < 2 pi."""
        return SO3.left_jacobian_inverse(-tangent)


def inverse_jacobian_curvature(squared_angle: Tensor) -> Tensor:
    """The factor of skew(phi)^2 in the inverse left Jacobian, 1/theta^2 - cot(theta / 2) / (2 theta).

    The recursion of the Stumpff functions turns it into a quotient without a pole at zero.

    Args:
        squared_angle: theta^2, (...), below 4 pi^2.

    Returns:
        The factor, (...); 1/12 at zero.
    """
    _, _, c2, c3, c4 = stumpff(squared_angle, 5)
    return (0.5 * c3 - c4) / c2


def _positive_real_part(wxyz: Tensor) -> Tensor:
    return torch.where(wxyz[..., :1] < 0, -wxyz, wxyz)


def _identity_like(matrix: Tensor) -> Tensor:
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
