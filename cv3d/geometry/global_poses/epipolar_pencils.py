"""Fundamental matrices as constraints on focal lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.global_poses.focal_kernels import essential_residuals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SPREAD = 24.0
"""Squared diagonal of a picture over the variance of a coordinate of points spread evenly in it, both axes alike."""
_AMPLIFICATION = 30.0
"""Deviation of a matrix's entries over that of one match over the root of their number, between points of unit
variance; 30 and 38 on real sets of photographs, see the tests."""
_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class EpipolarPencils:
    """Fundamental matrices between pixels of unit variance around the principal points."""

    matrices: Floats
    """F of norm 1 and rank 2, (e, 3, 3)."""
    first_null: Floats
    """Epipoles in the first pictures, F e = 0, (e, 3), unit."""
    second_null: Floats
    """Epipoles in the second pictures, F^T e = 0, (e, 3), unit."""
    camera: Ints
    """Cameras of first and second picture, (e, 2)."""
    trust: Floats
    """Inverse standard deviation of an entry, (e,)."""
    unit: Floats
    """The cameras' unit of length, (c,), pixels."""
    longer_side: Floats
    """(c,), pixels."""

    @classmethod
    def of(
        cls,
        fundamentals: Floats,
        camera: Ints,
        weights: Floats,
        principal_points: Floats,
        sizes: Floats,
        noise_px: float,
    ) -> Self:
        """Normalise matrices between pixels."""
        unit = np.sqrt((sizes**2).sum(axis=1) / _SPREAD)
        pixel_from_point = np.zeros((len(sizes), 3, 3))
        pixel_from_point[:, 0, 0] = pixel_from_point[:, 1, 1] = unit
        pixel_from_point[:, :2, 2] = principal_points
        pixel_from_point[:, 2, 2] = 1.0
        between = pixel_from_point[camera[:, 1]].transpose(0, 2, 1) @ fundamentals @ pixel_from_point[camera[:, 0]]
        left, singular, right = np.linalg.svd(between)
        singular[:, 2] = 0.0
        singular /= np.linalg.norm(singular, axis=1, keepdims=True)
        matrices = np.ascontiguousarray((left * singular[:, None, :]) @ right)
        noise = _AMPLIFICATION * noise_px / np.sqrt(unit[camera[:, 0]] * unit[camera[:, 1]])
        return cls(
            matrices,
            np.ascontiguousarray(right[:, 2]),
            np.ascontiguousarray(left[:, :, 2]),
            camera,
            np.sqrt(weights) / noise,
            unit,
            sizes.max(axis=1),
        )

    def __len__(self) -> int:
        return len(self.matrices)

    @property
    def cameras(self) -> int:
        """Number of cameras, c."""
        return len(self.unit)

    def only(self, edges: Ints) -> EpipolarPencils:
        """Some of the matrices."""
        return EpipolarPencils(
            self.matrices[edges],
            self.first_null[edges],
            self.second_null[edges],
            self.camera[edges],
            self.trust[edges],
            self.unit,
            self.longer_side,
        )

    def residuals(self, log_ratio: Floats) -> Floats:
        """Distances from the matrices that focal lengths allow, (..., e, 2), in expected standard deviations.

        Args:
            log_ratio: logarithms of the focal lengths over the pictures' longer sides, (..., c).
        """
        focal = np.exp(log_ratio) * self.longer_side / self.unit
        return self._residuals(focal[..., self.camera[:, 0]], focal[..., self.camera[:, 1]])

    def derivatives(self, log_ratio: Floats) -> Floats:
        """Derivatives of the residuals by the logarithms of the first and second focal lengths, (e, 2, 2).

        The last axis is the picture. Differences serve here: the residuals are smooth and far from rounding.
        """
        focal = np.exp(log_ratio) * self.longer_side / self.unit
        first, second = focal[self.camera[:, 0]], focal[self.camera[:, 1]]
        up, down = np.exp(_STEP), np.exp(-_STEP)
        by_first = self._residuals(first * up, second) - self._residuals(first * down, second)
        by_second = self._residuals(first, second * up) - self._residuals(first, second * down)
        return np.stack([by_first, by_second], axis=2) / (2.0 * _STEP)

    def _residuals(self, first: Floats, second: Floats) -> Floats:
        shape = (*first.shape, 2)
        first, second = first.reshape(-1, len(self)), second.reshape(-1, len(self))
        out = np.empty((*first.shape, 2))
        essential_residuals(self.matrices, self.second_null, self.first_null, second, first, out)
        return out.reshape(shape) * self.trust[:, None]
