"""Local affinities are the derivatives of what carries pixels from one picture to the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.epipolar import essential_matrix
from cv3d.geometry.local_affinity import (
    epipolar_affinities,
    facing_affinities,
    homography_affinities,
    ray_homography_affinities,
    two_view_affinities,
)
from cv3d.geometry.two_view import ModelKind, estimate_two_view

Floats = NDArray[np.float64]
STEP = 1e-4
PINHOLE = Camera("pinhole", 640, 480, (520.0, 515.0, 322.0, 238.0))
FISHEYE = Camera("kannala_brandt4", 800, 800, (250.0, 252.0, 401.0, 399.0, 0.02, -0.003, 0.001, 0.0))


def differences(carry: Callable[[Floats], Floats], pixels: Floats) -> Floats:
    columns = [(carry(pixels + step) - carry(pixels - step)) / (2 * STEP) for step in STEP * np.eye(2)]
    return np.stack(columns, axis=-1)


def turn(x: float, y: float, z: float) -> Floats:
    angle = float(np.linalg.norm((x, y, z)))
    a, b, c = np.array((x, y, z)) / angle
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def moved(rotation: Floats, translation: tuple[float, float, float]) -> Floats:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return pose


CAM1 = moved(turn(0.05, -0.2, 0.3), (-0.5, 0.1, 0.2))


def some_pixels(camera: Camera, count: int = 30) -> Floats:
    rng = np.random.default_rng(0)
    return rng.uniform(0.2, 0.8, (count, 2)) * (camera.width, camera.height)


def test_a_homography_between_pixels() -> None:
    homography = np.array([[0.9, 0.1, 20.0], [-0.1, 1.1, 5.0], [1e-4, -2e-4, 1.0]])

    def carry(pixels: Floats) -> Floats:
        ends = np.c_[pixels, np.ones(len(pixels))] @ homography.T
        return ends[:, :2] / ends[:, 2:]

    pixels = some_pixels(PINHOLE)
    np.testing.assert_allclose(homography_affinities(pixels, homography), differences(carry, pixels), atol=1e-7)


@pytest.mark.parametrize("camera", [PINHOLE, FISHEYE], ids=lambda c: c.model)
def test_a_homography_between_rays(camera: Camera) -> None:
    homography = turn(0.1, 0.2, -0.1) + 0.05 * np.outer((1.0, 0.5, 0.2), (0.1, 0.2, 1.0))
    pixels = some_pixels(camera)
    found = ray_homography_affinities(pixels, homography, camera, PINHOLE)
    expected = differences(lambda p: PINHOLE.project(camera.unproject(p) @ homography.T), pixels)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("camera", [PINHOLE, FISHEYE], ids=lambda c: c.model)
def test_a_surface_that_faces_both(camera: Camera) -> None:
    pixels = some_pixels(camera)
    rays = camera.unproject(pixels)
    points = rays * np.random.default_rng(1).uniform(2.0, 5.0, (len(rays), 1))
    found = facing_affinities(pixels, points, camera, PINHOLE, CAM1)
    centre = inverse_rigid(CAM1[None])[0, :3, 3]
    toward = points - centre
    normals = rays + toward / np.linalg.norm(toward, axis=1, keepdims=True)

    def carry(places: Floats) -> Floats:
        seen = camera.unproject(places)
        depth = (normals * points).sum(axis=1) / (normals * seen).sum(axis=1)
        return PINHOLE.project(seen * depth[:, None] @ CAM1[:3, :3].T + CAM1[:3, 3])

    np.testing.assert_allclose(found, differences(carry, pixels), atol=1e-6)


def test_a_facing_surface_favours_neither_picture() -> None:
    pixels = some_pixels(PINHOLE)
    points = PINHOLE.unproject(pixels) * 4.0
    ends = points @ CAM1[:3, :3].T + CAM1[:3, 3]
    there = facing_affinities(pixels, points, PINHOLE, FISHEYE, CAM1)
    back = facing_affinities(FISHEYE.project(ends), ends, FISHEYE, PINHOLE, inverse_rigid(CAM1[None])[0])
    np.testing.assert_allclose(there @ back, np.broadcast_to(np.eye(2), there.shape), atol=1e-9)


def test_each_point_may_have_its_own_pose() -> None:
    pixels = some_pixels(PINHOLE, 4)
    points = PINHOLE.unproject(pixels) * 4.0
    poses = np.stack([CAM1, inverse_rigid(CAM1[None])[0], CAM1, np.eye(4)])
    together = facing_affinities(pixels, points, PINHOLE, PINHOLE, poses)
    for row, pose in enumerate(poses):
        alone = facing_affinities(pixels[row : row + 1], points[row : row + 1], PINHOLE, PINHOLE, pose)
        np.testing.assert_allclose(together[row], alone[0], atol=1e-12)
    np.testing.assert_allclose(together[3], np.eye(2), atol=1e-9)


def on_plane(count: int) -> tuple[Floats, Floats, Floats]:
    """Points of a slanted plane with their pixels in both pictures."""
    pixels = np.random.default_rng(3).uniform(0.2, 0.8, (count, 2)) * (640, 480)
    rays = PINHOLE.unproject(pixels)
    points = rays * (4.0 / (rays @ np.array((0.3, -0.2, 1.0))))[:, None]
    return points, pixels, PINHOLE.project(points @ CAM1[:3, :3].T + CAM1[:3, 3])


def fundamental() -> Floats:
    inverse = np.linalg.inv(PINHOLE.matrix)
    return inverse.T @ essential_matrix(CAM1) @ inverse


def plane_truth(pixels: Floats) -> Floats:
    normal = np.array((0.3, -0.2, 1.0)) / 4.0
    between_rays = CAM1[:3, :3] + np.outer(CAM1[:3, 3], normal)
    return ray_homography_affinities(pixels, between_rays, PINHOLE, PINHOLE)


def test_an_epipolar_geometry_gives_the_part_across_its_lines() -> None:
    _, pixels0, pixels1 = on_plane(400)
    found, true = epipolar_affinities(pixels0, pixels1, fundamental()), plane_truth(pixels0)
    lines = np.c_[pixels0, np.ones(400)] @ fundamental().T
    across = lines[:, None, :2] / np.linalg.norm(lines[:, :2], axis=1)[:, None, None]
    np.testing.assert_allclose(across @ found, across @ true, atol=1e-9)
    assert np.median(np.abs(found - true)) < 0.05
    assert (np.linalg.det(found) > 0.0).all()


def test_neighbours_at_other_depths_do_not_mislead() -> None:
    _, pixels0, pixels1 = on_plane(400)
    far = np.random.default_rng(4).random(400) < 0.2
    rays = PINHOLE.unproject(pixels0)
    pixels1[far] = PINHOLE.project((rays * 9.0)[far] @ CAM1[:3, :3].T + CAM1[:3, 3])
    found, true = epipolar_affinities(pixels0, pixels1, fundamental()), plane_truth(pixels0)
    assert np.median(np.abs(found - true)[~far]) < 0.06


def test_two_matches_alone_have_affinities() -> None:
    _, pixels0, pixels1 = on_plane(2)
    assert np.isfinite(epipolar_affinities(pixels0, pixels1, fundamental())).all()
    assert epipolar_affinities(pixels0[:0], pixels1[:0], fundamental()).shape == (0, 2, 2)


@pytest.mark.parametrize("has_cameras", [True, False])
@pytest.mark.parametrize("kind", [ModelKind.HOMOGRAPHY, ModelKind.ESSENTIAL])
def test_every_model_that_is_estimated_has_affinities(has_cameras: bool, kind: ModelKind) -> None:
    rng = np.random.default_rng(5)
    points, pixels0, _ = on_plane(300)
    if kind is ModelKind.ESSENTIAL:
        points = points * rng.uniform(0.6, 1.6, (300, 1))
    pixels1 = PINHOLE.project(points @ CAM1[:3, :3].T + CAM1[:3, 3])
    pixels0, pixels1 = (pixels + rng.normal(scale=0.1, size=pixels.shape) for pixels in (pixels0, pixels1))
    cameras = (PINHOLE, PINHOLE) if has_cameras else (None, None)
    geometry = estimate_two_view(pixels0, pixels1, *cameras)
    assert geometry.model is (kind if has_cameras or kind is ModelKind.HOMOGRAPHY else ModelKind.FUNDAMENTAL)
    inliers = geometry.inliers
    found = two_view_affinities(geometry, pixels0[inliers], pixels1[inliers], *cameras)
    assert np.isfinite(found).all()
    expected = (
        plane_truth(pixels0)
        if kind is ModelKind.HOMOGRAPHY
        else facing_affinities(pixels0, points, PINHOLE, PINHOLE, CAM1)
    )
    assert np.median(np.abs(found - expected[inliers])) < (0.02 if has_cameras else 0.25)


def test_a_point_at_infinity_turns_with_the_camera() -> None:
    pixels0 = some_pixels(PINHOLE, 60)
    rays = PINHOLE.unproject(pixels0)
    depth = np.where(np.arange(60) < 40, 4.0 + np.arange(60) % 3, 1e9)
    pixels1 = PINHOLE.project(rays * depth[:, None] @ CAM1[:3, :3].T + CAM1[:3, 3])
    geometry = estimate_two_view(pixels0, pixels1, PINHOLE, PINHOLE)
    found = two_view_affinities(geometry, pixels0, pixels1, PINHOLE, PINHOLE)
    turned = ray_homography_affinities(pixels0, CAM1[:3, :3], PINHOLE, PINHOLE)
    np.testing.assert_allclose(found[40:], turned[40:], atol=0.02)


def test_what_does_not_fit_together_is_refused() -> None:
    _, pixels0, pixels1 = on_plane(100)
    nothing = estimate_two_view(pixels0[:2], pixels1[:2])
    with pytest.raises(ValueError, match="without a model"):
        two_view_affinities(nothing, pixels0, pixels1)
    _, pixels0, _ = on_plane(100)
    rays = PINHOLE.unproject(pixels0) * np.random.default_rng(0).uniform(2, 6, (100, 1))
    geometry = estimate_two_view(pixels0, PINHOLE.project(rays @ CAM1[:3, :3].T + CAM1[:3, 3]), PINHOLE, PINHOLE)
    assert geometry.model is ModelKind.ESSENTIAL
    with pytest.raises(ValueError, match="known cameras"):
        two_view_affinities(geometry, pixels0, pixels0)
