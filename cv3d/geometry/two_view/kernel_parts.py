"""Small fused functions of the two-view kernels: vectors as tuples, which stay in registers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats = NDArray[np.float64]
Vector = tuple[float, float, float]
Plane = tuple[float, float]
Arrays = tuple[Floats, Floats, Floats, Floats, Floats, Floats]
"""Rays (n, 3), their derivatives (n, 3, 2) and the noise of their pixels (n,): of the first picture and the second."""

ENTRIES = 9
"""Of a matrix (3, 3), and the place of the residual in a row of moments."""
TINY = float(np.finfo(np.float64).tiny)


@fused
def dot(a: Vector, b: Vector) -> float:
    """The product of two vectors."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@fused
def cross(a: Vector, b: Vector) -> Vector:
    """The product a x b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@fused
def mixed(a: Vector, x: float, b: Vector, y: float) -> Vector:
    """X a + y b."""
    return x * a[0] + y * b[0], x * a[1] + y * b[1], x * a[2] + y * b[2]


@fused
def basis_of(ray: Vector) -> tuple[Vector, Vector]:
    """The plane perpendicular to a ray, as :func:`cv3d.geometry.pixel_rays.tangent_basis` spans it."""
    size = math.sqrt(dot(ray, ray))
    unit = (ray[0] / size, ray[1] / size, ray[2] / size)
    x, y, z = abs(unit[0]), abs(unit[1]), abs(unit[2])
    helper = (1.0, 0.0, 0.0) if x <= y and x <= z else (0.0, 1.0, 0.0) if y <= z else (0.0, 0.0, 1.0)
    across = cross(helper, unit)
    inverse = 1.0 / math.sqrt(dot(across, across))
    first = (across[0] * inverse, across[1] * inverse, across[2] * inverse)
    return first, cross(unit, first)


@fused
def take(rays: Floats, index: int) -> Vector:
    """One ray."""
    return rays[index, 0], rays[index, 1], rays[index, 2]


@fused
def apply(matrix: Floats, vector: Vector) -> Vector:
    """A matrix (3, 3) times a vector."""
    x, y, z = vector
    return (
        matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z,
        matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z,
        matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z,
    )


@fused
def apply_transposed(matrix: Floats, vector: Vector) -> Vector:
    """The transpose of a matrix (3, 3) times a vector."""
    x, y, z = vector
    return (
        matrix[0, 0] * x + matrix[1, 0] * y + matrix[2, 0] * z,
        matrix[0, 1] * x + matrix[1, 1] * y + matrix[2, 1] * z,
        matrix[0, 2] * x + matrix[1, 2] * y + matrix[2, 2] * z,
    )


@fused
def by_pixel(jacobians: Floats, index: int, normal: Vector) -> Plane:
    """Derivative by a pixel of the product of its ray with a vector."""
    x, y, z = normal
    return (
        jacobians[index, 0, 0] * x + jacobians[index, 1, 0] * y + jacobians[index, 2, 0] * z,
        jacobians[index, 0, 1] * x + jacobians[index, 1, 1] * y + jacobians[index, 2, 1] * z,
    )


@fused
def lift(jacobians: Floats, index: int, move: Plane, factor: float) -> Vector:
    """How far a ray moves with its pixel, times a factor."""
    x, y = factor * move[0], factor * move[1]
    return (
        jacobians[index, 0, 0] * x + jacobians[index, 0, 1] * y,
        jacobians[index, 1, 0] * x + jacobians[index, 1, 1] * y,
        jacobians[index, 2, 0] * x + jacobians[index, 2, 1] * y,
    )


@fused
def fill(row: Floats, left: Vector, right: Vector) -> None:
    """Set a row to the outer product of two vectors, row by row."""
    for i in range(3):
        for j in range(3):
            row[3 * i + j] = left[i] * right[j]


@fused
def subtract(row: Floats, left: Vector, right: Vector) -> None:
    """Take the outer product of two vectors off a row."""
    for i in range(3):
        for j in range(3):
            row[3 * i + j] -= left[i] * right[j]


@fused
def add_square(moments: Floats, tangents: Floats, row: Floats, room: Floats, weight: float) -> None:
    """Add the weighted outer product of a residual's derivatives by a model's unknowns, and of the residual.

    Args:
        moments: where to add, (K + 1, K + 1).
        tangents: derivatives of the matrix by the unknowns, (K, 9).
        row: derivatives of the residual by the matrix, and the residual, (10,).
        room: to work in, (K + 1,).
        weight: of the residual.
    """
    count = len(tangents)
    for unknown in range(count):
        total = 0.0
        for entry in range(ENTRIES):
            total += tangents[unknown, entry] * row[entry]
        room[unknown] = total
    room[count] = row[ENTRIES]
    for i in range(count + 1):
        weighted = weight * room[i]
        for j in range(count + 1):
            moments[i, j] += weighted * room[j]
