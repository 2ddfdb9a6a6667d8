"""Corner candidates: saddle points of the grey values around which four sectors alternate.

The response is the Hessian determinant of the smoothed picture; the ring test around each maximum asks, as ChESS does
(Bennett and Lasenby 2014), for a pattern that repeats after half a turn and changes its sign four times.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.checkerboard.pyramid import Float32, Float64, Level, saddle_response, sample_bilinear

MOST_MAXIMA = 5000
"""At most so many maxima of the response are looked at in one level."""
MOST_SADDLES = 2500
"""At most so many verified saddles of one level are linked."""
RESPONSE_FLOOR = 0.02
"""Squared grey values a pixel^4: a corner of 3 grey levels amplitude under strong blur."""
STATIONARY_WITHIN_PX = 1.5
"""A saddle of the grey values lies so close to the maximum of its response; most maxima along edges have none."""
RING_SAMPLES = 32
RING_RADII_PX = (3.0, 4.5, 6.5)
"""Radii of the rings, in pixels of the level: 8-pixel squares need the first, blurred or noisy corners the others."""
LEAST_CONTRAST = 4.0
"""Least difference, in grey levels, between the light and the dark sectors."""
LEAST_SYMMETRY = 0.6
"""Least correlation of a ring with itself turned by half a turn."""
LEAST_SECTOR_DEG = 18.0
"""Narrowest sector that is accepted between two edges."""


@dataclass(frozen=True)
class Saddles:
    """Verified corner candidates of one level."""

    pixels: Float64
    """Positions in the picture, (n, 2)."""
    rays: Float64
    """Angles of the four edges that leave the corner, (n, 4), radians, from +x towards +y, increasing along the row by
    less than a turn. Passing rays 0 and 2 in that sense leads from dark to light, rays 1 and 3 from light to dark."""
    contrast: Float64
    """Light sectors minus dark sectors, grey levels, (n,)."""


@dataclass(frozen=True)
class LevelCandidates:
    """What one level offers."""

    maxima: Float64
    """Every maximum of the saddle response, in picture coordinates, (m, 2)."""
    saddles: Saddles


def find_candidates(level: Level) -> LevelCandidates:
    """Maxima of the saddle response of a level and those of them that pass the ring test."""
    response = saddle_response(level.smooth)
    local = _refine(level.smooth, _maxima(response))
    saddles = _ring_test(level, local)
    return LevelCandidates(level.to_picture(local), saddles)


def _maxima(response: Float32) -> NDArray[np.int64]:
    """Strict local maxima above the floor, strongest first, (n, 2) x then y, away from the very border."""
    inside = response[2:-2, 2:-2]
    highest = cv2.dilate(response, np.ones((5, 5), np.uint8))[2:-2, 2:-2]
    y, x = np.nonzero((inside >= highest) & (inside > RESPONSE_FLOOR))
    value = inside[y, x]
    if len(value) > MOST_MAXIMA:
        keep = np.argpartition(-value, MOST_MAXIMA)[:MOST_MAXIMA]
        y, x, value = y[keep], x[keep], value[keep]
    order = np.lexsort((x, y, -value))
    return np.stack([x[order] + 2, y[order] + 2], axis=1).astype(np.int64)


def _refine(smooth: Float32, local: NDArray[np.int64]) -> Float64:
    """The stationary point of the second-order expansion at each maximum, where there is one nearby."""
    x, y = local[:, 0], local[:, 1]
    patch = np.stack([smooth[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=1).astype(np.float64)
    gx = (patch[:, 5] - patch[:, 3]) / 2
    gy = (patch[:, 7] - patch[:, 1]) / 2
    xx = patch[:, 5] - 2 * patch[:, 4] + patch[:, 3]
    yy = patch[:, 7] - 2 * patch[:, 4] + patch[:, 1]
    xy = (patch[:, 8] - patch[:, 6] - patch[:, 2] + patch[:, 0]) / 4
    det = xx * yy - xy * xy
    det = np.where(np.abs(det) < 1e-9, -1e-9, det)
    step = np.stack([-(yy * gx - xy * gy) / det, -(xx * gy - xy * gx) / det], axis=1)
    near = np.abs(step).max(axis=1) < STATIONARY_WITHIN_PX
    return np.asarray(local[near] + step[near], dtype=np.float64)


def _ring_test(level: Level, local: Float64) -> Saddles:
    """Keep the points with a four-sector ring at any of the radii; the largest passing radius gives the angles."""
    n = len(local)
    rays = np.zeros((n, 4))
    contrast = np.zeros(n)
    passed = np.zeros(n, dtype=bool)
    angles = np.arange(RING_SAMPLES) * (2 * np.pi / RING_SAMPLES)
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for radius in RING_RADII_PX:
        ring = sample_bilinear(level.smooth, (local[:, None] + radius * unit).astype(np.float32)).astype(np.float64)
        ok, ring_rays, ring_contrast = _read_rings(ring)
        rays[ok] = ring_rays[ok]
        contrast[ok] = np.maximum(contrast[ok], ring_contrast[ok])
        passed |= ok
    keep = np.flatnonzero(passed)
    if len(keep) > MOST_SADDLES:
        keep = np.sort(keep[np.argsort(-contrast[keep], kind="stable")[:MOST_SADDLES]])
    return Saddles(level.to_picture(local[keep]), rays[keep], contrast[keep])


def _read_rings(ring: Float64) -> tuple[NDArray[np.bool_], Float64, Float64]:
    """Which rings (n, m) alternate twice, with their four zero crossings and their contrast."""
    n, samples = ring.shape
    half = samples // 2
    seen: NDArray[np.bool_] = np.isfinite(ring.sum(axis=1))
    ring = np.where(seen[:, None], ring, 0.0)
    ranked = np.partition(ring, (3, samples - 4), axis=1)
    middle = (ranked[:, 3] + ranked[:, -4]) / 2
    centred = ring - middle[:, None]
    even = (centred[:, :half] + centred[:, half:]) / 2
    odd = (centred[:, :half] - centred[:, half:]) / 2
    even_power = (even**2).sum(axis=1)
    odd_power = (odd**2).sum(axis=1)
    symmetry = (even_power - odd_power) / np.maximum(even_power + odd_power, 1e-12)

    following = np.roll(even, -1, axis=1)
    following[:, -1] = even[:, 0]
    rising = (even < 0) & (following >= 0)
    falling = (even >= 0) & (following < 0)
    ok = seen & (rising.sum(axis=1) == 1) & (falling.sum(axis=1) == 1) & (symmetry > LEAST_SYMMETRY)

    step = 2 * np.pi / samples
    row = np.arange(n)
    crossing = even / np.where(np.abs(even - following) < 1e-12, 1e-12, even - following)
    up = np.argmax(rising, axis=1)
    down = np.argmax(falling, axis=1)
    up_angle = (up + crossing[row, up]) * step
    down_angle = (down + crossing[row, down]) * step
    down_angle = up_angle + np.mod(down_angle - up_angle, np.pi)
    sector = down_angle - up_angle
    least = np.deg2rad(LEAST_SECTOR_DEG)
    ok &= (sector > least) & (sector < np.pi - least)

    light = even > 0
    light_mean = np.where(light, even, 0).sum(axis=1) / np.maximum(light.sum(axis=1), 1)
    dark_mean = np.where(light, 0, even).sum(axis=1) / np.maximum((~light).sum(axis=1), 1)
    contrast = light_mean - dark_mean
    ok &= contrast > LEAST_CONTRAST
    rays = np.stack([up_angle, down_angle, up_angle + np.pi, down_angle + np.pi], axis=1)
    return ok, rays, contrast
