from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.transforms import SE3
from cv3d.odometry.places import LocateOptions, Place, locate

FISHEYE = Camera("kannala_brandt4", 640, 480, (280.0, 280.0, 319.5, 239.5, 0.01, -0.003, 0.0, 0.0))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wrong", [0.0, 0.6])
def test_a_picture_is_located_in_spite_of_wrong_points(scene: Callable, seed: int, wrong: float) -> None:
    made = scene(seed, wrong=wrong)
    found = locate(made.query, made.place, made.camera)
    assert found is not None
    off = SE3.from_matrix(torch.from_numpy(found.query_from_place @ np.linalg.inv(made.query_from_place))).log()
    assert off[:3].norm() < 0.02
    assert off[3:].norm() < 0.005
    assert made.is_right[found.place_rows].mean() > 0.97
    assert found.inliers > 0.95 * made.is_right.sum()
    assert 0.4 < found.noise < 0.65


def test_the_spread_of_the_pose_is_as_told(scene: Callable) -> None:
    squared = []
    for seed in range(30):
        made = scene(seed, count=80, wrong=0.1)
        found = locate(made.query, made.place, made.camera)
        assert found is not None
        off = SE3.from_matrix(torch.from_numpy(made.query_from_place @ np.linalg.inv(found.query_from_place))).log()
        squared.append(off.numpy() @ np.linalg.solve(found.covariance, off.numpy()))
    assert 4.0 < np.mean(squared) < 9.0


@pytest.mark.parametrize("camera", [FISHEYE])
def test_any_camera_is_served(scene: Callable, camera: Camera) -> None:
    made = scene(3, camera=camera)
    found = locate(made.query, made.place, camera)
    assert found is not None
    assert np.abs(found.query_from_place - made.query_from_place).max() < 0.03


@pytest.mark.parametrize("seed", range(12))
def test_a_place_of_other_points_is_not_found(scene: Callable, seed: int) -> None:
    """All rows match, but the points are shuffled: what is left is chance."""
    made = scene(seed, wrong=1.0)
    assert locate(made.query, made.place, made.camera) is None


def test_rows_without_points_are_passed_over(scene: Callable) -> None:
    made = scene(1, wrong=0.0)
    points = made.place.points_in_cam.astype(np.float64)
    points[20:] = np.nan
    assert locate(made.query, made.place.with_points(points), made.camera, LocateOptions(min_inliers=15)) is not None
    points[10:] = np.nan
    assert locate(made.query, made.place.with_points(points), made.camera) is None
    points[:] = np.nan
    assert locate(made.query, made.place.with_points(points), made.camera) is None


def test_a_guess_tells_like_looking_points_apart(scene: Callable, described: Callable) -> None:
    """A pattern that repeats: four rows share each descriptor, and only the guess says which is which."""
    made = scene(2, wrong=0.0)
    descriptors = made.query.descriptors.copy()
    back = np.argsort(_rows_of_query(made))
    shared = made.place.descriptors[np.arange(200) // 4 * 4].astype(np.float64)
    descriptors = shared[np.argsort(back)] + np.random.default_rng(0).normal(0, 0.005, (200, 64))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    query = described(made.query.pixels, descriptors)
    place = Place.of(0, 0, described(made.place.pixels, shared), made.place.points_in_cam.astype(np.float64))
    guess = made.query_from_place.copy()
    guess[:3, 3] += 0.05
    lost = locate(query, place, made.camera)
    found = locate(query, place, made.camera, LocateOptions(guess_radius=30.0), guess)
    assert found is not None
    assert found.inliers > 120
    assert lost is None or lost.inliers < 0.5 * found.inliers
    assert np.abs(found.query_from_place - made.query_from_place).max() < 0.03


def test_a_mirrored_guess_finds_nothing(scene: Callable) -> None:
    made = scene(2)
    behind = made.query_from_place @ np.diag([-1.0, 1.0, -1.0, 1.0])
    assert locate(made.query, made.place, made.camera, None, behind) is None


def test_one_part_of_the_picture_is_not_enough(scene: Callable) -> None:
    made = scene(4, count=400, wrong=0.0)
    points = made.place.points_in_cam.astype(np.float64)
    is_near = (np.abs(made.query.pixels - [320.0, 240.0]) < [80.0, 60.0]).all(axis=1)
    points[~is_near[np.argsort(_rows_of_query(made))]] = np.nan
    assert is_near.sum() > 15
    loose = LocateOptions(min_coverage=0.0)
    place = made.place.with_points(points)
    assert locate(made.query, place, made.camera, loose) is not None
    assert locate(made.query, place, made.camera, LocateOptions(min_coverage=0.2)) is None


def _rows_of_query(made: object) -> np.ndarray:
    """Row of the place that each row of the query is."""
    return np.argmax(made.query.descriptors @ made.place.descriptors.astype(np.float32).T, axis=1)  # type: ignore[attr-defined]
