"""Errors of poses and homographies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cv3d.evaluation.matches import corner_error, relative_pose_error
from cv3d.evaluation.matches.correctness import agree_with_homography, agree_with_pose
from cv3d.evaluation.matches.pose_error import angle_between, rotation_angle
from cv3d.geometry.cameras.camera import Camera

Floats = NDArray[np.float64]


def pose(rotation_deg: tuple[float, float, float], translation: tuple[float, float, float]) -> Floats:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(rotation_deg, degrees=True).as_matrix()
    matrix[:3, 3] = translation
    return matrix


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, 90.0, 179.9999, 180.0])
def test_angles_are_exact_at_both_ends(angle: float) -> None:
    axis = np.array([0.6, 0.0, 0.8])
    turned = Rotation.from_rotvec(axis * angle, degrees=True).as_matrix()
    assert math.degrees(rotation_angle(turned)) == pytest.approx(angle, rel=1e-6, abs=1e-12)
    other = turned @ np.array([0.0, 3.0, 0.0])
    assert math.degrees(angle_between(np.array([0.0, 0.5, 0.0]), other)) == pytest.approx(angle, rel=1e-6, abs=1e-12)


def test_the_pose_error_is_the_larger_angle_and_blind_to_scale_and_sign() -> None:
    true = pose((10.0, -5.0, 3.0), (1.0, 0.0, 0.0))
    nearby = pose((0.0, 0.0, 2.0), (0.0, 0.0, 0.0)) @ true
    nearby[:3, 3] = 7.0 * np.array([math.cos(0.05), math.sin(0.05), 0.0])
    error = relative_pose_error(nearby, true)
    assert error.rotation_deg == pytest.approx(2.0)
    assert error.direction_deg == error.max_deg == pytest.approx(math.degrees(0.05))
    nearby[:3, 3] *= -1.0
    assert relative_pose_error(nearby, true).max_deg == pytest.approx(error.max_deg)
    still = true.copy()
    still[:3, 3] = 0.0
    assert relative_pose_error(nearby, still).max_deg == pytest.approx(2.0)


def test_corner_errors() -> None:
    shift = np.eye(3)
    shift[:2, 2] = (3.0, 4.0)
    assert corner_error(shift, np.eye(3), 640, 480) == pytest.approx(5.0)
    assert corner_error(-2.0 * shift, 0.5 * np.eye(3), 640, 480) == pytest.approx(5.0)
    wider = np.diag([1.01, 1.0, 1.0])
    assert corner_error(wider, np.eye(3), 640, 480) == pytest.approx(0.5 * 6.39)
    horizon = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0 / 300.0, 0.0, 1.0]])
    assert corner_error(horizon, np.eye(3), 640, 480) == math.inf


def scene(rng: np.random.Generator) -> tuple[Camera, Floats, Floats, Floats]:
    camera = Camera("brown4", 640, 480, (577.0, 580.0, 320.0, 240.0, 0.05, -0.02, 0.001, -0.001))
    motion = pose((2.0, 8.0, -3.0), (1.0, 0.1, 0.2))
    points = np.column_stack([rng.uniform(-1.5, 1.5, 400), rng.uniform(-1.0, 1.0, 400), rng.uniform(4.0, 8.0, 400)])
    first, second = camera.project(points), camera.project(points @ motion[:3, :3].T + motion[:3, 3])
    inside = ((second > 0.0) & (second < (640.0, 480.0))).all(axis=1)
    return camera, motion, first[inside], second[inside]


def test_true_matches_are_correct_and_shifted_ones_are_not() -> None:
    camera, motion, first, second = scene(np.random.default_rng(0))
    assert len(first) > 100
    across = second + np.array([0.0, 4.0])
    for limit in (None, 1.0):
        assert agree_with_pose(first, second, (camera, camera), motion, limit).all()
    # 4 pixels across, 2.8 of the four coordinates: within SuperGlue's loose bound, beyond a pixel.
    assert agree_with_pose(first, across, (camera, camera), motion).all()
    assert not agree_with_pose(first, across, (camera, camera), motion, 1.0).any()
    assert not agree_with_pose(first, second + np.array([0.0, 25.0]), (camera, camera), motion).any()


def test_the_normalised_bound_is_superglues() -> None:
    # Without rotation, moving along x, a shift of d pixels in y is off both lines by d / f: 2 (d / f)^2 < 5e-4.
    camera = Camera("pinhole", 640, 480, (500.0, 500.0, 320.0, 240.0))
    motion = pose((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    limit = 500.0 * math.sqrt(5e-4 / 2.0)
    first = np.array([[300.0, 200.0], [300.0, 200.0]])
    second = np.array([[250.0, 200.0 + 0.99 * limit], [250.0, 200.0 + 1.01 * limit]])
    assert agree_with_pose(first, second, (camera, camera), motion).tolist() == [True, False]


def test_matches_of_a_plane() -> None:
    shift = np.eye(3)
    shift[0, 2] = 10.0
    first = np.array([[5.0, 5.0], [6.0, 6.0], [7.0, 7.0]])
    second = np.array([[15.0, 5.0], [16.0, 8.9], [17.0, 10.1]])
    assert agree_with_homography(first, second, shift).tolist() == [True, True, False]
    assert agree_with_homography(first, second, shift, 1.0).tolist() == [True, False, False]
