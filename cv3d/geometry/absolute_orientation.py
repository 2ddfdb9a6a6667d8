"""The closed form behind the alignment of points, on plain arrays: it is wanted where nothing else needs torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RELATIVE_SPREAD = 1e-12
"""Second over first singular value of the covariance below which the points count as collinear."""
_ROUNDING_UNITS = 8.0
"""Roundings of the coordinates that the covariance is trusted to exceed."""


@dataclass(frozen=True, eq=False)
class Orientation:
    """The similarity that takes points of frame a to frame b."""

    rotation: Floats
    """(..., 3, 3)."""
    translation: Floats
    """(..., 3)."""
    scale: Floats
    """(...)."""
    is_open: NDArray[np.bool_]
    """Whether the points leave the rotation open, (...): collinear or coincident in either frame, or no
    correspondence between the two."""

    def as_matrix(self) -> Floats:
        """[[scale rotation, translation], [0, 1]], (..., 4, 4)."""
        matrix = np.zeros((*self.scale.shape, 4, 4))
        matrix[..., :3, :3] = self.scale[..., None, None] * self.rotation
        matrix[..., :3, 3] = self.translation
        matrix[..., 3, 3] = 1.0
        return matrix


def absolute_orientation(a: Floats, b: Floats, weights: Floats, with_scale: bool = True) -> Orientation:
    """The similarity that minimises sum_i w_i |s R a_i + t - b_i|^2 (Umeyama 1991, eqs. 40-43).

    Args:
        a: finite points, (..., N, 3).
        b: the same points in the other frame, with as many leading axes.
        weights: (..., N), not negative, not all 0.
        with_scale: False keeps the scale at 1.
    """
    fraction = (weights / weights.sum(axis=-1, keepdims=True))[..., None]
    mean_a, mean_b = (fraction * a).sum(axis=-2), (fraction * b).sum(axis=-2)
    centred_a, centred_b = a - mean_a[..., None, :], b - mean_b[..., None, :]
    variance_a = (fraction * centred_a**2).sum(axis=(-2, -1))
    variance_b = (fraction * centred_b**2).sum(axis=(-2, -1))
    covariance = np.swapaxes(fraction * centred_b, -1, -2) @ centred_a

    u, singular, vt = np.linalg.svd(covariance)
    orientation = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    signs = np.stack([np.ones_like(orientation), np.ones_like(orientation), orientation], axis=-1)

    rounding = np.finfo(np.float64).eps * (
        np.abs(mean_a).max(axis=-1) * np.sqrt(variance_b) + np.abs(mean_b).max(axis=-1) * np.sqrt(variance_a)
    )
    determined = singular[..., 1] + orientation * singular[..., 2]
    is_open = np.asarray(determined <= _RELATIVE_SPREAD * singular[..., 0] + _ROUNDING_UNITS * rounding)

    rotation = (u * signs[..., None, :]) @ vt
    spread = np.where(variance_a > 0.0, variance_a, 1.0)
    scale = (singular * signs).sum(axis=-1) / spread if with_scale else np.ones_like(variance_a)
    scale = np.asarray(scale)
    translation = mean_b - scale[..., None] * (rotation @ mean_a[..., None])[..., 0]
    return Orientation(rotation, translation, scale, is_open)
