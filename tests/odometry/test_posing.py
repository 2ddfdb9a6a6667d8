"""A pose from points: exact without noise, sober about outliers, and it knows how sure it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.odometry.keys import inverse
from cv3d.odometry.posing import Posed, _move, refine_kernel, refine_pose, whiten_kernel
from cv3d.odometry.rays import RayTable

from .simulated import CAMERAS, angle_between, points_in_view, rigid, rotation

Floats = NDArray[np.float64]
TRUTH = rigid((0.1, -0.3, 0.05), (0.4, -0.2, 0.7))
TABLES = {name: RayTable(camera) for name, camera in CAMERAS.items()}


def refined(
    camera: Camera,
    points: Floats,
    pixels: Floats,
    start: Floats,
    sigma: float = 0.5,
    depth: Floats | None = None,
    depth_sigma: Floats | None = None,
    prior: Floats | None = None,
) -> Posed:
    rays, moves = TABLES[camera.model].tangents(pixels)
    covariance = np.tile([sigma**2, 0.0, sigma**2], (len(points), 1))
    return refine_pose(points, rays, moves, covariance, start, depth, depth_sigma, prior)


def in_world(points: Floats) -> Floats:
    world_from_cam = inverse(TRUTH)
    return points @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]


def distance(first: Floats, second: Floats) -> tuple[float, float]:
    """Radians, and metres between the centres."""
    return angle_between(first, second), float(np.linalg.norm(inverse(first)[:3, 3] - inverse(second)[:3, 3]))


@pytest.mark.parametrize("model", CAMERAS)
def test_without_noise_the_pose_is_found_from_afar(model: str) -> None:
    camera = CAMERAS[model]
    seen, pixels = points_in_view(camera, 200, 1)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        start = rigid(tuple(rng.normal(0.0, 0.06, 3)), tuple(rng.normal(0.0, 0.15, 3))) @ TRUTH
        posed = refined(camera, in_world(seen), pixels, start)
        turned, moved = distance(posed.cam_from_world, TRUTH)
        # What is left is the table's interpolation, thousandths of a pixel.
        assert turned < 1e-5
        assert moved < 5e-5
        assert posed.inliers.all()
        assert posed.noise < 0.05


@pytest.mark.parametrize("model", ["pinhole", "kannala_brandt4"])
def test_a_third_may_be_wrong(model: str) -> None:
    camera = CAMERAS[model]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        seen, pixels = points_in_view(camera, 200, seed)
        pixels = pixels + rng.normal(0.0, 0.5, pixels.shape)
        wrong = np.arange(200) < 60
        pixels[wrong] = rng.uniform(0.0, [639.0, 479.0], (60, 2))
        start = rigid(tuple(rng.normal(0.0, 0.01, 3)), tuple(rng.normal(0.0, 0.05, 3))) @ TRUTH
        posed = refined(camera, in_world(seen), pixels, start)
        turned, moved = distance(posed.cam_from_world, TRUTH)
        assert turned < 1e-3
        assert moved < 5e-3
        assert posed.inliers[~wrong].mean() > 0.95
        assert posed.inliers[wrong].mean() < 0.05


def test_depth_holds_the_distance() -> None:
    camera = CAMERAS["pinhole"]
    seen, pixels = points_in_view(camera, 100, 3)
    points = in_world(seen)
    # In the middle of the picture alone, pixels tell little of a move along the axis.
    near = np.linalg.norm(pixels - [320.0, 240.0], axis=1) < 80.0
    rng = np.random.default_rng(0)
    errors = {"pixels": [], "depth": []}
    for _ in range(20):
        noisy = pixels[near] + rng.normal(0.0, 0.5, (int(near.sum()), 2))
        depth = seen[near, 2] + rng.normal(0.0, 0.005, int(near.sum()))
        depth[0], depth[1] = np.nan, 0.0
        sigma = np.full(len(depth), 0.005)
        for name, found in (
            ("pixels", refined(camera, points[near], noisy, TRUTH)),
            ("depth", refined(camera, points[near], noisy, TRUTH, 0.5, depth, sigma)),
        ):
            errors[name].append((found.cam_from_world @ inverse(TRUTH))[2, 3])
    assert np.std(errors["depth"]) < 0.5 * np.std(errors["pixels"])


def test_points_behind_are_no_inliers() -> None:
    camera = CAMERAS["pinhole"]
    seen, pixels = points_in_view(camera, 80, 2)
    seen[:10] *= -1.0
    posed = refined(camera, in_world(seen), pixels, TRUTH)
    assert np.isinf(posed.errors[:10]).all()
    assert not posed.inliers[:10].any()
    assert posed.inliers[10:].all()


def test_no_points_leave_the_start() -> None:
    posed = refined(CAMERAS["pinhole"], np.zeros((0, 3)), np.zeros((0, 2)), TRUTH)
    assert np.allclose(posed.cam_from_world, TRUTH)
    assert np.isnan(posed.noise)
    assert len(posed.inliers) == 0


def test_a_prior_holds_the_start() -> None:
    camera = CAMERAS["pinhole"]
    seen, pixels = points_in_view(camera, 60, 4)
    start = rigid((0.0, 0.01, 0.0), (0.05, 0.0, 0.0)) @ TRUTH
    free = refined(camera, in_world(seen), pixels, start)
    held = refined(camera, in_world(seen), pixels, start, prior=1e12 * np.eye(6))
    assert distance(free.cam_from_world, TRUTH)[1] < 1e-4
    assert distance(held.cam_from_world, start)[1] < 1e-3


def run_kernel(points: Floats, rays: Floats, whitened: Floats, depth: Floats, cam_from_world: Floats, steps: int):  # noqa: ANN201
    count = len(points)
    moved, errors, information = cam_from_world.copy(), np.empty(count), np.empty((6, 6))
    refine_kernel(
        points, rays, whitened, 1.0, depth, np.full(count, 0.01), np.zeros((6, 6)), moved, steps, errors, information
    )
    return moved, errors, information


def test_the_information_is_that_of_the_residuals_derivatives() -> None:
    camera = CAMERAS["brown5"]
    seen, pixels = points_in_view(camera, 1, 6)
    points = in_world(seen)
    rays, moves = TABLES["brown5"].tangents(pixels)
    whitened = np.empty((1, 2, 3))
    whiten_kernel(moves, np.array([[0.4, 0.1, 0.3]]), whitened)

    def residuals(cam_from_world: Floats) -> Floats:
        at = points[0] @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        # The tangent plane of the ray, and depth.
        return np.append(whitened[0] @ (at / (at @ rays[0])), (at[2] - seen[0, 2]) / 0.01)

    jacobian = np.empty((3, 6))
    for k in range(6):
        delta = np.zeros(6)
        delta[k] = 1e-6
        changes = []
        for sign in (1.0, -1.0):
            moved = rigid(tuple(sign * delta[3:]), tuple(sign * delta[:3])) @ TRUTH
            changes.append(residuals(moved))
        jacobian[:, k] = (changes[0] - changes[1]) / 2e-6
    _, errors, information = run_kernel(points, rays, whitened, seen[:, 2].copy(), TRUTH, 0)
    # At residuals of 0 Student's weights are (f + d) / f of d dimensions.
    weighted = jacobian.T @ np.diag([6.0 / 4.0, 6.0 / 4.0, 5.0 / 4.0]) @ jacobian
    assert errors[0] < 0.01
    assert np.abs(information - weighted).max() < 2e-3 * np.abs(weighted).max()


def test_whitening_takes_the_covariance_out() -> None:
    moves = np.eye(2, 3)[None].repeat(2, 0)
    covariance = np.array([[0.4, 0.15, 0.3], [9.0, -2.0, 1.0]])
    whitened = np.empty((2, 2, 3))
    whiten_kernel(moves, covariance, whitened)
    for row, (a, b, c) in zip(whitened[:, :, :2], covariance, strict=True):
        assert np.allclose(row @ np.array([[a, b], [b, c]]) @ row.T, np.eye(2))


def test_the_information_predicts_the_spread() -> None:
    camera = CAMERAS["kannala_brandt4"]
    seen, pixels = points_in_view(camera, 120, 9)
    points = in_world(seen)
    rng = np.random.default_rng(1)
    sigma, deltas = 0.8, []
    for _ in range(200):
        posed = refined(camera, points, pixels + rng.normal(0.0, sigma, pixels.shape), TRUTH, sigma)
        change = posed.cam_from_world @ inverse(TRUTH)
        turn = np.array([change[2, 1], change[0, 2], change[1, 0]])
        deltas.append(np.r_[change[:3, 3], turn])
    spread = np.cov(np.array(deltas).T)
    predicted = np.linalg.inv(posed.information)
    ratio = np.sqrt(np.diag(spread) / np.diag(predicted))
    assert (ratio > 0.7).all()
    assert (ratio < 1.4).all()
    # Not only the axes: errors of place and of rotation go together.
    whole = np.linalg.eigvals(np.linalg.solve(predicted, spread)).real
    assert whole.min() > 0.4
    assert whole.max() < 2.5


def test_rotations_stay_rotations() -> None:
    rng = np.random.default_rng(3)
    pose = np.eye(4)
    for step in rng.normal(0.0, 0.03, (10_000, 6)):
        _move(pose, step)
    assert np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max() < 1e-12
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    # A rotation that rounding has spoilt is mended, not made worse.
    pose[:3, :3] *= 1.0 + 1e-4
    _move(pose, np.zeros(6))
    assert np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max() < 1e-7


def test_a_move_is_the_exponential_of_its_rotation() -> None:
    delta = np.array([0.1, -0.2, 0.3, 0.5, -0.7, 0.2])
    pose = TRUTH.copy()
    _move(pose, delta)
    assert np.allclose(pose[:3, :3], rotation(delta[3:]) @ TRUTH[:3, :3])
    assert np.allclose(pose[:3, 3], rotation(delta[3:]) @ TRUTH[:3, 3] + delta[:3])
