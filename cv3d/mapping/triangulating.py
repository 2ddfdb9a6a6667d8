"""Points of tracks whose pictures are posed, some of their keypoints being wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_MOST_VIEWS = 48
"""Rays of a track that candidates are made of; longer tracks are thinned evenly."""
_MOST_PAIRS = 60
"""Pairs of rays tried for a track."""


def triangulate_tracks(
    starts: Ints, usable: Bools, rays: Floats, centres: Floats, tolerance: Floats, least_angle: float
) -> tuple[Floats, Bools]:
    """The point of each track that most of its rays agree with.

    Every pair of rays proposes the middle of their shortest segment; the point with the most rays within their
    tolerance is taken, and moved to where these meet best.

    Args:
        starts: (t + 1,), where each track's rows begin.
        usable: (n,), rows of pictures with a pose.
        rays: (n, 3), unit directions in the world.
        centres: (n, 3), where each ray begins.
        tolerance: (n,), largest angle between a ray and its point, radians.
        least_angle: between two rays that agree, radians; with less, no point is given.

    Returns:
        Points (t, 3), NaN where there is none, and which rows agree (n,).
    """
    points = np.full((len(starts) - 1, 3), np.nan)
    agrees = np.zeros(len(rays), np.bool_)
    _triangulate(starts, usable, rays, centres, tolerance, np.cos(least_angle), points, agrees)
    return points, agrees


def ray_angles(starts: Ints, counted: Bools, points: Floats, centres: Floats) -> Floats:
    """The largest angle under which two of a track's centres see its point.

    Args:
        starts: (t + 1,), where each track's rows begin.
        counted: (n,), rows that count.
        points: (t, 3).
        centres: (n, 3).

    Returns:
        (t,), radians; 0 where fewer than two rows count.
    """
    angles = np.zeros(len(points))
    _largest_angles(starts, counted, points, centres, angles)
    return angles


@fused
def _triangulate(  # noqa: PLR0912, PLR0915
    starts: Ints,
    usable: Bools,
    rays: Floats,
    centres: Floats,
    tolerance: Floats,
    least_cosine: float,
    points: Floats,
    agrees: Bools,
) -> None:
    for t in range(len(starts) - 1):
        count = 0
        for row in range(starts[t], starts[t + 1]):
            if usable[row]:
                count += 1
        if count < 2:
            continue
        step = 1 + (count - 1) // _MOST_VIEWS
        rows = np.empty((count + step - 1) // step, np.intp)
        k, seen = 0, 0
        for row in range(starts[t], starts[t + 1]):
            if usable[row]:
                if seen % step == 0:
                    rows[k] = row
                    k += 1
                seen += 1
        size = k
        pairs = size * (size - 1) // 2
        stride = 1 + (pairs - 1) // _MOST_PAIRS
        best_count, best_error, tried = 0, np.inf, 0
        best = np.zeros(3)
        for gap in range(size - 1, 0, -1):
            for i in range(size - gap):
                tried += 1
                if (tried - 1) % stride != 0:
                    continue
                a, b = rows[i], rows[i + gap]
                cosine = _dot(rays[a], rays[b])
                if cosine > least_cosine:
                    continue
                x, y, z, is_ahead = _midpoint(centres[a], rays[a], centres[b], rays[b], cosine)
                if not is_ahead:
                    continue
                inliers, error = 0, 0.0
                for m in range(size):
                    off = _angle(centres[rows[m]], rays[rows[m]], x, y, z)
                    if off <= tolerance[rows[m]]:
                        inliers += 1
                        error += (off / tolerance[rows[m]]) ** 2
                if inliers > best_count or (inliers == best_count and error < best_error):
                    best_count, best_error = inliers, error
                    best[0], best[1], best[2] = x, y, z
        if best_count < 2:
            continue
        for _ in range(3):
            moved = _meeting_point(starts[t], starts[t + 1], usable, rays, centres, tolerance, best)
            if not np.isfinite(moved[0]):
                break
            best[:] = moved
        widest, inliers = 1.0, 0
        for row in range(starts[t], starts[t + 1]):
            if usable[row] and _angle(centres[row], rays[row], best[0], best[1], best[2]) <= tolerance[row]:
                agrees[row] = True
                inliers += 1
                for other in range(starts[t], row):
                    if agrees[other]:
                        widest = min(widest, _dot(rays[row], rays[other]))
        if inliers >= 2 and widest <= least_cosine:
            points[t] = best
        else:
            for row in range(starts[t], starts[t + 1]):
                agrees[row] = False


@fused
def _dot(a: Floats, b: Floats) -> float:
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


@fused
def _midpoint(
    centre_a: Floats, ray_a: Floats, centre_b: Floats, ray_b: Floats, cosine: float
) -> tuple[float, float, float, bool]:
    """The middle of the shortest segment between two rays, and whether it lies ahead along both."""
    dx, dy, dz = centre_b[0] - centre_a[0], centre_b[1] - centre_a[1], centre_b[2] - centre_a[2]
    along_a = dx * ray_a[0] + dy * ray_a[1] + dz * ray_a[2]
    along_b = dx * ray_b[0] + dy * ray_b[1] + dz * ray_b[2]
    sine2 = 1.0 - cosine * cosine
    depth_a = (along_a - cosine * along_b) / sine2
    depth_b = (cosine * along_a - along_b) / sine2
    x = 0.5 * (centre_a[0] + depth_a * ray_a[0] + centre_b[0] + depth_b * ray_b[0])
    y = 0.5 * (centre_a[1] + depth_a * ray_a[1] + centre_b[1] + depth_b * ray_b[1])
    z = 0.5 * (centre_a[2] + depth_a * ray_a[2] + centre_b[2] + depth_b * ray_b[2])
    return x, y, z, depth_a > 0.0 and depth_b > 0.0


@fused
def _angle(centre: Floats, ray: Floats, x: float, y: float, z: float) -> float:
    """Between a ray and the direction of a point, radians; the tangent serves for small ones, behind it is infinite."""
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    along = dx * ray[0] + dy * ray[1] + dz * ray[2]
    if along <= 0.0:
        return np.inf
    across2 = dx * dx + dy * dy + dz * dz - along * along
    return float(np.sqrt(max(across2, 0.0)) / along)


@fused
def _meeting_point(
    first: int, last: int, usable: Bools, rays: Floats, centres: Floats, tolerance: Floats, start: Floats
) -> Floats:
    """Nearest to the rays that agree with `start`, each weighted by its angular noise there; NaN if undetermined."""
    a = np.zeros((3, 3))
    b = np.zeros(3)
    for row in range(first, last):
        if not usable[row]:
            continue
        ray, centre = rays[row], centres[row]
        if _angle(centre, ray, start[0], start[1], start[2]) > tolerance[row]:
            continue
        along = 0.0
        for i in range(3):
            along += (start[i] - centre[i]) * ray[i]
        weight = 1.0 / (along * tolerance[row]) ** 2
        for i in range(3):
            for j in range(3):
                projector = (1.0 if i == j else 0.0) - ray[i] * ray[j]
                a[i, j] += weight * projector
                b[i] += weight * projector * centre[j]
    c00 = a[1, 1] * a[2, 2] - a[1, 2] * a[1, 2]
    c01 = a[0, 2] * a[1, 2] - a[0, 1] * a[2, 2]
    c02 = a[0, 1] * a[1, 2] - a[0, 2] * a[1, 1]
    determinant = a[0, 0] * c00 + a[0, 1] * c01 + a[0, 2] * c02
    result = np.full(3, np.nan)
    trace = a[0, 0] + a[1, 1] + a[2, 2]
    if determinant > 1e-12 * trace**3:
        c11 = a[0, 0] * a[2, 2] - a[0, 2] * a[0, 2]
        c12 = a[0, 1] * a[0, 2] - a[0, 0] * a[1, 2]
        c22 = a[0, 0] * a[1, 1] - a[0, 1] * a[0, 1]
        result[0] = (c00 * b[0] + c01 * b[1] + c02 * b[2]) / determinant
        result[1] = (c01 * b[0] + c11 * b[1] + c12 * b[2]) / determinant
        result[2] = (c02 * b[0] + c12 * b[1] + c22 * b[2]) / determinant
    return result


@fused
def _largest_angles(starts: Ints, counted: Bools, points: Floats, centres: Floats, angles: Floats) -> None:
    for t in range(len(starts) - 1):
        size = starts[t + 1] - starts[t]
        directions = np.empty((size, 3))
        k = 0
        for row in range(starts[t], starts[t + 1]):
            if not counted[row]:
                continue
            length = 0.0
            for i in range(3):
                directions[k, i] = points[t, i] - centres[row, i]
                length += directions[k, i] ** 2
            length = np.sqrt(length)
            for i in range(3):
                directions[k, i] /= length
            k += 1
        least = 1.0
        for i in range(k):
            for j in range(i):
                least = min(least, _dot(directions[i], directions[j]))
        angles[t] = np.arccos(max(-1.0, min(1.0, least)))
