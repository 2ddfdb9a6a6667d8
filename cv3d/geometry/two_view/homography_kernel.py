"""Fused kernels of the homography's residuals; see :mod:`cv3d.geometry.two_view.epipolar_kernel`."""

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
    basis_of,
    by_pixel,
    cross,
    dot,
    fill,
    lift,
    mixed,
    subtract,
    take,
)

Bools = NDArray[np.bool_]

_RANK = 1e-14
"""Share of its variance that a component keeps beside the other: what a degenerate model would take away."""


@fused
def inverse_factor(
    first: tuple[Plane, Plane], second: tuple[Plane, Plane], variances: Plane
) -> tuple[float, float, float]:
    """Inverse of the Cholesky factor of a constraint's covariance: its entries 00, 10 and 11.

    Args:
        first: derivatives of both components by the first pixel.
        second: by the second pixel.
        variances: of the pixels.
    """
    (a, b), (c, d) = first, second
    spread00 = (a[0] ** 2 + a[1] ** 2) * variances[0] + (c[0] ** 2 + c[1] ** 2) * variances[1]
    spread10 = (a[0] * b[0] + a[1] * b[1]) * variances[0] + (c[0] * d[0] + c[1] * d[1]) * variances[1]
    spread11 = (b[0] ** 2 + b[1] ** 2) * variances[0] + (d[0] ** 2 + d[1] ** 2) * variances[1]
    factor00 = math.sqrt(max(spread00, TINY))
    factor10 = spread10 / factor00
    factor11 = math.sqrt(max(spread11 - factor10**2, _RANK * spread11, TINY))
    inverse00, inverse11 = 1.0 / factor00, 1.0 / factor11
    return inverse00, -factor10 * inverse00 * inverse11, inverse11


@fused
def homography_match(
    matrix: Floats,
    moved: Vector,
    ray1: Vector,
    basis: tuple[Vector, Vector],
    jacobians0: Floats,
    jacobians1: Floats,
    variances: Plane,
    index: int,
) -> tuple[Plane, tuple[float, float, float], tuple[Plane, Plane], tuple[Plane, Plane]]:
    """Whitened residual of a match, what whitens it, and the constraint's derivatives by both pixels."""
    turned = (cross(basis[0], ray1), cross(basis[1], ray1))
    first = (
        by_pixel(jacobians0, index, apply_transposed(matrix, turned[0])),
        by_pixel(jacobians0, index, apply_transposed(matrix, turned[1])),
    )
    second = (
        by_pixel(jacobians1, index, cross(moved, basis[0])),
        by_pixel(jacobians1, index, cross(moved, basis[1])),
    )
    inverse = inverse_factor(first, second, variances)
    off0, off1 = dot(turned[0], moved), dot(turned[1], moved)
    return (inverse[0] * off0, inverse[1] * off0 + inverse[2] * off1), inverse, first, second


@fused
def homography_errors(
    matrix: Floats,
    matches: Arrays,
) -> Floats:
    """Norms (n,), pixels, of the residuals of a homography (3, 3); infinite where it turns a ray away."""
    rays0, jacobians0, sigma0, rays1, jacobians1, sigma1 = matches
    errors = np.empty(len(rays0))
    for index in range(len(rays0)):
        ray1 = take(rays1, index)
        moved = apply(matrix, take(rays0, index))
        if not dot(moved, ray1) > 0.0:
            errors[index] = np.inf
            continue
        variances = (sigma0[index] ** 2, sigma1[index] ** 2)
        residual = homography_match(matrix, moved, ray1, basis_of(ray1), jacobians0, jacobians1, variances, index)[0]
        errors[index] = math.sqrt(residual[0] ** 2 + residual[1] ** 2)
    return errors


@fused
def whiten(inverse: tuple[float, float, float], pair: tuple[Plane, Plane]) -> tuple[Plane, Plane]:
    """An inverse lower factor times a matrix (2, 2) given by its rows."""
    (a, b), (c, d) = pair
    return (
        (inverse[0] * a, inverse[0] * b),
        (inverse[1] * a + inverse[2] * c, inverse[1] * b + inverse[2] * d),
    )


@fused
def homography_moments(
    matrix: Floats,
    tangents: Floats,
    matches: Arrays,
    chosen: Bools,
    scale: float,
) -> tuple[float, Floats]:
    """What :func:`~cv3d.geometry.two_view.epipolar_kernel.epipolar_moments` says, of a homography's two components."""
    rays0, jacobians0, sigma0, rays1, jacobians1, sigma1 = matches
    cost, moments = 0.0, np.zeros((len(tangents) + 1, len(tangents) + 1))
    row0, row1 = np.empty(ENTRIES + 1), np.empty(ENTRIES + 1)
    room = np.empty(len(tangents) + 1)
    for index in range(len(rays0)):
        if not chosen[index]:
            continue
        ray0, ray1 = take(rays0, index), take(rays1, index)
        variances, basis = (sigma0[index] ** 2, sigma1[index] ** 2), basis_of(ray1)
        (off0, off1), inverse, first, second = homography_match(
            matrix, apply(matrix, ray0), ray1, basis, jacobians0, jacobians1, variances, index
        )
        axis0 = mixed(basis[0], inverse[0], basis[1], 0.0)
        axis1 = mixed(basis[0], inverse[1], basis[1], inverse[2])
        turned0, turned1 = cross(axis0, ray1), cross(axis1, ray1)
        white0, white1 = whiten(inverse, first), whiten(inverse, second)
        lifted00 = lift(jacobians0, index, white0[0], variances[0])
        lifted01 = lift(jacobians0, index, white0[1], variances[0])
        lifted10 = lift(jacobians1, index, white1[0], variances[1])
        lifted11 = lift(jacobians1, index, white1[1], variances[1])
        fill(row0, mixed(turned0, 1.0, cross(axis0, lifted10), -off0), ray0)
        subtract(row0, turned0, mixed(lifted00, off0, lifted00, 0.0))
        swung = mixed(cross(axis1, lifted10), off0, cross(axis0, lifted11), off0)
        swung = mixed(swung, 1.0, cross(axis1, lifted11), off1)
        fill(row1, mixed(turned1, 1.0, swung, -1.0), ray0)
        subtract(row1, turned1, mixed(lifted00, off0, lifted01, off1))
        subtract(row1, turned0, mixed(lifted01, off0, lifted01, 0.0))
        row0[ENTRIES], row1[ENTRIES] = off0, off1
        relative = (off0**2 + off1**2) / scale**2
        cost += math.log1p(relative)
        weight = 1.0 / (1.0 + relative)
        add_square(moments, tangents, row0, room, weight)
        add_square(moments, tangents, row1, room, weight)
    return cost * scale**2, moments
