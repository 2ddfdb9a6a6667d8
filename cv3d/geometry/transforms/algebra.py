"""The vector algebra and the scalar functions that the exponential maps share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_SERIES_BELOW = 4.0
_SERIES_TERMS = 12


def skew(vector: Tensor) -> Tensor:
    """The matrix of the cross product, `skew(v) @ p == cross(v, p)`.

    Args:
        vector: (..., 3).

    Returns:
        (..., 3, 3).
    """
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape[:-1], 3, 3)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross product of (..., 3) and (..., 3) with as many leading axes."""
    product: Tensor = torch.linalg.cross(a, b)
    return product


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """The shape that tensors of these shapes broadcast to."""
    shape = torch.Size(np.broadcast_shapes(*(tuple(shape) for shape in shapes)))
    return shape


def stumpff(x: Tensor, count: int) -> list[Tensor]:
    """The Stumpff functions c_k(x) = sum_j (-x)^j / (2j + k)! for k = 0 … count - 1.

    With x = theta^2 they are what the exponential maps are made of: c_0 = cos(theta), c_1 = sin(theta) / theta,
    c_2 = (1 - cos(theta)) / theta^2, c_3 = (theta - sin(theta)) / theta^3, and c_k = 1/k! - x c_{k+2} (Stumpff 1959,
    "Himmelsmechanik" I). The quotients lose all digits near zero and the series does not: below x = 4 the two highest
    orders are summed and the rest follows from the recursion downwards, above it the recursion runs upwards from sine
    and cosine. Both are evaluated only where they are finite, so that derivatives of any order are finite too.

    Args:
        x: (...), squared angles, not negative.
        count: how many functions, at least 2.

    Returns:
        `count` tensors of the shape of `x`, accurate to rounding relative to 1 / k!.
    """
    use_series = x < _SERIES_BELOW
    low = torch.where(use_series, x, torch.zeros_like(x))
    high = torch.where(use_series, torch.full_like(x, _SERIES_BELOW), x)

    series = [_power_series(low, count - 2), _power_series(low, count - 1)]
    for k in range(count - 3, -1, -1):
        series.insert(0, 1.0 / math.factorial(k) - low * series[1])

    theta = torch.sqrt(high)
    direct = [torch.cos(theta), torch.sin(theta) / theta]
    for k in range(count - 2):
        direct.append((1.0 / math.factorial(k) - direct[k]) / high)

    return [torch.where(use_series, s, d) for s, d in zip(series, direct, strict=True)]


def _power_series(x: Tensor, order: int) -> Tensor:
    """c_order(x) for 0 <= x < 4 by Horner's rule; the first neglected term is below 3e-17."""
    total = torch.full_like(x, 1.0 / math.factorial(2 * (_SERIES_TERMS - 1) + order))
    for j in range(_SERIES_TERMS - 2, -1, -1):
        total = 1.0 / math.factorial(2 * j + order) - x * total
    return total
