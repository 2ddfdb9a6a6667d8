"""Fused kernels of the epipolar residuals: the sums that a fit needs, in one pass over the matches.

They say what :mod:`cv3d.geometry.two_view.residuals` says in numpy, and are held to it by a test. Derivatives
by the unknowns come from those by the nine entries of the matrix, so that one kernel serves every parametrisation.

A match comes as its rays (n, 3), their derivatives (n, 3, 2) and the noise of its pixels (n,), for both pictures.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused
from cv3d.geometry.two_view.kernel_parts import (
    ENTRIES,
    TINY,
    Arrays,
    Floats,
    Plane,
    Vector,
    add_square,
    apply,
    apply_transposed,
    by_pixel,
    dot,
    fill,
    lift,
    mixed,
    subtract,
    take,
)

Bools = NDArray[np.bool_]


@fused
def epipolar_match(
    matrix: Floats, ray0: Vector, ray1: Vector, jacobians0: Floats, jacobians1: Floats, variances: Plane, index: int
) -> tuple[float, float, Plane, Plane]:
    """Residual of a match, the constraint's deviation, and the constraint's derivatives by both pixels."""
    normal = apply(matrix, ray0)
    gradient0 = by_pixel(jacobians0, index, apply_transposed(matrix, ray1))
    gradient1 = by_pixel(jacobians1, index, normal)
    variance = (gradient0[0] ** 2 + gradient0[1] ** 2) * variances[0]
    variance += (gradient1[0] ** 2 + gradient1[1] ** 2) * variances[1]
    length = math.sqrt(max(variance, TINY))
    return dot(normal, ray1) / length, length, gradient0, gradient1


@fused
def epipolar_errors(
    matrix: Floats,
    matches: Arrays,
) -> Floats:
    """Absolute tangent Sampson errors, (n,), pixels, of an epipolar matrix (3, 3)."""
    rays0, jacobians0, sigma0, rays1, jacobians1, sigma1 = matches
    errors = np.empty(len(rays0))
    for index in range(len(rays0)):
        variances = (sigma0[index] ** 2, sigma1[index] ** 2)
        errors[index] = abs(
            epipolar_match(matrix, take(rays0, index), take(rays1, index), jacobians0, jacobians1, variances, index)[0]
        )
    return errors


@fused
def epipolar_moments(
    matrix: Floats,
    tangents: Floats,
    matches: Arrays,
    chosen: Bools,
    scale: float,
) -> tuple[float, Floats]:
    """Cauchy cost of the chosen matches, and weighted moments of derivatives and residuals.

    Args:
        matrix: epipolar, (3, 3).
        tangents: its derivatives by K unknowns, (K, 9).
        matches: rays, derivatives and noise.
        chosen: which of them count, (n,).
        scale: residual at which the loss leaves the square, pixels.

    Returns:
        The cost, square pixels, and the sum of w v v^T with v the residual's derivatives by the unknowns and, last, the
        residual, (K + 1, K + 1).
    """
    rays0, jacobians0, sigma0, rays1, jacobians1, sigma1 = matches
    cost, moments, row = 0.0, np.zeros((len(tangents) + 1, len(tangents) + 1)), np.empty(ENTRIES + 1)
    room = np.empty(len(tangents) + 1)
    for index in range(len(rays0)):
        if not chosen[index]:
            continue
        ray0, ray1 = take(rays0, index), take(rays1, index)
        variances = (sigma0[index] ** 2, sigma1[index] ** 2)
        residual, length, gradient0, gradient1 = epipolar_match(
            matrix, ray0, ray1, jacobians0, jacobians1, variances, index
        )
        shrink = residual / length**2
        lifted0 = lift(jacobians0, index, gradient0, variances[0] * shrink)
        lifted1 = lift(jacobians1, index, gradient1, variances[1] * shrink)
        fill(row, mixed(ray1, 1.0 / length, lifted1, -1.0), ray0)
        subtract(row, ray1, lifted0)
        row[ENTRIES] = residual
        relative = (residual / scale) ** 2
        cost += math.log1p(relative)
        add_square(moments, tangents, row, room, 1.0 / (1.0 + relative))
    return cost * scale**2, moments
