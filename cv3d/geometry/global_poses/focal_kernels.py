"""Fused kernel: how far fundamental matrices are from those that focal lengths allow."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float64]

_TINY = 1e-300


@fused
def _plane(x: float, y: float, z: float) -> tuple[float, float, float, float, float, float]:
    """Two unit vectors that span the plane across (x, y, z), right-handed with it (Duff et al. 2017).

    They jump only where z changes its sign, which no focal length does to an epipole.
    """
    norm = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / norm, y / norm, z / norm
    sign = math.copysign(1.0, z)
    a = -1.0 / (sign + z)
    b = x * y * a
    return 1.0 + sign * x * x * a, sign * b, -sign * x, b, sign + y * y * a, -y


@fused
def _off_essential(m: Floats, u: Floats, v: Floats, f: float, g: float) -> tuple[float, float]:
    """Distance of a fundamental matrix m from those of focal lengths f and g; see :func:`essential_residuals`."""
    # Points that the calibrated matrix takes to zero are the epipoles as rays.
    ax, ay, az, bx, by, bz = _plane(u[0] / f, u[1] / f, u[2])
    cx, cy, cz, dx, dy, dz = _plane(v[0] / g, v[1] / g, v[2])
    ax, ay, bx, by = ax * f, ay * f, bx * f, by * f
    cx, cy, dx, dy = cx * g, cy * g, dx * g, dy * g
    px, py, pz = (m[0, 0] * cx + m[0, 1] * cy + m[0, 2] * cz, m[1, 0] * cx + m[1, 1] * cy + m[1, 2] * cz,
                  m[2, 0] * cx + m[2, 1] * cy + m[2, 2] * cz)  # fmt: skip
    qx, qy, qz = (m[0, 0] * dx + m[0, 1] * dy + m[0, 2] * dz, m[1, 0] * dx + m[1, 1] * dy + m[1, 2] * dz,
                  m[2, 0] * dx + m[2, 1] * dy + m[2, 2] * dz)  # fmt: skip
    m00, m10 = ax * px + ay * py + az * pz, bx * px + by * py + bz * pz
    m01, m11 = ax * qx + ay * qy + az * qz, bx * qx + by * qy + bz * qz
    # Of a mirroring part one axis is turned round.
    sign = math.copysign(1.0, m00 * m11 - m01 * m10)
    z0, z1 = m00 - sign * m11, sign * m01 + m10
    a00, a01, a11 = ax * ax + ay * ay + az * az, ax * bx + ay * by + az * bz, bx * bx + by * by + bz * bz
    c00, c01, c11 = cx * cx + cy * cy + cz * cz, cx * dx + cy * dy + cz * dz, dx * dx + dy * dy + dz * dz
    c01 *= sign
    u0, u1 = ax * u[0] + ay * u[1] + az * u[2], bx * u[0] + by * u[1] + bz * u[2]
    v0, v1 = cx * v[0] + cy * v[1] + cz * v[2], sign * (dx * v[0] + dy * v[1] + dz * v[2])
    g0, g1 = u0 * v0 - u1 * v1, u0 * v1 + u1 * v0
    n00 = a00 * c00 + a11 * c11 - 2.0 * a01 * c01 - g0 * g0
    n11 = a00 * c11 + a11 * c00 + 2.0 * a01 * c01 - g1 * g1
    n01 = a00 * c01 + a01 * c00 - a01 * c11 - a11 * c01 - g0 * g1
    root = math.sqrt(n00)
    cross = n01 / root
    z0 /= root
    return z0, (z1 - cross * z0) / math.sqrt(max(n11 - cross * cross, _TINY))


@fused
def essential_residuals(
    matrices: Floats, left: Floats, right: Floats, focal_left: Floats, focal_right: Floats, out: Floats
) -> None:
    """Distances of fundamental matrices from those that are essential with given focal lengths.

    With diag(f, f, 1) on both sides a matrix F is essential where its 2x2 part M, in bases of the planes across its
    null vectors, turns and scales only; what of M does neither are two numbers z. To first order the squared distance
    of F is z^T N^-1 z, N being the Gram matrix of the derivatives of z by F within the matrices of rank 2 (Sampson
    1982). So pairs whose geometry says little of a focal length weigh little.

    Args:
        matrices: F with l^T F r = 0, of norm 1 and rank 2, (n, 3, 3).
        left: unit null vectors of F^T, (n, 3).
        right: unit null vectors of F, (n, 3).
        focal_left: focal lengths of l's camera in the unit of l, (g, n): g trials.
        focal_right: those of r's camera, (g, n).
        out: residuals, in the unit of F's entries, (g, n, 2).
    """
    for trial in range(len(focal_left)):
        for k in range(len(matrices)):
            out[trial, k, 0], out[trial, k, 1] = _off_essential(
                matrices[k], left[k], right[k], focal_left[trial, k], focal_right[trial, k]
            )
