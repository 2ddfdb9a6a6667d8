"""Fused kernel of the offset of poses from where a prior was made. The references are `SE3.log` and its Jacobian."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float64]

_SERIES_BELOW = 1.0
_TERMS = 10
_SMALL = 1e-4


@fused
def pose_offsets(poses: Floats, at: Floats, offsets: Floats, slopes: Floats) -> None:
    """Offsets x = [rho, phi] = log(T T0^-1), and their derivative by a left step of T.

    Args:
        poses: T, (p, 4, 4).
        at: T0, (p, 4, 4).
        offsets: filled with x, (p, 6).
        slopes: filled with the inverse left Jacobian of SE(3) at x, (p, 6, 6).
    """
    turn, inverse, block, product = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    vector = np.empty(3)
    for p in range(len(poses)):
        for i in range(3):
            for j in range(3):
                turn[i, j] = poses[p, i, 0] * at[p, j, 0] + poses[p, i, 1] * at[p, j, 1] + poses[p, i, 2] * at[p, j, 2]
        x, y, z = _rotation_vector(turn)
        squared = x * x + y * y + z * z
        c2, c3, c4, c5 = _stumpff(squared)
        curvature = (0.5 * c3 - c4) / c2
        phi = _hat(x, y, z)
        _multiply(phi, phi, product)
        for i in range(3):
            for j in range(3):
                inverse[i, j] = (1.0 if i == j else 0.0) - 0.5 * phi[i, j] + curvature * product[i, j]
            vector[i] = poses[p, i, 3] - (
                turn[i, 0] * at[p, 0, 3] + turn[i, 1] * at[p, 1, 3] + turn[i, 2] * at[p, 2, 3]
            )
        offsets[p, 3], offsets[p, 4], offsets[p, 5] = x, y, z
        for i in range(3):
            offsets[p, i] = inverse[i, 0] * vector[0] + inverse[i, 1] * vector[1] + inverse[i, 2] * vector[2]
        _translation_rotation(_hat(offsets[p, 0], offsets[p, 1], offsets[p, 2]), phi, c3, c4, c5, block)
        _multiply(inverse, block, product)
        _multiply(product, inverse, block)
        for i in range(3):
            for j in range(3):
                slopes[p, i, j] = slopes[p, 3 + i, 3 + j] = inverse[i, j]
                slopes[p, i, 3 + j] = -block[i, j]
                slopes[p, 3 + i, j] = 0.0


@fused
def _rotation_vector(turn: Floats) -> tuple[float, float, float]:
    """Axis times angle of a rotation matrix, by way of the quaternion's largest component (Shepperd 1978)."""
    trace = turn[0, 0] + turn[1, 1] + turn[2, 2]
    a, b, c = turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]
    if trace > 0.0:
        w, x, y, z = 1.0 + trace, a, b, c
    elif turn[0, 0] >= turn[1, 1] and turn[0, 0] >= turn[2, 2]:
        w, x = a, 1.0 + turn[0, 0] - turn[1, 1] - turn[2, 2]
        y, z = turn[0, 1] + turn[1, 0], turn[0, 2] + turn[2, 0]
    elif turn[1, 1] >= turn[2, 2]:
        w, y = b, 1.0 + turn[1, 1] - turn[0, 0] - turn[2, 2]
        x, z = turn[0, 1] + turn[1, 0], turn[1, 2] + turn[2, 1]
    else:
        w, z = c, 1.0 + turn[2, 2] - turn[0, 0] - turn[1, 1]
        x, y = turn[0, 2] + turn[2, 0], turn[1, 2] + turn[2, 1]
    if w < 0.0:
        w, x, y, z = -w, -x, -y, -z
    length = math.sqrt(x * x + y * y + z * z)
    if length < _SMALL * w:
        ratio = length / w
        factor = 2.0 / w * (1.0 - ratio * ratio / 3.0)
    else:
        factor = 2.0 * math.atan2(length, w) / length
    return factor * x, factor * y, factor * z


@fused
def _stumpff(squared: float) -> tuple[float, float, float, float]:
    """c2, c3, c4 and c5 of `cv3d.geometry.transforms.algebra.stumpff`."""
    if squared < _SERIES_BELOW:
        c4 = c5 = 0.0
        even, odd = 1.0 / 24.0, 1.0 / 120.0
        for k in range(_TERMS):
            c4 += even
            c5 += odd
            even *= -squared / ((2 * k + 5) * (2 * k + 6))
            odd *= -squared / ((2 * k + 6) * (2 * k + 7))
        return 0.5 - squared * c4, 1.0 / 6.0 - squared * c5, c4, c5
    angle = math.sqrt(squared)
    c2, c3 = (1.0 - math.cos(angle)) / squared, (angle - math.sin(angle)) / (squared * angle)
    return c2, c3, (0.5 - c2) / squared, (1.0 / 6.0 - c3) / squared


@fused
def _translation_rotation(rho: Floats, phi: Floats, c3: float, c4: float, c5: float, out: Floats) -> None:
    """The matrix Q of Barfoot and Furgale 2014, eq. 102, as `SE3.left_jacobian` has it."""
    phi_rho, rho_phi, both = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    first, second, third, fourth = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    _multiply(phi, rho, phi_rho)
    _multiply(rho, phi, rho_phi)
    _multiply(phi_rho, phi, both)
    _multiply(phi, phi_rho, first)
    _multiply(rho_phi, phi, second)
    _multiply(both, phi, third)
    _multiply(phi, both, fourth)
    for i in range(3):
        for j in range(3):
            out[i, j] = (
                0.5 * rho[i, j]
                + c3 * (phi_rho[i, j] + rho_phi[i, j] + both[i, j])
                + c4 * (first[i, j] + second[i, j] - 3.0 * both[i, j])
                + 0.5 * (c4 - 3.0 * c5) * (third[i, j] + fourth[i, j])
            )


@fused
def _hat(x: float, y: float, z: float) -> Floats:
    result = np.zeros((3, 3))
    result[0, 1], result[0, 2], result[1, 2] = -z, y, -x
    result[1, 0], result[2, 0], result[2, 1] = z, -y, x
    return result


@fused
def _multiply(a: Floats, b: Floats, out: Floats) -> None:
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
