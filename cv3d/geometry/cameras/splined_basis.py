"""Uniform B-spline weights (de Boor, "A practical guide to splines", 1978, chapter IX)."""

from __future__ import annotations

import torch
from torch import Tensor


def bspline_weights(degree: int, t: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the control points that support a position in a uniform B-spline, and their derivatives.

    Args:
        degree: 2 or 3.
        t: position in knot intervals, (...): from the second of the four control points (cubic; 0 to 1 inside the
            segment), or from the middle one of the three (quadratic; -1/2 to 1/2).

    Returns:
        weights (..., degree + 1), which sum to 1, and their derivatives by t (..., degree + 1).
    """
    if degree == 2:
        before, after = 0.5 - t, 0.5 + t
        weights = torch.stack([0.5 * before * before, 0.75 - t * t, 0.5 * after * after], -1)
        return weights, torch.stack([-before, -2.0 * t, after], -1)
    s = 1.0 - t
    weights = torch.stack(
        [
            s * s * s / 6.0,
            (4.0 + t * t * (3.0 * t - 6.0)) / 6.0,
            (4.0 + s * s * (3.0 * s - 6.0)) / 6.0,
            t * t * t / 6.0,
        ],
        -1,
    )
    slopes = torch.stack([-0.5 * s * s, t * (1.5 * t - 2.0), s * (2.0 - 1.5 * s), 0.5 * t * t], -1)
    return weights, slopes
