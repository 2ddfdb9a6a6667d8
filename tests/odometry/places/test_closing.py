from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.absolute_orientation import absolute_orientation
from cv3d.geometry.transforms import SE3
from cv3d.odometry.places import LoopConstraint, close_loops

Floats = NDArray[np.float64]
LAPS = 1.1


def circle(count: int) -> Floats:
    """(count, 4, 4) a camera looking along its path, once around and a little further."""
    angle = np.linspace(0.0, 2.0 * np.pi * LAPS, count)
    world_from_cam = np.tile(np.eye(4), (count, 1, 1))
    world_from_cam[:, 0, 0] = world_from_cam[:, 2, 2] = np.cos(angle)
    world_from_cam[:, 0, 2], world_from_cam[:, 2, 0] = np.sin(angle), -np.sin(angle)
    world_from_cam[:, :3, 3] = 5.0 * np.column_stack([1.0 - np.cos(angle), 0.01 * np.sin(3 * angle), np.sin(angle)])
    return world_from_cam


def drifted(true: Floats, seed: int, is_metric: bool) -> tuple[Floats, Floats]:
    """What odometry makes of it, and the scale of each key frame's map."""
    rng = np.random.default_rng(seed)
    scale, scales, poses = 1.0, [1.0], [true[0]]
    bias = rng.choice([-1.0, 1.0]) * 0.1
    for before, after in pairwise(true):
        motion = np.linalg.inv(before) @ after
        turn = np.radians(rng.normal(0.0, 0.1, 3) + np.array([0.0, bias, 0.0]))
        error = np.concatenate([rng.normal(0.0, 0.01, 3) * np.linalg.norm(motion[:3, 3]), turn])
        motion[:3, 3] *= scale
        poses.append(poses[-1] @ motion @ SE3.exp(torch.from_numpy(error)).as_matrix().numpy())
        scale *= 1.0 if is_metric else float(np.exp(rng.normal(0.002, 0.005)))
        scales.append(scale)
    return np.array(poses), np.array(scales)


def loop(true: Floats, scales: Floats, first: int, second: int, is_metric: bool) -> LoopConstraint:
    motion = np.linalg.inv(true[first]) @ true[second]
    motion[:3, 3] *= scales[first]
    motion[:3, :3] *= scales[first] / scales[second]
    return LoopConstraint(first, second, motion, 1e-4 * np.eye(6 if is_metric else 7))


def error(poses: Floats, true: Floats, with_scale: bool) -> float:
    fit = absolute_orientation(poses[:, :3, 3], true[:, :3, 3], np.ones(len(true)), with_scale).as_matrix()
    off = poses[:, :3, 3] @ fit[:3, :3].T + fit[:3, 3] - true[:, :3, 3]
    return float(np.sqrt((off**2).sum(axis=1).mean()))


def edges(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each key frame with the next two."""
    each = np.arange(count - 1)
    return np.concatenate([each, each[:-1]]), np.concatenate([each + 1, each[:-1] + 2])


@pytest.mark.parametrize("is_metric", [True, False])
@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))])
def test_drift_around_a_circle_is_taken_out(is_metric: bool, seed: int) -> None:
    count = 200
    true = circle(count)
    poses, scales = drifted(true, seed, is_metric)
    lap = round((count - 1) / LAPS)
    loops = [loop(true, scales, j - lap, j, is_metric) for j in range(lap, count, 4)]
    closed = close_loops(poses, *edges(count), loops, is_metric)
    assert closed.accepted.all()
    assert closed.converged
    assert error(closed.world_from_cam, true, not is_metric) < 0.35 * error(poses, true, not is_metric)
    assert np.allclose(closed.world_from_cam[-1], poses[-1], atol=1e-9)
    assert np.isclose(closed.scales[-1], 1.0)
    rotations = closed.world_from_cam[:, :3, :3]
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-9)
    if is_metric:
        assert (closed.scales == 1.0).all()
    else:
        known = np.log(closed.scales * scales / scales[-1])
        assert np.abs(known).max() < 0.4 * np.abs(np.log(scales / scales[-1])).max()


@pytest.mark.parametrize("is_metric", [pytest.param(True, marks=pytest.mark.slow), False])
def test_wrong_loops_do_no_harm(is_metric: bool) -> None:
    count = 200
    true = circle(count)
    poses, scales = drifted(true, 1, is_metric)
    lap = round((count - 1) / LAPS)
    right = [loop(true, scales, j - lap, j, is_metric) for j in range(lap, count, 4)]
    wrong = [loop(true, scales, *pair, is_metric) for pair in ((20, 110), (60, 150))]
    wrong[0].first_from_second[:3, 3] += [1.0, -2.0, 0.5]
    wrong[1].first_from_second[:3, 3] = 0.0
    alone = close_loops(poses, *edges(count), right, is_metric)
    both = close_loops(poses, *edges(count), [*right, *wrong], is_metric)
    assert both.accepted.tolist() == [True] * len(right) + [False] * 2
    assert (both.chi2[-2:] > 50.0).all()
    shift = np.linalg.norm(both.world_from_cam[:, :3, 3] - alone.world_from_cam[:, :3, 3], axis=1).max()
    assert shift < 0.1 * np.linalg.norm(poses[:, :3, 3] - alone.world_from_cam[:, :3, 3], axis=1).max()


def test_the_key_frame_asked_for_stays() -> None:
    true = circle(50)
    poses, scales = drifted(true, 0, True)
    closed = close_loops(poses, *edges(50), [loop(true, scales, 1, 46, True)], True, hold=3)
    assert np.allclose(closed.world_from_cam[3], poses[3], atol=1e-12)
    assert not np.allclose(closed.world_from_cam[-1], poses[-1], atol=1e-3)


def test_a_loop_that_agrees_moves_nothing() -> None:
    true = circle(50)
    closed = close_loops(true, *edges(50), [loop(true, np.ones(50), 1, 46, False)], False)
    assert np.allclose(closed.world_from_cam, true, atol=1e-6)
    assert np.allclose(closed.scales, 1.0, atol=1e-6)


def test_without_loops_nothing_moves() -> None:
    poses = circle(5)
    closed = close_loops(poses, *edges(5), [], True)
    assert np.array_equal(closed.world_from_cam, poses)
    assert len(closed.accepted) == 0


def test_standing_still_is_no_obstacle() -> None:
    poses = np.tile(np.eye(4), (6, 1, 1))
    closed = close_loops(poses, *edges(6), [LoopConstraint(0, 4, np.eye(4), np.zeros((7, 7)))], False)
    assert np.allclose(closed.world_from_cam, poses)


def test_bad_arguments_are_refused() -> None:
    poses = circle(5)
    rigid = LoopConstraint(0, 4, np.eye(4), np.eye(6))
    with pytest.raises(InputError, match="held"):
        close_loops(poses, *edges(5), [rigid], True, hold=5)
    with pytest.raises(InputError, match="similarities with covariances"):
        close_loops(poses, *edges(5), [rigid], False)
    with pytest.raises(InputError, match="poses \\(n, 4, 4\\)"):
        close_loops(poses[:, :3], *edges(5), [rigid], True)
    with pytest.raises(InputError, match="covariances of 7 motions"):
        close_loops(poses, *edges(5), [rigid], True, covariances=np.zeros((2, 6, 6)))
    with pytest.raises(InputError, match="a loop is"):
        close_loops(poses, *edges(5), [LoopConstraint(0, 4, np.eye(4), np.eye(3))], True)
