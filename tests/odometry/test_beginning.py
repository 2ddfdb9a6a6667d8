"""The first map of one camera: drawn from parallax alone, and the reason said where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.compute import torch_threads
from cv3d.geometry.cameras import Camera
from cv3d.odometry.beginning import FirstMap, first_map
from cv3d.odometry.rays import RayTable

from .simulated import CAMERAS, angle_between, points_in_view, rigid

Floats = NDArray[np.float64]
TABLES = {name: RayTable(camera) for name, camera in CAMERAS.items()}
SIDEWAYS = rigid((0.02, -0.05, 0.01), (-0.4, 0.05, 0.1))


def related(
    points: Floats, cam1_from_cam0: Floats, camera: Camera, noise: float = 0.3, wrong: float = 0.0, seed: int = 0
) -> tuple[FirstMap, NDArray[np.bool_]]:
    """What two frames tell of points in the first camera's frame, and which of these both see."""
    rng = np.random.default_rng(seed)
    pixels = [camera.project(points), camera.project(points @ cam1_from_cam0[:3, :3].T + cam1_from_cam0[:3, 3])]
    pixels = [one + rng.normal(0.0, noise, one.shape) for one in pixels]
    seen = np.all([((one >= 0.0) & (one <= [camera.width - 1, camera.height - 1])).all(1) for one in pixels], axis=0)
    first, second = (one[seen].astype(np.float32) for one in pixels)
    mistaken = rng.random(len(second)) < wrong
    second[mistaken] = rng.uniform(0.0, [camera.width, camera.height], (int(mistaken.sum()), 2))
    with torch_threads(1):
        return first_map(first, second, camera, TABLES[camera.model], seed), seen


@pytest.mark.parametrize("model", ["pinhole", "kannala_brandt4"])
def test_parallax_gives_a_map(model: str) -> None:
    camera = CAMERAS[model]
    points, _ = points_in_view(camera, 300, 1)
    found, seen = related(points, SIDEWAYS, camera, wrong=0.2)
    assert found.cam1_from_cam0 is not None
    assert found.reason == ""
    assert angle_between(found.cam1_from_cam0, SIDEWAYS) < np.radians(0.5)
    direction = found.cam1_from_cam0[:3, 3] / np.linalg.norm(found.cam1_from_cam0[:3, 3])
    assert direction @ SIDEWAYS[:3, 3] / np.linalg.norm(SIDEWAYS[:3, 3]) > np.cos(np.radians(5.0))
    known = np.isfinite(found.points).all(1)
    assert 0.6 < known.mean() < 0.9
    # The unit is the median distance.
    distances = np.linalg.norm(found.points[known], axis=1)
    assert np.median(distances) == pytest.approx(1.0)
    scale = np.linalg.norm(SIDEWAYS[:3, 3]) / np.linalg.norm(found.cam1_from_cam0[:3, 3])
    error = np.linalg.norm(scale * found.points[known] - points[seen][known], axis=1)
    assert np.median(error / np.linalg.norm(points[seen][known], axis=1)) < 0.05


def test_a_plane_gives_a_map() -> None:
    camera = CAMERAS["pinhole"]
    _, pixels = points_in_view(camera, 300, 2)
    rays = camera.unproject(pixels)
    normal = np.array([0.3, -0.2, 1.0]) / np.linalg.norm([0.3, -0.2, 1.0])
    points = rays * (3.0 / (rays @ normal))[:, None]
    found, _ = related(points, SIDEWAYS, camera)
    assert found.cam1_from_cam0 is not None
    assert angle_between(found.cam1_from_cam0, SIDEWAYS) < np.radians(1.0)


def test_a_turn_alone_gives_none() -> None:
    camera = CAMERAS["pinhole"]
    turn = rigid((0.03, 0.12, -0.02), (0.0, 0.0, 0.0))
    for seed in range(3):
        points, _ = points_in_view(camera, 300, seed)
        found, _ = related(points, turn, camera, seed=seed)
        assert found.cam1_from_cam0 is None
        assert found.reason
        assert np.isnan(found.points).all()
        assert found.rotation is None or angle_between(found.rotation, turn) < np.radians(0.5)


def test_a_camera_that_stands_still_gives_none() -> None:
    camera = CAMERAS["pinhole"]
    points, _ = points_in_view(camera, 300, 3)
    for noise in (0.0, 0.3):
        found, _ = related(points, np.eye(4), camera, noise)
        assert found.cam1_from_cam0 is None
        assert found.reason


def test_too_little_parallax_is_said() -> None:
    camera = CAMERAS["pinhole"]
    points, _ = points_in_view(camera, 300, 4)
    found, _ = related(points, rigid((0.0, 0.0, 0.0), (0.03, 0.0, 0.0)), camera, noise=0.05)
    assert found.cam1_from_cam0 is None
    assert "parallax" in found.reason


def test_matches_at_random_give_none() -> None:
    camera = CAMERAS["pinhole"]
    points, _ = points_in_view(camera, 200, 5)
    found, _ = related(points, SIDEWAYS, camera, wrong=1.0)
    assert found.cam1_from_cam0 is None


def test_a_handful_of_points_gives_none() -> None:
    camera = CAMERAS["pinhole"]
    points, _ = points_in_view(camera, 25, 6)
    for count in (0, 3, 25):
        found, _ = related(points[:count], SIDEWAYS, camera)
        assert found.cam1_from_cam0 is None
        assert found.reason


def test_the_same_seed_gives_the_same_map() -> None:
    camera = CAMERAS["pinhole"]
    points, _ = points_in_view(camera, 200, 7)
    first, second = (related(points, SIDEWAYS, camera, wrong=0.3)[0] for _ in range(2))
    assert first.cam1_from_cam0 is not None
    assert np.array_equal(first.cam1_from_cam0, second.cam1_from_cam0)
    assert np.array_equal(first.points, second.points, equal_nan=True)
