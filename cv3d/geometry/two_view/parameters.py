"""The models that relate two pictures, each on its own manifold.

Every model has a matrix and the derivatives of the matrix by a tangent step, which is all that the residuals need. An
epipolar matrix M satisfies ray1^T M ray0 = 0; a homography carries ray0 to a multiple of ray1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.pixel_rays import cross_matrix, tangent_basis
from cv3d.geometry.two_view.parameter_kernels import (
    between,
    complement,
    essential_matrix,
    essential_tangents,
    fundamental_tangents,
    moved_direction,
    rotation_exp,
)

Floats = NDArray[np.float64]

_GENERATORS: Floats = cross_matrix(np.eye(3))


class TwoViewModel(Protocol):
    """A 3x3 matrix that depends on K tangent coordinates."""

    @property
    def unknowns(self) -> int:
        """K."""

    @property
    def matrix(self) -> Floats:
        """(3, 3)."""

    @property
    def tangents(self) -> Floats:
        """Derivatives of the matrix by the tangent coordinates at zero, (K, 3, 3)."""

    def moved(self, step: Floats) -> Self:
        """The model after a tangent step, (K,)."""


@dataclass(frozen=True, eq=False)
class RelativePose:
    """Essential matrix [t]x R of a rotation and a unit translation.

    Tangent, (5,): rotation vector w of exp(w) R, in the second camera's frame, radians; then the move of the direction
    t on the unit sphere along the two columns of :func:`tangent_basis` of t, radians.
    """

    rotation: Floats
    """cam1_from_cam0, (3, 3)."""
    direction: Floats
    """Unit translation of cam1_from_cam0, (3,)."""

    @property
    def unknowns(self) -> int:
        """Five."""
        return 5

    @property
    def matrix(self) -> Floats:
        """E, (3, 3)."""
        return essential_matrix(self.rotation, self.direction)

    @property
    def tangents(self) -> Floats:
        """(5, 3, 3)."""
        return essential_tangents(self.rotation, self.direction)

    def moved(self, step: Floats) -> RelativePose:
        """See :class:`TwoViewModel`."""
        return RelativePose(rotation_exp(step[:3]) @ self.rotation, moved_direction(self.direction, step[3:5]))

    def as_matrix(self) -> Floats:
        """cam1_from_cam0 with unit translation, (4, 4)."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = self.rotation, self.direction
        return pose


@dataclass(frozen=True, eq=False)
class FocalPose:
    """Fundamental matrix diag(1, 1, f1) [t]x R diag(1, 1, f0) of pinhole cameras with unknown focal lengths.

    It acts on homogeneous pixels relative to the principal points. Tangent: that of :class:`RelativePose`, then the
    logarithm of the focal length that both cameras share, (6,), or of the first's and the second's, (7,).
    """

    pose: RelativePose
    focals: tuple[float, float]
    """Of both cameras, in the unit of the homogeneous pixels."""
    shared: bool
    """Whether the two focal lengths are one unknown."""

    @property
    def unknowns(self) -> int:
        """Six or seven."""
        return 6 if self.shared else 7

    @property
    def matrix(self) -> Floats:
        """F, (3, 3)."""
        return self._between(self.pose.matrix)

    @property
    def tangents(self) -> Floats:
        """(6, 3, 3) or (7, 3, 3)."""
        essential = self.pose.matrix
        (left, right), (by_first, by_second) = self._scales(), np.zeros((2, 3, 3))
        by_first[2, 2], by_second[2, 2] = self.focals
        of_first, of_second = left @ essential @ by_first, by_second @ essential @ right
        focal = (of_first + of_second)[None] if self.shared else np.stack([of_first, of_second])
        return np.concatenate([self._between(self.pose.tangents), focal])

    def moved(self, step: Floats) -> FocalPose:
        """See :class:`TwoViewModel`."""
        first, second = self.focals
        grown = (first * float(np.exp(step[5])), second * float(np.exp(step[5 if self.shared else 6])))
        return replace(self, pose=self.pose.moved(step[:5]), focals=grown)

    def _scales(self) -> tuple[Floats, Floats]:
        return np.diag([1.0, 1.0, self.focals[1]]), np.diag([1.0, 1.0, self.focals[0]])

    def _between(self, essential: Floats) -> Floats:
        left, right = self._scales()
        return left @ essential @ right


@dataclass(frozen=True, eq=False)
class Fundamental:
    """Fundamental matrix U diag(cos a, sin a, 0) V^T (Bartoli and Sturm 2004).

    Tangent, (7,): rotation vectors of exp(w) U and exp(w) V, then the angle a.
    """

    left: Floats
    """U, (3, 3)."""
    angle: float
    """a, radians."""
    right: Floats
    """V, (3, 3)."""

    @classmethod
    def from_matrix(cls, matrix: Floats) -> Fundamental:
        """The closest matrix of rank 2, scale and sign dropped; `matrix` is (3, 3)."""
        left, singular, right = np.linalg.svd(matrix)
        left, right = left * np.linalg.det(left), right.T * np.linalg.det(right)
        return cls(left, float(np.arctan2(singular[1], singular[0])), right)

    @property
    def unknowns(self) -> int:
        """Seven."""
        return 7

    @property
    def matrix(self) -> Floats:
        """F, (3, 3), of unit Frobenius norm."""
        return between(self.left, math.cos(self.angle), math.sin(self.angle), self.right)

    @property
    def tangents(self) -> Floats:
        """(7, 3, 3)."""
        return fundamental_tangents(self.left, self.angle, self.right)

    def moved(self, step: Floats) -> Fundamental:
        """See :class:`TwoViewModel`."""
        left, right = rotation_exp(step[:3]) @ self.left, rotation_exp(step[3:6]) @ self.right
        return Fundamental(left, self.angle + float(step[6]), right)


@dataclass(frozen=True, eq=False)
class Homography:
    """Any homography, of unit Frobenius norm. Tangent, (8,): along an orthonormal basis of what is orthogonal to it."""

    matrix: Floats
    """H, (3, 3)."""

    @classmethod
    def from_matrix(cls, matrix: Floats) -> Homography:
        """From a matrix of any scale, (3, 3); the sign is kept."""
        return cls(matrix / np.linalg.norm(matrix))

    @property
    def unknowns(self) -> int:
        """Eight."""
        return 8

    @property
    def tangents(self) -> Floats:
        """(8, 3, 3)."""
        return complement(self.matrix)

    def moved(self, step: Floats) -> Homography:
        """See :class:`TwoViewModel`."""
        return Homography.from_matrix(self.matrix + (step @ self.tangents.reshape(8, 9)).reshape(3, 3))


@dataclass(frozen=True, eq=False)
class Rotation:
    """The homography of two cameras at one place. Tangent, (3,): rotation vector of exp(w) R, radians."""

    matrix: Floats
    """R of cam1_from_cam0, (3, 3)."""

    @classmethod
    def nearest(cls, matrix: Floats) -> Rotation:
        """The rotation closest to a matrix with positive determinant, (3, 3)."""
        left, _, right = np.linalg.svd(matrix)
        return cls((left * np.array([1.0, 1.0, np.linalg.det(left @ right)])) @ right)

    @property
    def unknowns(self) -> int:
        """Three."""
        return 3

    @property
    def tangents(self) -> Floats:
        """(3, 3, 3)."""
        result: Floats = _GENERATORS @ self.matrix
        return result

    def moved(self, step: Floats) -> Rotation:
        """See :class:`TwoViewModel`."""
        return Rotation(rotation_exp(step) @ self.matrix)


@dataclass(frozen=True, eq=False)
class PlanarPose:
    """The homography R + v n^T of a plane n . x = 1 / |v| in units of the translation.

    Tangent, (8,): rotation vector of exp(w) R; v; the move of n along its :func:`tangent_basis`.
    """

    rotation: Floats
    """cam1_from_cam0, (3, 3)."""
    displacement: Floats
    """v: translation of cam1_from_cam0 over the first camera's distance to the plane, (3,)."""
    normal: Floats
    """n: unit normal of the plane in the first camera's frame, away from that camera, (3,)."""

    @property
    def unknowns(self) -> int:
        """Eight."""
        return 8

    @property
    def matrix(self) -> Floats:
        """H, (3, 3)."""
        return self.rotation + np.outer(self.displacement, self.normal)

    @property
    def tangents(self) -> Floats:
        """(8, 3, 3)."""
        by_displacement = np.eye(3)[:, :, None] * self.normal
        by_normal = self.displacement[:, None] * tangent_basis(self.normal).T[:, None, :]
        return np.concatenate([_GENERATORS @ self.rotation, by_displacement, by_normal])

    def moved(self, step: Floats) -> PlanarPose:
        """See :class:`TwoViewModel`."""
        return PlanarPose(
            rotation_exp(step[:3]) @ self.rotation,
            self.displacement + step[3:6],
            moved_direction(self.normal, step[6:8]),
        )

    @property
    def pose(self) -> RelativePose:
        """The relative pose with unit translation."""
        return RelativePose(self.rotation, self.displacement / np.linalg.norm(self.displacement))

    def pose_covariance(self, covariance: Floats) -> Floats:
        """Covariance (5, 5) of :attr:`pose`'s tangent from that of this model's (8, 8)."""
        jacobian = np.zeros((5, 8))
        jacobian[:3, :3] = np.eye(3)
        length = float(np.linalg.norm(self.displacement))
        jacobian[3:, 3:6] = tangent_basis(self.displacement).T / length
        return jacobian @ covariance @ jacobian.T
