"""How the surroundings of a point in one picture are stretched and turned in another, to first order.

A local affinity is the derivative (2, 2) of the second picture's pixels by the first picture's, on the surface that
both see. Its normal is known only where the model is a homography; elsewhere the surface is taken to face the middle
between both viewing directions, which favours neither picture: from the second to the first it gives the inverse.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.pixel_rays import pixel_rays
from cv3d.geometry.triangulation import triangulate_optimal
from cv3d.geometry.two_view.result import ModelKind, TwoView

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NEIGHBOURS = 8
_ROUNDS = 3
_PRIOR = 2.0
"""Neighbours that the assumption of equal scale along and across epipolar lines counts for."""


def homography_affinities(pixels0: Floats, homography: Floats) -> Floats:
    """Local affinities of a homography between pixels.

    Args:
        pixels0: (n, 2), in the first picture.
        homography: (3, 3), x1 ~ H x0.

    Returns:
        (n, 2, 2); not finite on the line that H sends to infinity.
    """
    homogeneous = np.column_stack([pixels0, np.ones(len(pixels0))]) @ homography.T
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels1 = homogeneous[:, :2] / homogeneous[:, 2:]
        result: Floats = homography[:2, :2] - pixels1[:, :, None] * homography[2, :2]
        return result / homogeneous[:, 2, None, None]


def ray_homography_affinities(pixels0: Floats, homography: Floats, camera0: Camera, camera1: Camera) -> Floats:
    """Local affinities of a homography between rays, for any central cameras.

    Args:
        pixels0: (n, 2), in the first picture.
        homography: (3, 3), ray1 ~ H ray0; a rotation where the camera turned or everything is far.
        camera0: the first camera.
        camera1: the second.

    Returns:
        (n, 2, 2); NaN where the pixel or its counterpart is outside of a lens's domain.
    """
    seen = pixel_rays(camera0, pixels0)
    moved = seen.rays @ homography.T
    return _checked(_projection(camera1, moved) @ homography @ seen.jacobians, seen.valid)


def facing_affinities(
    pixels0: Floats, points: Floats, camera0: Camera, camera1: Camera, cam1_from_cam0: Floats
) -> Floats:
    """Local affinities of surfaces that face the middle between two viewing directions.

    Args:
        pixels0: (n, 2), in the first picture.
        points: (n, 3), in the first camera's frame.
        camera0: the first camera.
        camera1: the second.
        cam1_from_cam0: relative poses, (4, 4), or (n, 4, 4) with one for each point.

    Returns:
        (n, 2, 2); NaN where the point is not finite, or a pixel is outside of a lens's domain.
    """
    rotation, translation = cam1_from_cam0[..., :3, :3], cam1_from_cam0[..., :3, 3]
    seen = pixel_rays(camera0, pixels0)
    moved = (rotation @ points[:, :, None])[..., 0] + translation
    with np.errstate(divide="ignore", invalid="ignore"):
        back = (np.swapaxes(rotation, -1, -2) @ (moved / np.linalg.norm(moved, axis=1, keepdims=True))[:, :, None])[
            ..., 0
        ]
        rays = seen.rays / np.linalg.norm(seen.rays, axis=1, keepdims=True)
        normals = rays + back
        facing = (normals * rays).sum(axis=1)[:, None, None]
        # A pixel's ray meets the plane n·X = const at depth const / n·r, so its derivative has no part along n.
        slide = seen.jacobians - rays[:, :, None] * ((normals[:, None] @ seen.jacobians) / facing)
        depths = np.linalg.norm(points, axis=1)[:, None, None]
        return _checked(_projection(camera1, moved) @ rotation @ slide * depths, seen.valid)


def epipolar_affinities(pixels0: Floats, pixels1: Floats, fundamental: Floats) -> Floats:
    """Local affinities of matches of unknown cameras.

    Across epipolar lines the fundamental matrix gives the affinity (Barath et al., "Recovering affine features from
    orientation- and scale-invariant ones", 2018, equation 3). Along them it comes from the neighbouring matches, as far
    as they agree, and is drawn to the scale found across the lines.

    Args:
        pixels0: (n, 2), in the first picture.
        pixels1: (n, 2), the inlier matches in the second.
        fundamental: (3, 3), x1^T F x0 = 0.

    Returns:
        (n, 2, 2), orientation preserving across the lines; not finite at an epipole.
    """
    lines1 = (np.column_stack([pixels0, np.ones(len(pixels0))]) @ fundamental.T)[:, :2]
    lines0 = (np.column_stack([pixels1, np.ones(len(pixels1))]) @ fundamental)[:, :2]
    size0, size1 = (np.linalg.norm(lines, axis=1, keepdims=True) for lines in (lines0, lines1))
    with np.errstate(divide="ignore", invalid="ignore"):
        normals0, normals1, scale = -lines0 / size0, lines1 / size1, (size0 / size1)[:, 0]
    along0, along1 = (np.column_stack([-n[:, 1], n[:, 0]]) for n in (normals0, normals1))
    row = scale[:, None] * along0
    count = min(_NEIGHBOURS, len(pixels0) - 1)
    if count >= 2:
        row = _along_lines(pixels0, pixels1, along1, row, count)
    result: Floats = along1[:, :, None] * row[:, None] + normals1[:, :, None] * (scale[:, None] * normals0)[:, None]
    return result


def two_view_affinities(
    geometry: TwoView,
    pixels0: Floats,
    pixels1: Floats,
    camera0: Camera | None = None,
    camera1: Camera | None = None,
) -> Floats:
    """Local affinities of a pair's matches, by whatever its geometry allows.

    Args:
        geometry: of the pair, estimated with these cameras, or without any.
        pixels0: (n, 2), inlier matches in the first picture.
        pixels1: (n, 2), in the second.
        camera0: the first picture's camera, where it was known.
        camera1: the second picture's camera.

    Returns:
        (n, 2, 2); not finite where there is none.

    Raises:
        ValueError: the pair has no model, or an essential matrix is given without cameras.
    """
    matrix = geometry.matrix
    if matrix is None or geometry.model is ModelKind.NONE:
        raise ValueError("a pair without a model has no local affinities")
    if geometry.model is ModelKind.FUNDAMENTAL:
        return epipolar_affinities(pixels0, pixels1, matrix)
    if camera0 is None or camera1 is None:
        if geometry.model is ModelKind.ESSENTIAL:
            raise ValueError("the geometry is one of known cameras: give both")
        return homography_affinities(pixels0, matrix)
    if geometry.model is ModelKind.HOMOGRAPHY:
        return ray_homography_affinities(pixels0, matrix, camera0, camera1)
    pose = geometry.cam1_from_cam0
    if pose is None:
        raise ValueError("an essential matrix without a pose has no local affinities")
    met = triangulate_optimal(pixels0, pixels1, camera0, camera1, pose)
    near = facing_affinities(pixels0, met.points, camera0, camera1, pose)
    far = ray_homography_affinities(pixels0, pose[:3, :3], camera0, camera1)
    is_near: Bools = np.asarray(met.in_front & np.isfinite(near).all(axis=(1, 2)))
    result: Floats = np.where(is_near[:, None, None], near, far)
    return result


def _along_lines(pixels0: Floats, pixels1: Floats, along1: Floats, prior: Floats, count: int) -> Floats:
    """The affinities' components (n, 2) along the epipolar lines of the second picture.

    Neighbours at other depths lie off along the line; each round weighs them by how far (Geman-McClure).
    """
    from scipy.spatial import cKDTree

    distance, index = cKDTree(pixels0).query(pixels0, k=count + 1)
    index, distance = index[:, 1:], distance[:, 1:]
    offsets0 = pixels0[index] - pixels0[:, None]
    offsets1 = ((pixels1[index] - pixels1[:, None]) * along1[:, None]).sum(axis=2)
    reach = np.maximum(np.median(distance, axis=1), 1.0)[:, None]
    near = 1.0 / (1.0 + (distance / reach) ** 2)
    weights, row = near, prior
    for _ in range(_ROUNDS):
        weighted = offsets0 * weights[..., None]
        normal = np.swapaxes(weighted, 1, 2) @ offsets0 + (_PRIOR * reach**2)[..., None] * np.eye(2)
        right = (weighted * offsets1[..., None]).sum(axis=1) + _PRIOR * reach**2 * prior
        row = np.linalg.solve(normal, right[..., None])[..., 0]
        off = (offsets0 * row[:, None]).sum(axis=2) - offsets1
        weights = near / (1.0 + (off / (0.25 * reach)) ** 2) ** 2
    return row


def _projection(camera: Camera, points: Floats) -> Floats:
    """Derivatives (n, 2, 3) of pixels by points; NaN outside of the lens's domain."""
    params = torch.tensor(camera.params, dtype=torch.float64)
    finite: Bools = np.asarray(np.isfinite(points).all(axis=1))
    inside = torch.from_numpy(np.where(finite[:, None], points, (0.0, 0.0, 1.0)))
    _, by_point, _ = camera.lens.project_with_jacobians(params, inside)
    return _checked(by_point.numpy(), finite & camera.lens.valid_points(params, inside).numpy())


def _checked(matrices: Floats, valid: Bools) -> Floats:
    result: Floats = np.where(valid[:, None, None], matrices, np.nan)
    return result
