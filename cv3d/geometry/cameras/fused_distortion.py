"""The fused twin of the Brown-Conrady distortion of one point; see `cv3d.geometry.cameras.brown` for the formulas."""

from __future__ import annotations

from typing import TypeAlias

from cv3d.geometry.fused import fused

Coefficients: TypeAlias = tuple[float, float, float, float, float, float, float, float, float, float, float, float]
"""k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4, 0 where a lens has none."""

_MIN_DENOMINATOR = 1e-4


@fused
def distort_point(c: Coefficients, x: float, y: float) -> tuple[float, float, float, float, float, float]:
    """Distorted image coordinates u, v of ideal ones, and du/dx, du/dy, dv/dx, dv/dy."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = c
    xx, yy, xy2 = x * x, y * y, 2.0 * x * y
    r2 = xx + yy
    numerator = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = k1 + r2 * (2.0 * k2 + r2 * (3.0 * k3))
    denominator = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
    denominator_slope = k4 + r2 * (2.0 * k5 + r2 * (3.0 * k6))
    if denominator <= _MIN_DENOMINATOR:
        denominator, denominator_slope = _MIN_DENOMINATOR, 0.0
    inverse = 1.0 / denominator
    gain = numerator * inverse
    twice_slope = 2.0 * (slope - gain * denominator_slope) * inverse
    along_u, along_v = p1 * y + p2 * x, p1 * x + p2 * y
    prism_u, prism_v = 2.0 * s1 + 4.0 * s2 * r2, 2.0 * s3 + 4.0 * s4 * r2
    common, mixed = gain + 2.0 * along_u, twice_slope * x * y + 2.0 * along_v
    return (
        x * gain + p1 * xy2 + p2 * (r2 + 2.0 * xx) + r2 * (s1 + s2 * r2),
        y * gain + p1 * (r2 + 2.0 * yy) + p2 * xy2 + r2 * (s3 + s4 * r2),
        common + twice_slope * xx + (4.0 * p2 + prism_u) * x,
        mixed + prism_u * y,
        mixed + prism_v * x,
        common + twice_slope * yy + (4.0 * p1 + prism_v) * y,
    )
