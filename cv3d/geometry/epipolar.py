"""How well two posed cameras agree on points that both see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid

Floats = NDArray[np.float64]

_FORWARD = 0.17
"""Cosine to the optical axis above which a ray has a place in an undistorted picture."""


def essential_matrix(second_from_first: Floats) -> Floats:
    """E = [t]x R, (3, 3), with r2^T E r1 = 0 for rays to one point (Longuet-Higgins 1981)."""
    x, y, z = second_from_first[:3, 3]
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    result: Floats = cross @ second_from_first[:3, :3]
    return result


def epipolar_distances(
    first: Camera, second: Camera, second_from_first: Floats, pixels_first: Floats, pixels_second: Floats
) -> Floats:
    """Distances of points to the epipolar lines of their counterparts in undistorted pictures.

    The undistorted pictures are those of pinhole cameras with each camera's own calibration matrix, as in OpenCV's
    stereo calibration sample.

    Args:
        first: one camera.
        second: the other.
        second_from_first: relative pose, (4, 4).
        pixels_first: where the first sees the points, (n, 2).
        pixels_second: where the second sees them, (n, 2).

    Returns:
        (n, 2), pixels: in the first camera's picture and in the second's. NaN where a ray is more than 80 degrees off
        an optical axis.
    """
    rays_first, rays_second = first.unproject(pixels_first), second.unproject(pixels_second)
    fundamental = np.linalg.inv(second.matrix).T @ essential_matrix(second_from_first) @ np.linalg.inv(first.matrix)
    points_first, points_second = (
        rays / np.where(rays[:, 2:] > _FORWARD, rays[:, 2:], np.nan) @ camera.matrix.T
        for rays, camera in ((rays_first, first), (rays_second, second))
    )
    lines_first, lines_second = points_second @ fundamental, points_first @ fundamental.T
    off = np.abs((lines_second * points_second).sum(axis=1))
    steepness = [np.linalg.norm(lines[:, :2], axis=1) for lines in (lines_first, lines_second)]
    distances: Floats = off[:, None] / np.stack(steepness, axis=1)
    return distances


def epipolar_angles(
    first: Camera, second: Camera, second_from_first: Floats, pixels_first: Floats, pixels_second: Floats
) -> Floats:
    """Angles between viewing rays and the epipolar planes of their counterparts, for lenses of any width.

    Arguments as in :func:`epipolar_distances`.

    Returns:
        (n, 2), radians: of the first camera's rays and of the second's. NaN where the counterpart looks along the
        baseline.
    """
    rays_first, rays_second = first.unproject(pixels_first), second.unproject(pixels_second)
    essential = essential_matrix(second_from_first)
    normals_first, normals_second = rays_second @ essential, rays_first @ essential.T
    off = np.abs((normals_second * rays_second).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        sines = np.stack([off / np.linalg.norm(n, axis=1) for n in (normals_first, normals_second)], axis=1)
    result: Floats = np.arcsin(np.where(np.isfinite(sines), np.clip(sines, 0.0, 1.0), np.nan))
    return result


def baseline(second_from_first: Floats) -> float:
    """Distance between the centres of two cameras, in the unit of the pose (4, 4)."""
    return float(np.linalg.norm(second_from_first[:3, 3]))


def axes_angle(second_from_first: Floats) -> float:
    """Angle between the optical axes of two cameras with relative pose (4, 4), radians."""
    return float(np.arccos(np.clip(inverse_rigid(second_from_first)[2, 2], -1.0, 1.0)))
