"""Fused kernels of global positioning: the reduced equations of the centres, and the steps of all else.

A ray v from a centre c to a point X has the residual e = v - d (X - c) with its own scale d, which makes the
sum bilinear (Zhuang, Cheong and Lee 2018, "Baseline desensitizing in translation averaging"; Pan et al. 2024, "Global
structure-from-motion revisited"). Scales and points are eliminated in closed form; the centres remain.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.kernels import rho
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_TINY = 1e-300


@fused
def positioning_cost(
    image: Ints, track: Ints, rays: Floats, centres: Floats, points: Floats, scales: Floats, kind: int, width: float
) -> float:
    """Sum of the robust squared residuals."""
    total = 0.0
    for k in range(len(image)):
        squared = 0.0
        for i in range(3):
            e = rays[k, i] - scales[k] * (points[track[k], i] - centres[image[k], i])
            squared += e * e
        total += rho(kind, width, squared)[0]
    return total


@fused
def _inverse_symmetric(m: Floats, out: Floats) -> None:
    """Inverse of a symmetric (3, 3) matrix by its cofactors."""
    a = m[1, 1] * m[2, 2] - m[1, 2] * m[1, 2]
    b = m[0, 2] * m[1, 2] - m[0, 1] * m[2, 2]
    c = m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]
    scale = 1.0 / (m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + _TINY)
    out[0, 0], out[0, 1], out[0, 2] = a * scale, b * scale, c * scale
    out[1, 1] = (m[0, 0] * m[2, 2] - m[0, 2] * m[0, 2]) * scale
    out[1, 2] = (m[0, 1] * m[0, 2] - m[0, 0] * m[1, 2]) * scale
    out[2, 2] = (m[0, 0] * m[1, 1] - m[0, 1] * m[0, 1]) * scale
    out[1, 0], out[2, 0], out[2, 1] = out[0, 1], out[0, 2], out[1, 2]


@fused
def reduced_equations(  # noqa: PLR0912
    start: Ints,
    image: Ints,
    rays: Floats,
    centres: Floats,
    points: Floats,
    scales: Floats,
    kind: int,
    width: float,
    damping: float,
    blocks: Floats,
    inverses: Floats,
    gradients: Floats,
    matrix: Floats,
    right: Floats,
) -> None:
    """Equations of the centres' steps, with points and scales eliminated.

    Args:
        start: where each point's observations start, (p + 1,).
        image: (m,), observations by point.
        rays: unit rays in the world's frame, (m, 3).
        centres: (n, 3).
        points: (p, 3).
        scales: (m,).
        kind: loss, as `cv3d.geometry.bundle.kernels` numbers them.
        width: of the loss.
        damping: Marquardt's.
        blocks: information of each observation without its scale, (m, 3, 3), written.
        inverses: inverse information of each point, (p, 3, 3), written.
        gradients: of the points, (p, 3), written.
        matrix: (3 n, 3 n), zeros, written: the lower triangle counts.
        right: (3 n,), zeros, written.
    """
    own, turned = np.empty((3, 3)), np.empty((3, 3))
    pull, moved = np.empty(3), np.empty(3)
    for p in range(len(points)):
        own[:] = 0.0
        gradients[p] = 0.0
        for k in range(start[p], start[p + 1]):
            c, d = image[k], scales[k]
            squared, length, along = 0.0, 0.0, 0.0
            for i in range(3):
                y = points[p, i] - centres[c, i]
                e = rays[k, i] - d * y
                squared += e * e
                length += y * y
                along += y * e
            weight = rho(kind, width, squared)[1]
            inverse = 1.0 / (length * (1.0 + damping) + _TINY)
            for i in range(3):
                yi = points[p, i] - centres[c, i]
                pull[i] = -weight * d * (rays[k, i] - d * yi - yi * along * inverse)
                for j in range(3):
                    yj = points[p, j] - centres[c, j]
                    blocks[k, i, j] = weight * d * d * (float(int(i == j)) - yi * yj * inverse)
                    own[i, j] += blocks[k, i, j]
                    matrix[3 * c + i, 3 * c + j] += blocks[k, i, j]
                gradients[p, i] += pull[i]
                right[3 * c + i] += pull[i]
        for i in range(3):
            own[i, i] *= 1.0 + damping
            own[i, i] += _TINY
        _inverse_symmetric(own, inverses[p])
        for i in range(3):
            moved[i] = 0.0
            for j in range(3):
                moved[i] += inverses[p, i, j] * gradients[p, j]
        for k in range(start[p], start[p + 1]):
            c = image[k]
            for i in range(3):
                for j in range(3):
                    right[3 * c + i] -= blocks[k, i, j] * moved[j]
                    turned[i, j] = 0.0
                    for m in range(3):
                        turned[i, j] += blocks[k, i, m] * inverses[p, m, j]
            for other in range(start[p], start[p + 1]):
                b = image[other]
                if b <= c:
                    for i in range(3):
                        for j in range(3):
                            for m in range(3):
                                matrix[3 * c + i, 3 * b + j] -= turned[i, m] * blocks[other, m, j]


@fused
def moved_along(
    start: Ints,
    image: Ints,
    rays: Floats,
    centres: Floats,
    points: Floats,
    scales: Floats,
    steps: Floats,
    blocks: Floats,
    inverses: Floats,
    gradients: Floats,
    damping: float,
    least: float,
    new_points: Floats,
    new_scales: Floats,
) -> None:
    """Points and scales after the step of the centres, (n, 3); scales stay at `least` or above."""
    step, pull = np.empty(3), np.empty(3)
    for p in range(len(points)):
        for i in range(3):
            pull[i] = -gradients[p, i]
        for k in range(start[p], start[p + 1]):
            for i in range(3):
                for j in range(3):
                    pull[i] += blocks[k, i, j] * steps[image[k], j]
        for i in range(3):
            step[i] = 0.0
            for j in range(3):
                step[i] += inverses[p, i, j] * pull[j]
            new_points[p, i] = points[p, i] + step[i]
        for k in range(start[p], start[p + 1]):
            c, d = image[k], scales[k]
            top, length = 0.0, 0.0
            for i in range(3):
                y = points[p, i] - centres[c, i]
                top += y * (rays[k, i] - d * y - d * (step[i] - steps[c, i]))
                length += y * y
            new_scales[k] = max(d + top / (length * (1.0 + damping) + _TINY), least)


@fused
def angles_to(image: Ints, track: Ints, rays: Floats, centres: Floats, points: Floats, out: Floats) -> None:
    """Angles between rays and the directions to their points, (m,), radians."""
    for k in range(len(image)):
        dot, length = 0.0, 0.0
        for i in range(3):
            y = points[track[k], i] - centres[image[k], i]
            dot += rays[k, i] * y
            length += y * y
        across = math.sqrt(max(length - dot * dot, 0.0))
        out[k] = math.atan2(across, dot)
