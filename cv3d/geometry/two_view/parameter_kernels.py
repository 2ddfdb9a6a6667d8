"""Fused kernels of the models' manifolds: a fit takes hundreds of single small steps, and numpy's calls outlast each.

They say what :func:`cv3d.geometry.pixel_rays.cross_matrix` and :func:`cv3d.geometry.pixel_rays.tangent_basis` make up.
"""

from __future__ import annotations

import math

import numpy as np

from cv3d.geometry.fused import fused
from cv3d.geometry.two_view.kernel_parts import Floats, Vector, basis_of, cross, mixed

_SMALL = 1e-4
"""Angle, radians, below which two terms of a series are exact."""


@fused
def sine_over(angle: float) -> float:
    """sin(a) / a."""
    return 1.0 - angle**2 / 6.0 if abs(angle) < _SMALL else math.sin(angle) / angle


@fused
def rotation_exp(vector: Floats) -> Floats:
    """The rotation matrix (3, 3) of a rotation vector (3,), by Rodrigues' formula."""
    x, y, z = vector[0], vector[1], vector[2]
    angle = math.sqrt(x * x + y * y + z * z)
    once, twice = sine_over(angle), 0.5 * sine_over(0.5 * angle) ** 2
    matrix = np.empty((3, 3))
    matrix[0, 0], matrix[1, 1], matrix[2, 2] = (
        1.0 - twice * (y * y + z * z),
        1.0 - twice * (x * x + z * z),
        1.0 - twice * (x * x + y * y),
    )
    matrix[0, 1], matrix[1, 0] = twice * x * y - once * z, twice * x * y + once * z
    matrix[0, 2], matrix[2, 0] = twice * x * z + once * y, twice * x * z - once * y
    matrix[1, 2], matrix[2, 1] = twice * y * z - once * x, twice * y * z + once * x
    return matrix


@fused
def moved_direction(direction: Floats, step: Floats) -> Floats:
    """A unit direction (3,) moved on the sphere by `step` (2,), radians along its tangent basis."""
    start = (direction[0], direction[1], direction[2])
    first, second = basis_of(start)
    angle = math.sqrt(step[0] ** 2 + step[1] ** 2)
    along = mixed(first, step[0], second, step[1])
    x, y, z = mixed(start, math.cos(angle), along, sine_over(angle))
    size = math.sqrt(x * x + y * y + z * z)
    return np.array([x / size, y / size, z / size])


@fused
def set_turned(matrix: Floats, axis: Vector, rotation: Floats) -> None:
    """Set a matrix (3, 3) to [axis]x times a rotation."""
    for column in range(3):
        x, y, z = cross(axis, (rotation[0, column], rotation[1, column], rotation[2, column]))
        matrix[0, column], matrix[1, column], matrix[2, column] = x, y, z


@fused
def set_swung(matrix: Floats, axis: int, source: Floats, sign: float) -> None:
    """Set a matrix (3, 3) to [e]x times another, e being an axis with a sign."""
    after, last = (axis + 1) % 3, (axis + 2) % 3
    for column in range(3):
        matrix[axis, column] = 0.0
        matrix[after, column] = -sign * source[last, column]
        matrix[last, column] = sign * source[after, column]


@fused
def essential_matrix(rotation: Floats, direction: Floats) -> Floats:
    """[t]x R of a rotation (3, 3) and a direction (3,)."""
    matrix = np.empty((3, 3))
    set_turned(matrix, (direction[0], direction[1], direction[2]), rotation)
    return matrix


@fused
def essential_tangents(rotation: Floats, direction: Floats) -> Floats:
    """Derivatives (5, 3, 3) of [t]x R by the rotation vector and by the move of the direction."""
    tangents, swung = np.empty((5, 3, 3)), np.empty((3, 3))
    axis = (direction[0], direction[1], direction[2])
    for index in range(3):
        set_swung(swung, index, rotation, 1.0)
        set_turned(tangents[index], axis, swung)
    first, second = basis_of(axis)
    set_turned(tangents[3], first, rotation)
    set_turned(tangents[4], second, rotation)
    return tangents


@fused
def between(left: Floats, first: float, second: float, right: Floats) -> Floats:
    """U diag(first, second, 0) V^T of (3, 3) each."""
    matrix = np.empty((3, 3))
    for row in range(3):
        for column in range(3):
            matrix[row, column] = first * left[row, 0] * right[column, 0] + second * left[row, 1] * right[column, 1]
    return matrix


@fused
def fundamental_tangents(left: Floats, angle: float, right: Floats) -> Floats:
    """Derivatives (7, 3, 3) of U diag(cos a, sin a, 0) V^T by rotations of U and V and by the angle a."""
    tangents, transposed = np.empty((7, 3, 3)), np.empty((3, 3))
    matrix = between(left, math.cos(angle), math.sin(angle), right)
    for index in range(3):
        set_swung(tangents[index], index, matrix, 1.0)
        # M times -[e]x is the transpose of [e]x M^T.
        set_swung(transposed, index, matrix.T, 1.0)
        tangents[3 + index] = transposed.T
    tangents[6] = between(left, -math.sin(angle), math.cos(angle), right)
    return tangents


@fused
def complement(matrix: Floats) -> Floats:
    """An orthonormal basis (8, 3, 3) of the matrices that are orthogonal to one of unit norm, (3, 3).

    The reflection that takes a unit axis to the matrix takes the other axes to a basis of its complement.
    """
    axis = 0
    for entry in range(1, 9):
        if abs(matrix[entry // 3, entry % 3]) < abs(matrix[axis // 3, axis % 3]):
            axis = entry
    normal, squared = np.empty(9), 0.0
    for entry in range(9):
        normal[entry] = matrix[entry // 3, entry % 3] - (1.0 if entry == axis else 0.0)
        squared += normal[entry] ** 2
    basis, row = np.empty((8, 3, 3)), 0
    for other in range(9):
        if other == axis:
            continue
        for entry in range(9):
            unit = 1.0 if entry == other else 0.0
            basis[row, entry // 3, entry % 3] = unit - 2.0 * normal[other] * normal[entry] / squared
        row += 1
    return basis
