"""The first map of one camera: wait for parallax, relate two frames, and triangulate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.geometry.triangulation import triangulate_midpoint
from cv3d.geometry.two_view import Degeneracy, TwoViewOptions, estimate_two_view
from cv3d.odometry.rays import RayTable

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

_LEAST_PARALLAX = math.radians(1.0)
"""Median angle between the rays to the points at which a first map is drawn."""
_LEAST_POINTS = 40
_MAX_ERROR = 2.0


@dataclass(frozen=True, eq=False)
class FirstMap:
    """Two related frames; or why they are not."""

    cam1_from_cam0: Floats | None
    """(4, 4); the median distance of the points from the first is 1."""
    points: Floats
    """(n, 3) in the first camera's frame; NaN where a match gives none."""
    reason: str
    parallax: float
    """Radians; NaN where it is not known."""
    rotation: Floats | None
    """(3, 3) of cam1_from_cam0, known also where the camera only turned."""


def first_map(pixels0: Pixels, pixels1: Pixels, camera: Camera, rays: RayTable, seed: int) -> FirstMap:
    """Relate two frames of one camera.

    Args:
        pixels0: (n, 2) in the first frame.
        pixels1: (n, 2) in the second.
        camera: of both.
        rays: its rays.
        seed: of the sample consensus.
    """
    options = TwoViewOptions(max_error=_MAX_ERROR, max_samples=2000, seed=seed)
    related = estimate_two_view(pixels0.astype(np.float64), pixels1.astype(np.float64), camera, camera, options)
    nothing = np.full((len(pixels0), 3), np.nan)
    if not related.verified or related.cam1_from_cam0 is None:
        return FirstMap(None, nothing, related.reason, related.parallax, related.rotation)
    if related.degeneracy not in (Degeneracy.NONE, Degeneracy.PLANAR):
        return FirstMap(None, nothing, related.reason, related.parallax, related.rotation)
    if not related.parallax > _LEAST_PARALLAX:
        degrees = math.degrees(related.parallax)
        return FirstMap(None, nothing, f"only {degrees:.1f} degrees of parallax", related.parallax, related.rotation)
    kept = related.inliers
    found = triangulate_midpoint(rays.rays(pixels0[kept]), rays.rays(pixels1[kept]), related.cam1_from_cam0)
    # Ahead of both cameras, and under a usable angle.
    good = found.in_front & (found.angles > 0.3 * _LEAST_PARALLAX) & np.isfinite(found.points).all(axis=1)
    points = nothing
    points[kept] = np.where(good[:, None], found.points, np.nan)
    count = int(np.isfinite(points).all(axis=1).sum())
    if count < _LEAST_POINTS:
        return FirstMap(None, nothing, f"only {count} points triangulated", related.parallax, related.rotation)
    unit = float(np.nanmedian(np.linalg.norm(points, axis=1)))
    pose = related.cam1_from_cam0.copy()
    pose[:3, 3] /= unit
    return FirstMap(pose, points / unit, "", related.parallax, related.rotation)
