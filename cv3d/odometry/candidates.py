"""Points whose depth is not known yet: what a further look at them tells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.points import PointTable

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]

_NOISE_PX = 1.0
_CONTRADICTS = 4.0
"""Distance of two rays, in the noise of one, beyond which they do not see one point."""
_TELLS = 3.0
"""Angle between two rays, in the noise of one, from which on their crossing is better than a guess."""
_MAPS = 5.0
"""And from which on it is good enough for the map."""
_LEAST_ANGLE = math.radians(0.4)


@dataclass(frozen=True, eq=False)
class Crossing:
    """Where the rays to points cross, the host's and the present one."""

    is_wrong: Bools
    """(n,) they do not cross."""
    is_near: Bools
    """(n,) they cross under an angle that tells something of the depth."""
    is_sure: Bools
    """(n,) and one that tells it well."""
    xyz: Floats
    """(n, 3) in the world; of no use where it is not near."""


def cross(
    points: PointTable, rows: Rows, rays: Floats, keys: list[Key], cam_from_world: Floats, pixels_per_radian: float
) -> Crossing:
    """Cross the rays to candidates.

    Args:
        points: the table.
        rows: of the candidates.
        rays: unit rays along which they are seen now, (n, 3).
        keys: key frames, by number.
        cam_from_world: of the frame, (4, 4).
        pixels_per_radian: of the camera.
    """
    hosts, which = np.unique(points.host[rows], return_inverse=True)
    world_from_host = np.stack([keys[host].world_from_cam for host in hosts])[which]
    world_from_cam = inverse(cam_from_world)
    first = np.einsum("nij,nj->ni", world_from_host[:, :3, :3], points.host_rays[rows, 0])
    second = rays @ world_from_cam[:3, :3].T
    base = world_from_cam[:3, 3] - world_from_host[:, :3, 3]
    cosine = (first * second).sum(1)
    square = np.maximum(1.0 - cosine**2, 1e-12)
    forward, backward = (base * first).sum(1), (base * second).sum(1)
    along = (forward - cosine * backward) / square
    back = (cosine * forward - backward) / square
    xyz = world_from_host[:, :3, 3] + along[:, None] * first
    gap = np.linalg.norm(xyz - world_from_cam[:3, 3] - back[:, None] * second, axis=1)
    angle, noise = np.sqrt(square), _NOISE_PX / pixels_per_radian
    is_near = angle > _TELLS * noise
    with np.errstate(invalid="ignore"):
        crosses = (along > 0.0) & (back > 0.0) & (gap < _CONTRADICTS * noise * np.maximum(back, 1e-9))
    is_wrong = (is_near & ~crosses) | ~np.isfinite(rays).all(axis=1)
    return Crossing(is_wrong, is_near & crosses, crosses & (angle > max(_LEAST_ANGLE, _MAPS * noise)), xyz)
