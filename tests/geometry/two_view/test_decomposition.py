"""Motions from essential matrices and homographies."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.geometry.two_view import decompose_essential, decompose_homography, ray_depths, recover_pose
from cv3d.geometry.two_view.parameters import PlanarPose, RelativePose, rotation_exp


def random_pose(rng: np.random.Generator) -> RelativePose:
    direction = rng.normal(size=3)
    return RelativePose(rotation_exp(rng.uniform(-0.5, 0.5, 3)), direction / np.linalg.norm(direction))


@pytest.mark.parametrize("seed", range(5))
def test_essential_matrices_give_their_motion_back_from_points_all_around(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pose = random_pose(rng)
    points = rng.normal(size=(30, 3)) * 4.0
    moved = points @ pose.rotation.T + pose.direction
    rays0, rays1 = (p / np.linalg.norm(p, axis=1, keepdims=True) for p in (points, moved))
    sign = -1.0 if seed % 2 else 1.0
    found = recover_pose(sign * pose.matrix, rays0, rays1)
    np.testing.assert_allclose(found.as_matrix(), pose.as_matrix(), atol=1e-10)
    depths, sines = ray_depths(pose, rays0, rays1)
    np.testing.assert_allclose(depths[:, 0], np.linalg.norm(points, axis=1), rtol=1e-6)
    np.testing.assert_allclose(depths[:, 1], np.linalg.norm(moved, axis=1), rtol=1e-6)
    np.testing.assert_allclose(sines, np.linalg.norm(np.cross(rays0 @ pose.rotation.T, rays1), axis=1), atol=1e-14)


def test_the_four_motions_of_an_essential_matrix_share_it() -> None:
    pose = random_pose(np.random.default_rng(9))
    for found in decompose_essential(pose.matrix):
        assert np.linalg.det(found.rotation) == pytest.approx(1.0)
        alike = min(np.abs(found.matrix - sign * pose.matrix).max() for sign in (1.0, -1.0))
        assert alike < 1e-12


@pytest.mark.parametrize("scale", [1.0, 3.7])
@pytest.mark.parametrize("seed", range(6))
def test_homographies_give_their_motion_back_as_one_of_two(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    normal = rng.uniform([-0.4, -0.4, 0.8], [0.4, 0.4, 1.0])
    truth = PlanarPose(
        rotation_exp(rng.uniform(-0.3, 0.3, 3)), rng.uniform(-0.3, 0.3, 3), normal / np.linalg.norm(normal)
    )
    rays = rng.uniform([-0.5, -0.5, 1.0], [0.5, 0.5, 1.0], (50, 3))
    solutions = decompose_homography(scale * truth.matrix, rays)
    assert len(solutions) == 2
    for solution in solutions:
        np.testing.assert_allclose(solution.matrix, truth.matrix, atol=1e-9)
    off = [
        np.abs(s.rotation - truth.rotation).max() + np.abs(s.displacement - truth.displacement).max() for s in solutions
    ]
    assert min(off) < 1e-8


def test_a_rotation_has_no_plane() -> None:
    rays = np.random.default_rng(0).normal(size=(5, 3))
    assert decompose_homography(2.0 * rotation_exp(np.array([0.2, 0.1, -0.3])), rays) == ()
