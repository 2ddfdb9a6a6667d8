"""Inverses of structure tensors of which a part is noise, by fused kernels."""

from __future__ import annotations

import math

import numpy as np

from cv3d.geometry.fused import fused

STRAIGHT = 1e-6
"""Least eigenvalue that is told from noise, over the largest: of a straight edge it is 0."""


@fused
def step_inverse(xx: np.float32, xy: np.float32, yy: np.float32, noise: float) -> tuple[float, float, float]:
    """Inverse of a structure tensor, for steps: less and less of it along a direction whose gradients may be noise.

    An eigenvalue e becomes (e - noise) / e^2, or 0: along an edge, where nothing tells a place, it stays.
    """
    low, high = _eigenvalues(xx, xy, yy)
    by_low = (low - noise) / (low * low) if low > noise else 0.0
    by_high = (high - noise) / (high * high) if high > noise else 0.0
    return _with_eigenvalues(xx, xy, yy, low, high, by_low, by_high)


@fused
def spread_inverse(xx: np.float32, xy: np.float32, yy: np.float32, noise: float) -> tuple[float, float, float]:
    """Inverse of a structure tensor, for the covariance: of what of it is not noise."""
    low, high = _eigenvalues(xx, xy, yy)
    least = STRAIGHT * high + 1e-9
    by_low, by_high = 1.0 / max(low - noise, least), 1.0 / max(high - noise, least)
    return _with_eigenvalues(xx, xy, yy, low, high, by_low, by_high)


@fused
def _eigenvalues(xx: np.float32, xy: np.float32, yy: np.float32) -> tuple[float, float]:
    """Of a symmetric matrix, the smaller first, never the same. In float64: they may be a million times apart."""
    a, b, c = float(xx), float(xy), float(yy)
    middle = 0.5 * (a + c)
    half = math.sqrt(0.25 * (a - c) ** 2 + b * b) + 1e-12 * middle + 1e-12
    return middle - half, middle + half


@fused
def _with_eigenvalues(
    xx: np.float32, xy: np.float32, yy: np.float32, low: float, high: float, new_low: float, new_high: float
) -> tuple[float, float, float]:
    """A symmetric matrix with other eigenvalues: a function of one is linear in it."""
    slope = (new_high - new_low) / (high - low)
    level = new_high - slope * high
    return level + slope * float(xx), slope * float(xy), level + slope * float(yy)
