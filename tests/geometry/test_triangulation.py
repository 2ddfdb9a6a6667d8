"""Triangulation from two and from many views."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import least_squares

from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.triangulation import triangulate_midpoint, triangulate_multiview, triangulate_optimal
from cv3d.geometry.two_view.parameters import rotation_exp

Floats = NDArray[np.float64]

PINHOLE = Camera("pinhole", 1280, 960, (900.0, 905.0, 640.0, 480.0))
DISTORTED = Camera("brown5", 1280, 960, (800.0, 805.0, 630.0, 470.0, -0.28, 0.09, 1e-4, -2e-4, -0.01))
FISHEYE = Camera("kannala_brandt4", 1200, 1200, (330.0, 330.0, 600.0, 600.0, 0.01, -0.003, 0.0, 0.0))
CAMERAS = {camera.model: camera for camera in (PINHOLE, DISTORTED, FISHEYE)}


def pose_of(rotation: tuple[float, float, float], translation: tuple[float, float, float]) -> Floats:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation_exp(np.array(rotation)), translation
    return pose


SIDEWAYS = pose_of((0.05, -0.2, 0.08), (1.0, 0.1, -0.15))


def moved(pose: Floats, points: Floats) -> Floats:
    return points @ pose[:3, :3].T + pose[:3, 3]


def scene(camera: Camera, count: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    widest = np.radians(95.0) if camera is FISHEYE else np.radians(22.0)
    z, around = rng.uniform(np.cos(widest), 1.0, count), rng.uniform(0.0, 2.0 * np.pi, count)
    ring, distance = np.sqrt(1.0 - z**2), rng.uniform(3.0, 8.0, count)
    return distance[:, None] * np.stack([ring * np.cos(around), ring * np.sin(around), z], axis=1)


def test_midpoints_of_rays_that_meet() -> None:
    points = scene(FISHEYE, 100)
    found = triangulate_midpoint(points * 0.3, moved(SIDEWAYS, points) * 5.0, SIDEWAYS)
    np.testing.assert_allclose(found.points, points, atol=1e-9)
    assert found.in_front.all()
    assert float(found.errors.max()) < 1e-10
    a, b = points, points - inverse_rigid(SIDEWAYS)[:3, 3]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(found.angles, np.arccos(cosine), atol=1e-7)


def test_midpoints_are_halfway_between_the_rays() -> None:
    rng = np.random.default_rng(1)
    rays0, rays1 = (scene(PINHOLE, 50) for _ in range(2))
    rays1 = moved(SIDEWAYS, rays1) + rng.normal(size=(50, 3)) * 0.2
    found = triangulate_midpoint(rays0, rays1, SIDEWAYS)
    second = moved(SIDEWAYS, found.points)
    to_first = np.linalg.norm(np.cross(found.points, rays0), axis=1) / np.linalg.norm(rays0, axis=1)
    to_second = np.linalg.norm(np.cross(second, rays1), axis=1) / np.linalg.norm(rays1, axis=1)
    np.testing.assert_allclose(to_first, to_second, rtol=1e-6)


def test_points_behind_and_parallel_rays() -> None:
    points = scene(PINHOLE, 10)
    assert not triangulate_midpoint(-points, -moved(SIDEWAYS, points), SIDEWAYS).in_front.any()
    parallel = triangulate_midpoint(points @ SIDEWAYS[:3, :3], points, SIDEWAYS)
    assert not (parallel.in_front & (parallel.angles > 1e-7)).any()


@pytest.mark.parametrize("name", CAMERAS)
def test_optimal_points_have_the_least_reprojection_error(name: str) -> None:
    camera, rng = CAMERAS[name], np.random.default_rng(2)
    points = scene(camera, 20)
    pixels0 = camera.project(points) + rng.normal(size=(20, 2))
    pixels1 = camera.project(moved(SIDEWAYS, points)) + 2.0 * rng.normal(size=(20, 2))
    found = triangulate_optimal(pixels0, pixels1, camera, camera, SIDEWAYS, 1.0, np.full(20, 2.0))
    for index in range(20):

        def residuals(point: Floats, index: int = index) -> Floats:
            off0 = camera.project(point[None])[0] - pixels0[index]
            off1 = camera.project(moved(SIDEWAYS, point[None]))[0] - pixels1[index]
            return np.concatenate([off0, off1 / 2.0])

        best = least_squares(residuals, points[index], xtol=1e-12, ftol=1e-12, gtol=1e-12)
        cost = 0.5 * float((residuals(found.points[index]) ** 2).sum())
        assert cost <= best.cost * (1.0 + 1e-3) + 1e-9


@pytest.mark.parametrize("name", CAMERAS)
def test_two_view_covariance_is_the_spread_of_repeated_estimates(name: str) -> None:
    camera, rng = CAMERAS[name], np.random.default_rng(3)
    point = scene(camera, 6)[:1]
    many = np.repeat(point, 2000, axis=0)
    pixels0 = camera.project(many) + 0.5 * rng.normal(size=(2000, 2))
    pixels1 = camera.project(moved(SIDEWAYS, many)) + 0.3 * rng.normal(size=(2000, 2))
    found = triangulate_optimal(pixels0, pixels1, camera, camera, SIDEWAYS, 0.5, 0.3)
    assert found.covariance is not None
    off = found.points - point
    distance = np.einsum("ni,nij,nj->n", off, np.linalg.inv(found.covariance), off)
    assert 2.7 < float(distance.mean()) < 3.3
    np.testing.assert_allclose(np.median(found.covariance, axis=0), np.cov(off.T), rtol=0.15, atol=2e-6)


def test_pixels_outside_the_lens_give_no_point() -> None:
    found = triangulate_optimal(np.array([[1e9, 0.0]]), np.array([[600.0, 600.0]]), FISHEYE, FISHEYE, SIDEWAYS)
    assert not np.isfinite(found.points).any()
    assert not found.in_front.any()


POSES = np.stack([pose_of((0.02 * i, -0.1 * i, 0.03 * i), (0.5 * i, 0.05 * i, -0.1 * i)) for i in range(5)])


def views_of(points: Floats, noise: float, seed: int = 0) -> tuple[Floats, list[Camera]]:
    cameras = [PINHOLE, DISTORTED, FISHEYE, PINHOLE, DISTORTED]
    rng = np.random.default_rng(seed)
    pixels = np.stack([c.project(moved(pose, points)) for c, pose in zip(cameras, POSES, strict=True)])
    return pixels + noise * rng.normal(size=pixels.shape), cameras


def test_many_views_give_exact_points_back_whatever_sees_them() -> None:
    points = scene(PINHOLE, 60)
    pixels, cameras = views_of(points, 0.0)
    seen = np.random.default_rng(5).random((5, 60)) < 0.6
    pixels[~seen] = np.nan
    found = triangulate_multiview(pixels, cameras, POSES, seen)
    enough = seen.sum(axis=0) >= 2
    np.testing.assert_allclose(found.points[enough], points[enough], atol=1e-7)
    assert np.isnan(found.points[~enough]).all()
    assert found.in_front[enough].all()
    assert not found.in_front[~enough].any()
    np.testing.assert_array_equal(found.views, seen.sum(axis=0))
    np.testing.assert_array_equal(np.isnan(found.errors[:, enough]), ~seen[:, enough])


def test_many_views_reach_the_least_reprojection_error() -> None:
    points = scene(PINHOLE, 15)
    pixels, cameras = views_of(points, 1.0)
    found = triangulate_multiview(pixels, cameras, POSES)
    for index in range(15):

        def residuals(point: Floats, index: int = index) -> Floats:
            off = [c.project(moved(pose, point[None]))[0] for c, pose in zip(cameras, POSES, strict=True)]
            return (np.array(off) - pixels[:, index]).ravel()

        best = least_squares(residuals, points[index], xtol=1e-12, ftol=1e-12, gtol=1e-12)
        assert found.rms[index] ** 2 * 5.0 <= 2.0 * best.cost * (1.0 + 1e-6)
        np.testing.assert_allclose(found.points[index], best.x, atol=1e-4)


def test_multi_view_covariance_is_the_spread_of_repeated_estimates() -> None:
    point = scene(PINHOLE, 4)[2:3]
    many = np.repeat(point, 1500, axis=0)
    pixels, cameras = views_of(many, 0.0)
    sigma = np.array([0.3, 0.5, 0.2, 0.8, 0.4])[:, None] * np.ones(1500)
    pixels += sigma[..., None] * np.random.default_rng(7).normal(size=pixels.shape)
    found = triangulate_multiview(pixels, cameras, POSES, sigma=sigma)
    off = found.points - point
    distance = np.einsum("ni,nij,nj->n", off, np.linalg.inv(found.covariance), off)
    assert 2.7 < float(distance.mean()) < 3.3


def test_angles_are_the_largest_between_two_rays() -> None:
    points = scene(PINHOLE, 8)
    pixels, cameras = views_of(points, 0.0)
    seen = np.ones((5, 8), dtype=bool)
    seen[0, 3] = seen[4, 3] = False
    found = triangulate_multiview(pixels, cameras, POSES, seen)
    centres = inverse_rigid(POSES)[:, :3, 3]
    for index in range(8):
        rays = points[index] - centres[seen[:, index]]
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        expected = np.arccos(np.clip(rays @ rays.T, -1.0, 1.0)).max()
        assert found.angles[index] == pytest.approx(expected, abs=1e-6)


def test_a_point_behind_a_camera_is_told() -> None:
    points = scene(PINHOLE, 200)
    turned = np.stack([np.eye(4), SIDEWAYS, pose_of((0.0, np.pi, 0.0), (0.3, 0.0, 0.0))])
    pixels = np.stack([PINHOLE.project(moved(pose, points)) for pose in turned])
    found = triangulate_multiview(pixels, [PINHOLE] * 3, turned)
    # Behind the camera pixels lie on the edge of the lens's domain, and rounding tells which of them count.
    assert int((found.views == 3).sum()) > 5
    assert not found.in_front[found.views == 3].any()
    assert found.in_front[found.views == 2].all()


def test_a_point_at_infinity_has_no_place_but_says_so() -> None:
    far = scene(PINHOLE, 5) * 1e9
    pixels = np.stack([PINHOLE.project(moved(pose, far)) for pose in POSES[:2]])
    found = triangulate_multiview(pixels, [PINHOLE] * 2, POSES[:2])
    assert float(np.nanmax(found.angles)) < 1e-6
    finite = np.isfinite(found.covariance).all(axis=(1, 2))
    distance = np.linalg.norm(found.points[finite], axis=1)
    assert (np.sqrt(np.trace(found.covariance[finite], axis1=1, axis2=2)) > 0.5 * distance).all()


def test_no_points_and_wrong_arguments() -> None:
    assert triangulate_multiview(np.zeros((5, 0, 2)), [PINHOLE] * 5, POSES).points.shape == (0, 3)
    with pytest.raises(ValueError, match="poses"):
        triangulate_multiview(np.zeros((5, 3, 2)), [PINHOLE] * 5, POSES[:4])
    with pytest.raises(ValueError, match="views need pixels"):
        triangulate_multiview(np.zeros((5, 3, 2)), [PINHOLE] * 4, POSES[:4])
    with pytest.raises(ValueError, match="mask"):
        triangulate_multiview(np.zeros((5, 3, 2)), [PINHOLE] * 5, POSES, np.ones((3, 5), dtype=bool))
