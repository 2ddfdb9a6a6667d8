"""Which matches agree with the true geometry of a pair of pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.pixel_rays import cross_matrix, pixel_rays
from cv3d.geometry.two_view.residuals import Matches, epipolar_residuals, transfer_errors

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NORMALISED_LIMIT = 5e-4
"""Largest squared symmetric epipolar distance, on image planes at unit distance, of a correct match: SuperGlue's."""
HOMOGRAPHY_LIMIT_PX = 3.0
"""Largest distance of a correct match from where the true homography carries it, pixels."""


def agree_with_pose(
    points0: Floats,
    points1: Floats,
    cameras: tuple[Camera, Camera],
    cam1_from_cam0: Floats,
    max_error_px: float | None = None,
) -> Bools:
    """Which matches lie near each other's true epipolar line.

    Without `max_error_px` it is the criterion of SuperGlue's evaluation (Sarlin et al. 2020): the squared distances of
    both points from their lines, on image planes at unit distance, sum up to less than 5e-4. It is a loose one, some
    9 pixels at a focal length of 577. With it, the first-order distance through the lens (see
    :mod:`cv3d.geometry.two_view.residuals`) is at most that.

    Args:
        points0: (n, 2), pixels.
        points1: (n, 2), pixels.
        cameras: of both pictures.
        cam1_from_cam0: the truth, (4, 4); its translation not zero.
        max_error_px: largest error of a correct match, pixels.

    Returns:
        (n,); false where a camera does not see the pixel.
    """
    rays0, rays1 = pixel_rays(cameras[0], points0), pixel_rays(cameras[1], points1)
    translation = cam1_from_cam0[:3, 3] / np.linalg.norm(cam1_from_cam0[:3, 3])
    essential = cross_matrix(translation) @ cam1_from_cam0[:3, :3]
    valid = rays0.valid & rays1.valid
    if max_error_px is not None:
        alike = np.ones(len(points0))
        near: Bools = np.abs(epipolar_residuals(essential, Matches(rays0, rays1, alike, alike))) <= max_error_px
        return np.asarray(valid & near, dtype=np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (rays.rays / rays.rays[:, 2:] for rays in (rays0, rays1))
        lines1, lines0 = first @ essential.T, second @ essential
        off = (lines1 * second).sum(axis=1) ** 2
        squared = off * (1.0 / (lines0[:, :2] ** 2).sum(axis=1) + 1.0 / (lines1[:, :2] ** 2).sum(axis=1))
    return np.asarray(valid & (squared < NORMALISED_LIMIT), dtype=np.bool_)


def agree_with_homography(
    points0: Floats, points1: Floats, homography: Floats, max_error_px: float | None = None
) -> Bools:
    """Which matches lie near where the true homography carries them.

    Args:
        points0: (n, 2), pixels.
        points1: (n, 2), pixels.
        homography: the truth, H with x1 ~ H x0, (3, 3).
        max_error_px: largest error of a correct match in the second picture, pixels; None: three.

    Returns:
        (n,).
    """
    limit = HOMOGRAPHY_LIMIT_PX if max_error_px is None else max_error_px
    return np.asarray(transfer_errors(homography, points0, points1) <= limit, dtype=np.bool_)
