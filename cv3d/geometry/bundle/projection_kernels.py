"""Fused twins of camera models for numba: one point at a time, with derivatives.

The reference is `CameraModel.project_with_jacobians`, to which the tests hold every entry of :data:`PROJECTIONS`.
Models that have no twin are projected by the reference.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats = NDArray[np.float64]

TORCH, BROWN, KANNALA_BRANDT = 0, 1, 2

PROJECTIONS: dict[str, int] = {
    "pinhole": BROWN,
    "brown4": BROWN,
    "brown5": BROWN,
    "brown8": BROWN,
    "brown12": BROWN,
    "kannala_brandt4": KANNALA_BRANDT,
}
"""Which kernel projects which model; the members of the Brown family are each other's special cases."""

PARAMS = 16
"""Length to which parameters are padded with zeros: fx fy cx cy and twelve coefficients."""

_MAX_SLOPE = 1e3
_MIN_DENOMINATOR = 1e-4
_TINY = 1e-77
_NEAR_AXIS = 1e-9


@fused
def project_brown(  # noqa: PLR0915
    params: Floats, x: float, y: float, z: float, shaped: bool, by_point: Floats, by_params: Floats
) -> tuple[float, float]:
    """The pixel of a point; see `cv3d.geometry.cameras.brown` for the formulas.

    Args:
        params: (16,).
        x: of the point in the camera frame.
        y: of the point.
        z: of the point.
        shaped: whether to fill `by_params`.
        by_point: filled with the derivatives by the point, (2, 3).
        by_params: filled with the derivatives by the parameters, (2, 16).
    """
    fx, fy, cx, cy, k1, k2, p1, p2 = (
        params[0],
        params[1],
        params[2],
        params[3],
        params[4],
        params[5],
        params[6],
        params[7],
    )
    k3, k4, k5, k6 = params[8], params[9], params[10], params[11]
    s1, s2, s3, s4 = params[12], params[13], params[14], params[15]
    floor = max(max(abs(x), abs(y)) / _MAX_SLOPE, _TINY)
    ahead = z > floor
    inverse_z = 1.0 / (z if ahead else floor)
    x *= inverse_z
    y *= inverse_z
    xx, yy, xy2 = x * x, y * y, 2.0 * x * y
    r2 = xx + yy
    r4 = r2 * r2
    numerator = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = k1 + r2 * (2.0 * k2 + r2 * (3.0 * k3))
    denominator = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    denominator_slope = k4 + r2 * (2.0 * k5 + r2 * (3.0 * k6))
    if denominator <= _MIN_DENOMINATOR:
        denominator, denominator_slope = _MIN_DENOMINATOR, 0.0
    inverse = 1.0 / denominator
    gain = numerator * inverse
    gain_slope = (slope - gain * denominator_slope) * inverse
    u = x * gain + p1 * xy2 + p2 * (r2 + 2.0 * xx) + r2 * (s1 + s2 * r2)
    v = y * gain + p1 * (r2 + 2.0 * yy) + p2 * xy2 + r2 * (s3 + s4 * r2)
    prism_u, prism_v = 2.0 * s1 + 4.0 * s2 * r2, 2.0 * s3 + 4.0 * s4 * r2
    common = gain + 2.0 * (p1 * y + p2 * x)
    mixed = gain_slope * xy2 + 2.0 * (p1 * x + p2 * y)
    u_x = common + 2.0 * gain_slope * xx + 4.0 * p2 * x + prism_u * x
    u_y = mixed + prism_u * y
    v_x = mixed + prism_v * x
    v_y = common + 2.0 * gain_slope * yy + 4.0 * p1 * y + prism_v * y
    backward = inverse_z if ahead else 0.0
    by_point[0, 0] = fx * u_x * inverse_z
    by_point[0, 1] = fx * u_y * inverse_z
    by_point[0, 2] = -fx * (u_x * x + u_y * y) * backward
    by_point[1, 0] = fy * v_x * inverse_z
    by_point[1, 1] = fy * v_y * inverse_z
    by_point[1, 2] = -fy * (v_x * x + v_y * y) * backward
    if shaped:
        by_params[0, 0], by_params[1, 0] = u, 0.0
        by_params[0, 1], by_params[1, 1] = 0.0, v
        by_params[0, 2], by_params[1, 2] = 1.0, 0.0
        by_params[0, 3], by_params[1, 3] = 0.0, 1.0
        gx, gy = fx * x * inverse, fy * y * inverse
        by_params[0, 4], by_params[1, 4] = gx * r2, gy * r2
        by_params[0, 5], by_params[1, 5] = gx * r4, gy * r4
        by_params[0, 6], by_params[1, 6] = fx * xy2, fy * (r2 + 2.0 * yy)
        by_params[0, 7], by_params[1, 7] = fx * (r2 + 2.0 * xx), fy * xy2
        by_params[0, 8], by_params[1, 8] = gx * r4 * r2, gy * r4 * r2
        gx, gy = -gx * gain, -gy * gain
        by_params[0, 9], by_params[1, 9] = gx * r2, gy * r2
        by_params[0, 10], by_params[1, 10] = gx * r4, gy * r4
        by_params[0, 11], by_params[1, 11] = gx * r4 * r2, gy * r4 * r2
        by_params[0, 12], by_params[1, 12] = fx * r2, 0.0
        by_params[0, 13], by_params[1, 13] = fx * r4, 0.0
        by_params[0, 14], by_params[1, 14] = 0.0, fy * r2
        by_params[0, 15], by_params[1, 15] = 0.0, fy * r4
    return fx * u + cx, fy * v + cy


@fused
def project_kannala_brandt(
    params: Floats, x: float, y: float, z: float, shaped: bool, by_point: Floats, by_params: Floats
) -> tuple[float, float]:
    """As :func:`project_brown` for `cv3d.geometry.cameras.kannala_brandt`."""
    fx, fy, cx, cy, k1, k2, k3, k4 = (
        params[0],
        params[1],
        params[2],
        params[3],
        params[4],
        params[5],
        params[6],
        params[7],
    )
    r_squared = x * x + y * y
    r = math.sqrt(r_squared)
    length_squared = r_squared + z * z
    if length_squared < _TINY:
        for i in range(3):
            by_point[0, i] = by_point[1, i] = 0.0
        for i in range(PARAMS):
            by_params[0, i] = by_params[1, i] = 0.0
        return cx, cy
    if r <= _NEAR_AXIS * abs(z):
        # On the axis the map is that of the pinhole; behind the camera its orientation is reversed, as it has to be.
        theta, cosine, sine = 0.0, 1.0, 0.0
        radial = tangential = 1.0 / z
        along = 1.0 / length_squared
    else:
        theta = math.atan2(r, z)
        cosine, sine = x / r, y / r
        s = theta * theta
        distorted = theta * (1.0 + s * (k1 + s * (k2 + s * (k3 + s * k4))))
        slope = 1.0 + s * (3.0 * k1 + s * (5.0 * k2 + s * (7.0 * k3 + s * (9.0 * k4))))
        along = slope / length_squared
        radial = along * z
        tangential = distorted / r
    difference = radial - tangential
    by_point[0, 0] = fx * (tangential + cosine * cosine * difference)
    by_point[0, 1] = fx * cosine * sine * difference
    by_point[0, 2] = -fx * x * along
    by_point[1, 0] = fy * cosine * sine * difference
    by_point[1, 1] = fy * (tangential + sine * sine * difference)
    by_point[1, 2] = -fy * y * along
    u, v = x * tangential, y * tangential
    if shaped:
        for i in range(PARAMS):
            by_params[0, i] = by_params[1, i] = 0.0
        by_params[0, 0], by_params[1, 1] = u, v
        by_params[0, 2], by_params[1, 3] = 1.0, 1.0
        power = theta
        for i in range(4):
            power *= theta * theta
            by_params[0, 4 + i], by_params[1, 4 + i] = fx * power * cosine, fy * power * sine
    return fx * u + cx, fy * v + cy
