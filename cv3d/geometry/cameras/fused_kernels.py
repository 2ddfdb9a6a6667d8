"""Fused kernels of the fused lenses: from one point to its pixel, from one pixel to its ray, and loops over many.

Domains are those of `brown`, `kannala_brandt` and `pinhole` beside this file, the steps of the inversion those of
`inversion` and of `brown.undistort`; only what changes nothing any more is left out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.projection_kernels import project_brown, project_kannala_brandt
from cv3d.geometry.cameras.fused_distortion import Coefficients, distort_point
from cv3d.geometry.fused import fused

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PINHOLE, UNBENT, BROWN, KANNALA_BRANDT = 0, 1, 2, 3
"""Kinds of lenses: the pinhole camera, a Brown lens whose coefficients are 0, and those with coefficients."""

_MAX_SLOPE = 1e6
_TINY = float(np.finfo(np.float64).tiny)
_EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST = _TINY**0.25
_MIN_DETERMINANT = 1e-12
_RADIAL_STEPS, _NEWTON_STEPS = 60, 8
_TOLERANCE, _ROUNDING = 256.0 * _EPSILON, 2.0 * _EPSILON
"""Share of 1 + the radius that may be missing from a pixel which is met, and that is rounding."""


@fused
def _project(
    kind: int, params: Floats, x: float, y: float, z: float, by_point: Floats, unused: Floats
) -> tuple[float, float]:
    """The pixel of a point, and its derivatives by the point, (2, 3)."""
    if kind == KANNALA_BRANDT:
        return project_kannala_brandt(params, x, y, z, False, by_point, unused)
    if kind != PINHOLE:
        return project_brown(params, x, y, z, False, by_point, unused)
    floor = max(max(abs(x), abs(y)) / _MAX_SLOPE, _SMALLEST)
    ahead = z > floor
    inverse = 1.0 / (z if ahead else floor)
    if math.isnan(x + y):
        inverse = math.nan
    backward = inverse if ahead else 0.0
    u, v = x * inverse, y * inverse
    by_point[0, 0], by_point[0, 1], by_point[0, 2] = params[0] * inverse, 0.0, -params[0] * u * backward
    by_point[1, 0], by_point[1, 1], by_point[1, 2] = 0.0, params[1] * inverse, -params[1] * v * backward
    return params[0] * u + params[2], params[1] * v + params[3]


@fused
def _radial(kind: int, c: Coefficients, t: float) -> tuple[float, float]:
    """The distorted radius and its derivative, of a lens without its tangential part.

    `t` is the angle off the axis of a Kannala-Brandt lens, the ideal radius of a Brown lens.
    """
    s = t * t
    if kind == KANNALA_BRANDT:
        value = t * (1.0 + s * (c[0] + s * (c[1] + s * (c[2] + s * c[3]))))
        return value, 1.0 + s * (3.0 * c[0] + s * (5.0 * c[1] + s * (7.0 * c[2] + s * (9.0 * c[3]))))
    k1, k2, _, _, k3, k4, k5, k6, _, _, _, _ = c
    inverse = 1.0 / (1.0 + s * (k4 + s * (k5 + s * k6)))
    gain = (1.0 + s * (k1 + s * (k2 + s * k3))) * inverse
    slope = 1.0 + s * (3.0 * k1 + s * (5.0 * k2 + s * (7.0 * k3)))
    return t * gain, (slope - gain * 2.0 * s * (k4 + s * (2.0 * k5 + s * (3.0 * k6)))) * inverse


@fused
def _inverse(kind: int, c: Coefficients, nodes: Floats, values: Floats, target: float) -> float:
    """The argument of the radial part whose value is `target`, or the domain's edge; see `inversion`."""
    last = len(nodes) - 1
    t: float = nodes[last]
    if not target <= values[last]:
        return t
    below, above = 0, last
    while above - below > 1:
        middle = (below + above) // 2
        if values[middle] < target:
            below = middle
        else:
            above = middle
    low, high = nodes[below], nodes[above]
    share = (target - values[below]) / max(values[above] - values[below], _TINY)
    t = low + (high - low) * min(max(share, 0.0), 1.0)
    for _ in range(_RADIAL_STEPS):
        value, slope = _radial(kind, c, t)
        excess = value - target
        if excess <= 0.0:
            low = t
        if excess >= 0.0:
            high = t
        step = t - excess / max(slope, _TINY)
        if not low <= step <= high:
            step = 0.5 * (low + high)
        is_settled = abs(step - t) <= _EPSILON * t
        t = step
        if is_settled:
            break
    return t


@fused
def _undistorted(c: Coefficients, nodes: Floats, values: Floats, u: float, v: float) -> tuple[float, float, bool]:
    """Ideal image coordinates of distorted ones, and whether they map to them; see `brown.undistort`."""
    max_radius = nodes[-1]
    x, y, distorted = 0.0, 0.0, math.sqrt(u * u + v * v)
    if distorted == 0.0:
        distorted = 1.0
    else:
        scale = _inverse(BROWN, c, nodes, values, distorted) / distorted
        x, y = u * scale, v * scale
    image_u, image_v, u_x, u_y, v_x, v_y = distort_point(c, x, y)
    du, dv, damping = image_u - u, image_v - v, 1.0
    for _ in range(_NEWTON_STEPS):
        if max(abs(du), abs(dv)) <= _ROUNDING * (1.0 + distorted):
            break
        determinant = u_x * v_y - u_y * v_x
        step = damping / (_MIN_DETERMINANT if abs(determinant) < _MIN_DETERMINANT else determinant)
        x_new, y_new = x - step * (v_y * du - u_y * dv), y - step * (u_x * dv - v_x * du)
        radius_squared = x_new * x_new + y_new * y_new
        if radius_squared > max_radius * max_radius:
            shrink = max_radius / math.sqrt(radius_squared)
            x_new, y_new = x_new * shrink, y_new * shrink
        new = distort_point(c, x_new, y_new)
        du_new, dv_new = new[0] - u, new[1] - v
        if du_new * du_new + dv_new * dv_new < du * du + dv * dv:
            x, y, du, dv, damping = x_new, y_new, du_new, dv_new, 1.0
            u_x, u_y, v_x, v_y = new[2], new[3], new[4], new[5]
        else:
            damping *= 0.5
    met = max(abs(du), abs(dv)) < _TOLERANCE * (1.0 + distorted)
    return x, y, met and x * x + y * y < max_radius * max_radius


@fused
def _ray(
    kind: int, c: Coefficients, nodes: Floats, values: Floats, u: float, v: float
) -> tuple[float, float, float, bool]:
    """The unit ray of image coordinates, and whether it means something."""
    x, y, z = u, v, 1.0
    if kind == PINHOLE:
        valid = max(abs(u), abs(v)) < _MAX_SLOPE
    elif kind == KANNALA_BRANDT:
        r = math.sqrt(u * u + v * v)
        valid = r <= values[-1]
        theta = _inverse(kind, c, nodes, values, r)
        scale = math.sin(theta) / r if r != 0.0 else 0.0
        x, y, z = u * scale, v * scale, math.cos(theta)
    elif kind == UNBENT:
        r = math.sqrt(u * u + v * v)
        valid = r < nodes[-1]
        if not valid:
            x, y = u * (nodes[-1] / r), v * (nodes[-1] / r)
    else:
        x, y, valid = _undistorted(c, nodes, values, u, v)
    # Scaled first, so that the squares of long rays do not overflow.
    largest = max(abs(x), abs(y), abs(z))
    x, y, z = x / largest, y / largest, z / largest
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length, valid and not math.isnan(u + v)


@fused
def project_all(kind: int, params: Floats, points: Floats, pixels: Floats) -> None:
    """Pixels, filled in, (n, 2), of points, (n, 3)."""
    by_point, unused = np.empty((2, 3)), np.empty((2, 16))
    for k in range(len(points)):
        x, y, z = points[k, 0], points[k, 1], points[k, 2]
        if kind == KANNALA_BRANDT:
            largest = max(abs(x), abs(y), abs(z), _SMALLEST)
            x, y, z = x / largest, y / largest, z / largest
        pixels[k, 0], pixels[k, 1] = _project(kind, params, x, y, z, by_point, unused)


@fused
def unproject_all(
    kind: int, params: Floats, nodes: Floats, values: Floats, pixels: Floats, rays: Floats, valid: Bools
) -> None:
    """Unit rays, filled in, (n, 3), of pixels, (n, 2), and whether they mean something, (n,)."""
    c = (
        params[4],
        params[5],
        params[6],
        params[7],
        params[8],
        params[9],
        params[10],
        params[11],
        params[12],
        params[13],
        params[14],
        params[15],
    )
    for k in range(len(pixels)):
        u, v = (pixels[k, 0] - params[2]) / params[0], (pixels[k, 1] - params[3]) / params[1]
        x, y, z, valid[k] = _ray(kind, c, nodes, values, u, v)
        rays[k, 0], rays[k, 1], rays[k, 2] = x, y, z


@fused
def differentiate_all(kind: int, params: Floats, rays: Floats, jacobians: Floats) -> None:
    """Derivatives of unit rays by their pixels, filled in, (n, 3, 2): pseudo-inverses of those of the pixels."""
    by_point, unused = np.empty((2, 3)), np.empty((2, 16))
    for k in range(len(rays)):
        _project(kind, params, rays[k, 0], rays[k, 1], rays[k, 2], by_point, unused)
        a = b = d = 0.0
        for i in range(3):
            a += by_point[0, i] * by_point[0, i]
            b += by_point[0, i] * by_point[1, i]
            d += by_point[1, i] * by_point[1, i]
        scale = 1.0 / (a * d - b * b)
        for i in range(3):
            jacobians[k, i, 0] = (by_point[0, i] * d - by_point[1, i] * b) * scale
            jacobians[k, i, 1] = (by_point[1, i] * a - by_point[0, i] * b) * scale
