"""Absolute pose from points of known place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.geometry.absolute_pose import (
    AbsolutePose,
    AbsolutePoseOptions,
    CameraPlace,
    ReprojectionProblem,
    TangentProblem,
    estimate_absolute_pose,
)
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.pixel_rays import pixel_rays
from cv3d.geometry.transforms import SE3

Floats = NDArray[np.float64]

PINHOLE = Camera("pinhole", 1280, 960, (900.0, 905.0, 640.0, 480.0))
DISTORTED = Camera("brown5", 1280, 960, (800.0, 805.0, 630.0, 470.0, -0.28, 0.09, 1e-4, -2e-4, -0.01))
FISHEYE = Camera("kannala_brandt4", 1200, 1200, (330.0, 330.0, 600.0, 600.0, 0.01, -0.003, 0.0, 0.0))
CAMERAS = {camera.model: camera for camera in (PINHOLE, DISTORTED, FISHEYE)}
POSE = SE3.exp(torch.tensor([0.4, -0.3, 1.0, 0.3, -0.5, 0.2], dtype=torch.float64)).as_matrix().numpy()


def scene(
    camera: Camera, count: int = 200, noise: float = 0.5, outlier_share: float = 0.0, seed: int = 0
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Points in the world, their pixels, and which of them are right; a fisheye sees 100 degrees off its axis."""
    rng = np.random.default_rng(seed)
    widest = np.radians(100.0) if camera is FISHEYE else np.radians(25.0)
    z, around = rng.uniform(np.cos(widest), 1.0, count), rng.uniform(0.0, 2.0 * np.pi, count)
    ring, distance = np.sqrt(1.0 - z**2), rng.uniform(2.0, 8.0, count)
    seen = distance[:, None] * np.stack([ring * np.cos(around), ring * np.sin(around), z], axis=1)
    pixels = camera.project(seen) + rng.normal(size=(count, 2)) * noise
    right = np.ones(count, dtype=bool)
    right[rng.choice(count, round(outlier_share * count), replace=False)] = False
    pixels[~right] = rng.uniform(100.0, 900.0, (int((~right).sum()), 2))
    world_from_cam = inverse_rigid(POSE)
    return seen @ world_from_cam[:3, :3].T + world_from_cam[:3, 3], pixels, right


def error(result: AbsolutePose) -> Floats:
    """[rho, phi] of exp(x) = estimate @ truth^-1."""
    assert result.cam_from_world is not None
    return SE3.from_matrix(torch.from_numpy(result.cam_from_world @ inverse_rigid(POSE))).log().numpy()


@pytest.mark.parametrize("name", CAMERAS)
def test_exact_points_give_the_exact_pose(name: str) -> None:
    points, pixels, _ = scene(CAMERAS[name], noise=0.0)
    result = estimate_absolute_pose(points, pixels, CAMERAS[name])
    assert float(np.abs(error(result)).max()) < 1e-8
    assert result.inliers.all()
    assert result.verified
    assert result.reason == ""


@pytest.mark.parametrize("name", CAMERAS)
def test_seventy_percent_wrong(name: str) -> None:
    points, pixels, right = scene(CAMERAS[name], 400, outlier_share=0.7)
    result = estimate_absolute_pose(points, pixels, CAMERAS[name])
    assert float(np.abs(error(result)).max()) < 0.02
    assert int((result.inliers & right).sum()) > 0.97 * int(right.sum())
    assert int((result.inliers & ~right).sum()) <= 3
    assert 0.4 < result.noise < 0.6
    assert result.verified


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("free_focal", [False, True])
def test_jacobians_match_differences(name: str, free_focal: bool) -> None:
    points, pixels, _ = scene(CAMERAS[name], 30)
    problem = ReprojectionProblem(points, pixels, CAMERAS[name], np.linspace(0.5, 2.0, 30))
    place, chosen = CameraPlace(POSE, 0.05, free_focal), np.ones(30, dtype=bool)
    _, jacobians = problem.linearize(place, chosen)
    for index in range(place.unknowns):
        step = np.eye(place.unknowns)[index] * 1e-6
        ahead, behind = (problem.linearize(place.moved(sign * step), chosen)[0] for sign in (1.0, -1.0))
        scale = np.abs(jacobians[..., index]).max()
        np.testing.assert_allclose(jacobians[..., index], (ahead - behind) / 2e-6, atol=1e-6 * scale)


@pytest.mark.parametrize("name", CAMERAS)
def test_linearised_lens_agrees_near_the_pixels(name: str) -> None:
    points, pixels, _ = scene(CAMERAS[name], 30)
    problem = ReprojectionProblem(points, pixels, CAMERAS[name], np.linspace(0.5, 2.0, 30))
    tangent, place = TangentProblem.near(problem, pixel_rays(CAMERAS[name], pixels)), CameraPlace(POSE)
    chosen = np.ones(30, dtype=bool)
    np.testing.assert_allclose(tangent.errors(place), problem.errors(place), rtol=0.01)
    (residuals, jacobians), exact = tangent.linearize(place, chosen), problem.linearize(place, chosen)
    np.testing.assert_allclose(residuals, exact[0], atol=0.01)
    np.testing.assert_allclose(jacobians, exact[1], atol=0.01 * np.abs(exact[1]).max())


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.slow
def test_predicted_covariance_is_the_spread_of_repeated_estimates(name: str) -> None:
    steps, predicted = [], []
    points, pixels, _ = scene(CAMERAS[name], 80, noise=0.0)
    for seed in range(60):
        noisy = pixels + np.random.default_rng(seed).normal(size=pixels.shape) * 0.5
        result = estimate_absolute_pose(points, noisy, CAMERAS[name], AbsolutePoseOptions(max_samples=200))
        assert result.covariance is not None
        steps.append(error(result))
        predicted.append(result.covariance)
    covariance = np.mean(predicted, axis=0)
    # The mean squared Mahalanobis distance holds the whole matrix, correlations included.
    distance = np.einsum("ni,ij,nj->n", np.array(steps), np.linalg.inv(covariance), np.array(steps)).mean() / 6.0
    assert 0.8 < distance < 1.25
    ratio = np.sqrt(np.diag(covariance)) / np.sqrt((np.array(steps) ** 2).mean(axis=0))
    assert 0.87 < float(np.exp(np.log(ratio).mean())) < 1.15


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_unknown_focal_length(share: float) -> None:
    points, pixels, _ = scene(PINHOLE, outlier_share=share)
    wrong = replace(PINHOLE, params=(1500.0, 1500.0 * 905.0 / 900.0, *PINHOLE.params[2:]))
    result = estimate_absolute_pose(points, pixels, wrong, AbsolutePoseOptions(unknown_focal=True))
    assert result.verified
    assert abs(result.camera.params[0] - 900.0) < 4.0 * result.focal_deviation < 40.0
    assert result.camera.params[1] / result.camera.params[0] == pytest.approx(905.0 / 900.0)
    assert float(np.abs(error(result)).max()) < 0.15


def test_unknown_focal_length_from_a_plane() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-1.0, 1.0, (2, 150))
    points = np.stack([x, y, 0.0 * x], axis=1)
    pose = SE3.exp(torch.tensor([0.1, 0.2, 4.0, 0.6, -0.5, 0.2], dtype=torch.float64)).as_matrix().numpy()
    pixels = PINHOLE.project(points @ pose[:3, :3].T + pose[:3, 3]) + rng.normal(size=(150, 2)) * 0.3
    wrong = replace(PINHOLE, params=(1500.0, 1500.0 * 905.0 / 900.0, *PINHOLE.params[2:]))
    result = estimate_absolute_pose(points, pixels, wrong, AbsolutePoseOptions(unknown_focal=True))
    assert result.verified
    assert result.inlier_count > 145
    assert abs(result.camera.params[0] - 900.0) < 4.0 * result.focal_deviation < 60.0


def test_known_noise_counts() -> None:
    rng = np.random.default_rng(3)
    points, pixels, _ = scene(PINHOLE, noise=0.0)
    sigma = np.where(rng.random(len(points)) < 0.5, 0.1, 1.0)
    with_sigma, without = [], []
    for seed in range(12):
        noisy = pixels + np.random.default_rng(seed).normal(size=pixels.shape) * sigma[:, None]
        known = estimate_absolute_pose(points, noisy, PINHOLE, sigma=sigma)
        with_sigma.append(np.linalg.norm(error(known)))
        without.append(np.linalg.norm(error(estimate_absolute_pose(points, noisy, PINHOLE))))
    assert np.mean(with_sigma) < 0.7 * np.mean(without)


@pytest.mark.parametrize("count", [0, 3, 4, 8])
def test_few_points_are_not_verified(count: int) -> None:
    points, pixels, _ = scene(PINHOLE, 200)
    result = estimate_absolute_pose(points[:count], pixels[:count], PINHOLE)
    assert not result.verified
    assert result.reason
    assert result.inliers.shape == (count,)
    assert (result.cam_from_world is None) == (count < 4)


def test_points_on_a_line_leave_the_pose_open() -> None:
    points, pixels, _ = scene(PINHOLE, 50)
    result = estimate_absolute_pose(np.outer(np.arange(50.0), [1.0, 2.0, 0.5]), pixels, PINHOLE)
    assert result.cam_from_world is None
    assert "line" in result.reason
    assert len(points) == 50


@pytest.mark.parametrize("name", ["pinhole", "kannala_brandt4"])
def test_unrelated_points_are_not_verified(name: str) -> None:
    rng = np.random.default_rng(0)
    points, pixels = rng.normal(size=(100, 3)), rng.uniform(0.0, 900.0, (100, 2))
    result = estimate_absolute_pose(points, pixels, CAMERAS[name], AbsolutePoseOptions(max_samples=500))
    assert not result.verified
    assert result.cam_from_world is None
    assert result.reason


def test_points_that_are_not_finite_are_left_out() -> None:
    points, pixels, _ = scene(PINHOLE)
    points[2], pixels[5] = np.nan, np.inf
    result = estimate_absolute_pose(points, pixels, PINHOLE)
    assert result.verified
    assert not result.inliers[[2, 5]].any()


@pytest.mark.parametrize("name", ["pinhole", "kannala_brandt4"])
def test_same_seed_same_result(name: str) -> None:
    points, pixels, _ = scene(CAMERAS[name], outlier_share=0.5)
    one, other = (estimate_absolute_pose(points, pixels, CAMERAS[name], AbsolutePoseOptions(seed=3)) for _ in range(2))
    assert one.cam_from_world is not None
    assert other.cam_from_world is not None
    np.testing.assert_array_equal(one.cam_from_world, other.cam_from_world)
    np.testing.assert_array_equal(one.inliers, other.inliers)


def test_wrong_arguments() -> None:
    points, pixels, _ = scene(PINHOLE)
    with pytest.raises(ValueError, match="pixels"):
        estimate_absolute_pose(points, pixels[:-1], PINHOLE)
    with pytest.raises(ValueError, match="positive"):
        estimate_absolute_pose(points, pixels, PINHOLE, sigma=np.zeros(len(points)))
