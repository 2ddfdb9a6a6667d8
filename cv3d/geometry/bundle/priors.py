"""Gaussian priors: what is known of poses, intrinsics and points apart from the pictures.

A prior holds the place at which it was made (its linearisation point) and is never moved from there: its residual at
another state is the difference in tangent coordinates, e = log(T T0^-1) for a pose, and its derivative by a further
step of that pose is the inverse left Jacobian of SE(3) at e.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.bundle.prior_kernels import pose_offsets

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """The quadratic 0.5 e^T H e + b^T e + c of a joint offset e from a linearisation point.

    e stacks [rho, phi] of log(T T0^-1) for every pose (6 each), then the differences of the free parameters for every
    camera (K of them in all).
    """

    poses: tuple[int, ...]
    """Indices of the poses that it ties."""
    at_poses: Floats
    """T0, their linearisation points, (p, 4, 4)."""
    information: Floats
    """H, (6 p + K, 6 p + K)."""
    gradient: Floats
    """b, (6 p + K,)."""
    constant: float = 0.0
    """c: with it, the least value of the quadratic is what the data behind it could not fit."""
    cameras: tuple[int, ...] = ()
    """Indices of the cameras that it ties. Each brings its free unknowns in their order in the problem."""
    at_cameras: tuple[tuple[float, ...], ...] = ()
    """All parameters of these cameras at the linearisation point."""

    @staticmethod
    def on_pose(index: int, b_from_world: Floats, covariance: Floats) -> GaussianPrior:
        """A measured pose.

        Args:
            index: of the pose.
            b_from_world: the measurement, (4, 4).
            covariance: of x = [rho, phi] in exp(x) b_from_world, (6, 6): translation, then rotation in radians.

        Raises:
            InputError: the covariance is not positive definite.
        """
        return GaussianPrior((index,), np.asarray(b_from_world)[None], _inverse(covariance), np.zeros(6))

    @staticmethod
    def on_camera(index: int, params: tuple[float, ...], covariance: Floats) -> GaussianPrior:
        """What is known of a camera's free parameters, such as a focal length from a picture's header.

        Args:
            index: of the camera.
            params: all its parameters where it is known best; those that are held do not matter.
            covariance: of its unknowns in their order in the problem, (K, K): with `one_focal` the focal length fx
                comes first, and then the free names in the order of the model's `param_names`.

        Raises:
            InputError: the covariance is not positive definite.
        """
        information = _inverse(covariance)
        return GaussianPrior(
            (), np.zeros((0, 4, 4)), information, np.zeros(len(information)), cameras=(index,), at_cameras=(params,)
        )

    def check(self, poses: int, unknowns: Sequence[int]) -> None:
        """Whether it fits a problem.

        Args:
            poses: number of poses of the problem.
            unknowns: number of free unknowns of each of its cameras.

        Raises:
            InputError: it does not fit, or its numbers are not finite.
        """
        cameras = len(unknowns)
        if any(not 0 <= p < poses for p in self.poses) or any(not 0 <= c < cameras for c in self.cameras):
            raise InputError("a prior names a pose or a camera that the problem does not have")
        size = len(self.gradient)
        if self.information.shape != (size, size) or self.at_poses.shape != (len(self.poses), 4, 4):
            raise InputError("a prior's information, gradient and linearisation points do not have matching shapes")
        needed = 6 * len(self.poses) + sum(unknowns[camera] for camera in self.cameras)
        if size != needed or len(self.cameras) != len(self.at_cameras):
            raise InputError(f"a prior has {size} unknowns where the poses and cameras that it ties have {needed}")
        if not np.isfinite(self.information.sum() + self.gradient.sum() + self.at_poses.sum()):
            raise InputError("a prior is not finite")

    def pose_offsets(self, poses: Floats) -> tuple[Floats, Floats]:
        """log(T T0^-1), (p, 6), and its derivative by a left step of T, (p, 6, 6), at poses T (P, 4, 4)."""
        offsets, slopes = np.empty((len(self.poses), 6)), np.empty((len(self.poses), 6, 6))
        # Copies in the one layout that the kernel is compiled for.
        at = np.array(self.at_poses, np.float64, order="C")
        pose_offsets(np.ascontiguousarray(poses[list(self.poses)]), at, offsets, slopes)
        return offsets, slopes

    def renumbered(self, poses: dict[int, int]) -> GaussianPrior:
        """The same prior where the poses have other indices, as after dropping one: `poses` from old to new."""
        return GaussianPrior(
            tuple(poses[p] for p in self.poses),
            self.at_poses,
            self.information,
            self.gradient,
            self.constant,
            self.cameras,
            self.at_cameras,
        )


@dataclass(frozen=True, eq=False)
class PointPriors:
    """Measured points: 0.5 (x - at)^T information (x - at) for each."""

    points: Ints
    """Indices, (n,), each at most once."""
    at: Floats
    """Where they were measured, (n, 3)."""
    information: Floats
    """Inverse covariance, (n, 3, 3)."""

    @staticmethod
    def from_covariance(points: Ints, at: Floats, covariance: Floats) -> PointPriors:
        """From covariances, (n, 3, 3).

        Raises:
            InputError: one is not positive definite.
        """
        return PointPriors(np.asarray(points, np.intp), np.asarray(at, np.float64), _inverse(covariance))

    def check(self, points: int) -> None:
        """Whether it fits a problem of so many points.

        Raises:
            InputError: it does not, or its numbers are not finite.
        """
        count = len(self.points)
        if self.at.shape != (count, 3) or self.information.shape != (count, 3, 3):
            raise InputError("point priors are (n, 3) places with (n, 3, 3) information")
        if count and (self.points.min() < 0 or self.points.max() >= points):
            raise InputError("a point prior names a point that the problem does not have")
        if len(np.unique(self.points)) < count:
            raise InputError("a point has two priors: add their information")
        if not np.isfinite(self.at.sum() + self.information.sum()):
            raise InputError("a point prior is not finite")


def _inverse(covariance: Floats) -> Floats:
    matrix = np.asarray(covariance, np.float64)
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise InputError("the covariance of a prior is not positive definite") from None
    root = np.linalg.inv(factor)
    inverse: Floats = np.swapaxes(root, -1, -2) @ root
    return inverse
