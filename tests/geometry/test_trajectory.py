"""Trajectories: what is a valid one, interpolation, other frames, association by time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from cv3d.errors import EstimationError, InputError
from cv3d.geometry.trajectory import Trajectory, associate


def wandering(n: int, seed: int = 0, rate: float = 10.0) -> Trajectory:
    """A smooth random walk."""
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (n, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(np.cumsum(0.1 * rng.normal(size=(n, 3)), axis=0)).as_matrix()
    poses[:, :3, 3] = np.cumsum(rng.normal(size=(n, 3)), axis=0)
    return Trajectory(100.0 + np.arange(n) / rate, poses)


def test_lengths_and_durations() -> None:
    path = wandering(50)
    assert path.duration_s == pytest.approx(4.9)
    steps = np.linalg.norm(np.diff(path.positions, axis=0), axis=1)
    assert path.length_m == pytest.approx(steps.sum())
    assert path.travelled_m[0] == 0.0
    assert path.select(slice(0, 1)).length_m == 0.0
    assert path.select(slice(0, 0)).length_m == 0.0
    np.testing.assert_allclose(
        Rotation.from_quat(np.roll(path.quat_wxyz, -1, axis=1)).as_matrix(), path.rotations, atol=1e-12
    )


def test_interpolation_is_linear_in_position_and_slerp_in_rotation() -> None:
    path = wandering(20)
    times = np.sort(np.random.default_rng(1).uniform(path.times[0], path.times[-1], 100))
    between = path.interpolated(times)
    for axis in range(3):
        np.testing.assert_allclose(between.positions[:, axis], np.interp(times, path.times, path.positions[:, axis]))
    expected = Slerp(path.times, Rotation.from_matrix(path.rotations))(times)
    np.testing.assert_allclose(between.rotations, expected.as_matrix(), atol=1e-12)
    again = path.interpolated(path.times)
    np.testing.assert_allclose(again.world_from_cam, path.world_from_cam, atol=1e-12)


def test_nothing_is_extrapolated() -> None:
    path = wandering(5)
    with pytest.raises(EstimationError, match="not extrapolated"):
        path.interpolated(path.times + 0.01)
    with pytest.raises(EstimationError, match="without poses"):
        path.select(slice(0, 0)).interpolated(np.array([1.0]))


def test_interpolation_across_a_repeated_stamp_and_with_one_pose() -> None:
    path = wandering(6)
    twice = Trajectory(path.times[[0, 1, 1, 2, 3, 4]], path.world_from_cam)
    assert np.isfinite(twice.interpolated(np.linspace(twice.times[0], twice.times[-1], 33)).world_from_cam).all()
    one = path.select(slice(2, 3))
    np.testing.assert_allclose(one.interpolated(one.times).world_from_cam, one.world_from_cam, atol=1e-12)


def test_another_frame_and_scale_keep_the_shape() -> None:
    path = wandering(30)
    matrix = np.eye(4)
    matrix[:3, :3] = 2.5 * Rotation.from_rotvec([0.3, -1.0, 0.4]).as_matrix()
    matrix[:3, 3] = (4.0, -2.0, 7.0)
    moved = path.transformed(matrix)
    assert moved.length_m == pytest.approx(2.5 * path.length_m)
    np.testing.assert_allclose(moved.positions, path.positions @ matrix[:3, :3].T + matrix[:3, 3])
    turned = path.rotations[:-1].transpose(0, 2, 1) @ path.rotations[1:]
    np.testing.assert_allclose(moved.rotations[:-1].transpose(0, 2, 1) @ moved.rotations[1:], turned, atol=1e-12)
    np.testing.assert_allclose(path.scaled(3.0).positions, 3.0 * path.positions)
    np.testing.assert_allclose(path.scaled(3.0).rotations, path.rotations)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, p: (t[:-1], p), "times"),
        (lambda t, p: (t, np.where(np.arange(5)[:, None, None] == 3, np.nan, p)), "pose 3 .* not finite"),
        (lambda t, p: (t[::-1].copy(), p), "go back at pose 1"),
        (lambda t, p: (t, 2.0 * p), "not a rotation"),
        (lambda t, p: (t, p * np.array([-1.0, -1.0, -1.0, 1.0])[:, None]), "not a rotation"),
    ],
)
def test_what_is_no_trajectory_is_refused(change, message: str) -> None:  # noqa: ANN001
    path = wandering(5)
    with pytest.raises(InputError, match=message):
        Trajectory(*change(path.times, path.world_from_cam))


@given(
    st.lists(st.floats(0.0, 10.0), min_size=1, max_size=12),
    st.lists(st.floats(0.0, 10.0), min_size=1, max_size=12),
    st.floats(0.0, 3.0),
    st.floats(-2.0, 2.0),
)
def test_association_finds_the_nearest_within_the_bound(
    a: list[float], b: list[float], max_diff: float, offset: float
) -> None:
    first, second = (Trajectory(np.sort(np.array(t)), np.tile(np.eye(4), (len(t), 1, 1))) for t in (a, b))
    i, j = associate(first, second, max_diff, offset)
    apart = np.abs(first.times[:, None] - (second.times + offset)[None, :])
    assert (apart[i, j] <= max_diff).all()
    shorter_is_first = len(a) <= len(b)
    best = apart.min(axis=1 if shorter_is_first else 0)
    matched = i if shorter_is_first else j
    np.testing.assert_array_equal(matched, np.flatnonzero(best <= max_diff))
    np.testing.assert_array_equal(apart[i, j], best[matched])


def test_association_is_symmetric_for_different_counts() -> None:
    long, short = wandering(200, rate=100.0), wandering(20, seed=1, rate=11.0)
    i, j = associate(long, short, 0.006, 0.2)
    k, m = associate(short, long, 0.006, -0.2)
    np.testing.assert_array_equal(i, m)
    np.testing.assert_array_equal(j, k)
    assert len(i) > 10
