"""The fused kernels of positioning and voting against the plain sums that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.geometry.bundle.kernels import HUBER
from cv3d.geometry.global_poses.position_solver import Loss, PositionProblem, Positions, at_one_distance, step_from
from cv3d.geometry.global_poses.voting_kernels import vote


def problem(seed: int) -> tuple[PositionProblem, Positions]:
    rng = np.random.default_rng(seed)
    centres, points = rng.normal(size=(5, 3)), rng.normal([0.0, 0.0, 6.0], 1.0, (12, 3))
    track, image = np.nonzero(rng.uniform(size=(12, 5)) < 0.9)
    toward = points[track] - centres[image]
    rays = toward / np.linalg.norm(toward, axis=1, keepdims=True) + 0.02 * rng.normal(size=toward.shape)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    scales = rng.uniform(0.8, 1.2, len(rays)) / np.linalg.norm(toward, axis=1)
    return PositionProblem(image, track, rays, 5, 12), Positions(centres, points, scales)


@pytest.mark.parametrize("width", [10.0, 0.1])
def test_a_step_solves_the_whole_normal_equations(width: float) -> None:
    """Built with a dense Jacobian of centres but the first, points and scales."""
    setting, at = problem(0)
    image, track, rays = setting.image, setting.track, setting.rays
    count = len(rays)
    toward = at.points[track] - at.centres[image]
    residuals = rays - at.scales[:, None] * toward
    jacobian = np.zeros((count, 3, 15 + 36 + count))
    for k in range(count):
        jacobian[k, :, 3 * image[k] : 3 * image[k] + 3] = at.scales[k] * np.eye(3)
        jacobian[k, :, 15 + 3 * track[k] : 18 + 3 * track[k]] = -at.scales[k] * np.eye(3)
        jacobian[k, :, 51 + k] = -toward[k]
    length = np.linalg.norm(residuals, axis=1)
    weight = np.minimum(1.0, width / length)
    assert (weight < 1.0).any() == (width < 1.0)
    free = jacobian[:, :, 3:]
    information = np.einsum("k,kia,kib->ab", weight, free, free)
    gradient = np.einsum("k,kia,ki->a", weight, free, residuals)
    trial = step_from(setting, at, Loss(HUBER, width), 1e-12)
    assert trial is not None
    moved = [(trial.centres - at.centres)[1:], trial.points - at.points, trial.scales - at.scales]
    step = np.concatenate([each.ravel() for each in moved])
    np.testing.assert_array_equal(trial.centres[0], at.centres[0])
    assert np.abs(information @ step + gradient).max() < 1e-5 * np.abs(gradient).max()


def test_equal_distances_are_a_linear_problem() -> None:
    """Its solution leaves no gradient in centres or points, the scales being one."""
    setting, _ = problem(1)
    found = at_one_distance(setting)
    zero = Positions(found.centres, found.points, np.ones(len(setting.rays)))
    left = setting.rays - (zero.points[setting.track] - zero.centres[setting.image])
    for axis in range(3):
        assert np.abs(np.bincount(setting.track, left[:, axis])).max() < 1e-6
        assert np.abs(np.bincount(setting.image, left[:, axis])[1:]).max() < 1e-6


def test_a_node_takes_what_most_of_its_neighbours_say() -> None:
    """Node 0 agrees with two edges, and three others with each other; the rest is where it belongs."""
    truth = Rotation.random(6, rng=np.random.default_rng(0)).as_matrix()
    edges = np.array([[1, 0], [2, 0], [0, 3], [0, 4], [5, 0]])
    measured = truth[edges[:, 1]] @ truth[edges[:, 0]].transpose(0, 2, 1)
    other = Rotation.from_rotvec([0.0, 1.0, 0.5]).as_matrix() @ truth[0]
    measured[:2] = other @ truth[[1, 2]].transpose(0, 2, 1)
    rotations = truth.copy()
    rotations[0] = other
    by_node = np.argsort(edges.ravel(), kind="stable")
    start = np.searchsorted(edges.ravel()[by_node], np.arange(7))
    assert vote(edges, measured, np.ones(5), start, by_node // 2, 0.05, rotations) == 1
    np.testing.assert_allclose(rotations, truth, atol=1e-9)
    assert vote(edges, measured, np.ones(5), start, by_node // 2, 0.05, rotations) == 0
    heavier = np.array([2.0, 2.0, 1.0, 1.0, 1.0])
    assert vote(edges, measured, heavier, start, by_node // 2, 0.05, rotations) == 1
    np.testing.assert_allclose(rotations[0], other, atol=1e-9)
