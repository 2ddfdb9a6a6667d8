"""What is made of findings: confirmed loops, joined segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.transforms import SE3, Sim3
from cv3d.odometry.places import LoopGate, Meeting, join
from cv3d.odometry.places.meeting import Agreement

Floats = NDArray[np.float64]


def _random_rigid(rng: np.random.Generator, shift: float, turn: float) -> Floats:
    tangent = np.concatenate([rng.normal(0, shift, 3), rng.normal(0, turn, 3)])
    return SE3.exp(torch.from_numpy(tangent)).as_matrix().numpy()


def meeting(
    query: int,
    a_from_b: Floats,
    rng: np.random.Generator,
    noise: float = 0.01,
    inliers: int = 30,
    size: int = 7,
) -> Meeting:
    """Key frame `query` of segment b, found at a place of segment a that is somewhere near."""
    b_from_query = _random_rigid(rng, 2.0, 0.5)
    scale = float(np.cbrt(np.linalg.det(a_from_b[:3, :3])))
    a_from_query = a_from_b @ b_from_query
    a_from_place = a_from_query.copy()
    a_from_place[:3, :3] /= scale
    a_from_place = a_from_place @ _random_rigid(rng, 0.3, 0.1)
    exact = np.linalg.inv(a_from_place) @ a_from_query
    off = torch.from_numpy(rng.normal(0, noise, 7) * np.array([1, 1, 1, 0.3, 0.3, 0.3, size == 7]))
    measured = exact @ Sim3.exp(off).as_matrix().numpy()
    covariance = np.diag((noise * np.array([1, 1, 1, 0.3, 0.3, 0.3, 1.0])) ** 2)[:size, :size]
    return Meeting(query, 100 + query, b_from_query, a_from_place, measured, covariance, inliers, 60, 0.15, 4.0 * scale)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def a_from_b() -> Floats:
    tangent = torch.tensor([1.0, -2.0, 0.5, 0.3, 1.2, -0.4, np.log(2.5)], dtype=torch.float64)
    return Sim3.exp(tangent).as_matrix().numpy()


def test_meetings_of_one_relation_agree_and_others_do_not(rng: np.random.Generator, a_from_b: Floats) -> None:
    one, other = meeting(0, a_from_b, rng), meeting(1, a_from_b, rng)
    assert one.agrees(other.place_world_from_query_world, Agreement())
    for off in ([0.8, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0.2, 0, 0], [0, 0, 0, 0, 0, 0, 0.3]):
        moved = other.world_from_query @ Sim3.exp(torch.tensor(off, dtype=torch.float64)).as_matrix().numpy()
        relation = other.place_world_from_query_world @ moved @ np.linalg.inv(other.world_from_query)
        assert not other.agrees(relation, Agreement())


def test_segments_are_joined_in_spite_of_wrong_meetings(rng: np.random.Generator, a_from_b: Floats) -> None:
    right = [meeting(k, a_from_b, rng) for k in range(5)]
    wrong = [
        meeting(10 + k, Sim3.exp(torch.from_numpy(rng.normal(0, 1, 7))).as_matrix().numpy(), rng) for k in range(4)
    ]
    joined = join([*wrong, *right], is_metric=False)
    assert joined is not None
    assert joined.agreeing.tolist() == [False] * 4 + [True] * 5
    assert abs(np.log(joined.scale / 2.5)) < 0.02
    assert np.abs(joined.a_from_b - a_from_b).max() < 0.1
    moved = joined.moved(np.stack([one.world_from_query for one in right]))
    assert np.allclose(moved[:, :3, :3] @ moved[:, :3, :3].transpose(0, 2, 1), np.eye(3), atol=1e-9)


def test_metric_segments_are_joined_rigidly(rng: np.random.Generator) -> None:
    a_from_b = _random_rigid(rng, 3.0, 1.0)
    joined = join([meeting(k, a_from_b, rng, size=6) for k in range(3)], is_metric=True)
    assert joined is not None
    assert np.isclose(joined.scale, 1.0)
    assert np.abs(joined.a_from_b - a_from_b).max() < 0.05


def test_more_meetings_join_better(a_from_b: Floats) -> None:
    off = {}
    for count in (2, 12):
        errors = []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            joined = join([meeting(k, a_from_b, rng, noise=0.02) for k in range(count)], is_metric=False)
            assert joined is not None
            errors.append(np.abs(joined.a_from_b - a_from_b).max())
        off[count] = np.mean(errors)
    assert off[12] < 0.7 * off[2]


def test_one_key_frame_does_not_join_segments(rng: np.random.Generator, a_from_b: Floats) -> None:
    twice = [replace(meeting(0, a_from_b, rng), place=k) for k in range(3)]
    assert join(twice, is_metric=False) is None
    assert join([], is_metric=True) is None


def test_segments_of_unknown_scale_need_similarities(rng: np.random.Generator, a_from_b: Floats) -> None:
    with pytest.raises(InputError, match="similarities"):
        join([meeting(0, a_from_b, rng, size=6)], is_metric=False)


def test_two_key_frames_confirm_a_loop(rng: np.random.Generator, a_from_b: Floats) -> None:
    gate = LoopGate()
    first, second, third = (meeting(k, a_from_b, rng) for k in range(3))
    assert gate.judge([first]) == []
    assert gate.judge([]) == []
    assert gate.judge([second]) == [second, first]
    assert gate.judge([third]) == [third]


def test_a_contradiction_confirms_nothing(rng: np.random.Generator, a_from_b: Floats) -> None:
    gate = LoopGate()
    for number in range(6):
        other = Sim3.exp(torch.from_numpy(rng.normal(0, 1, 7))).as_matrix().numpy()
        assert gate.judge([meeting(number, other, rng)]) == []


def test_a_key_frame_does_not_confirm_itself(rng: np.random.Generator, a_from_b: Floats) -> None:
    gate = LoopGate()
    assert gate.judge([meeting(0, a_from_b, rng), meeting(0, a_from_b, rng)]) == []
    assert gate.judge([meeting(0, a_from_b, rng)]) == []


def test_a_loop_beyond_doubt_needs_no_second(rng: np.random.Generator, a_from_b: Floats) -> None:
    sure = replace(meeting(0, a_from_b, rng), inliers=80, matches=100, coverage=0.5)
    assert LoopGate().judge([sure]) == [sure]
    for weaker in (replace(sure, inliers=40), replace(sure, matches=300), replace(sure, coverage=0.1)):
        assert LoopGate().judge([weaker]) == []


def test_what_waits_is_forgotten_in_time(rng: np.random.Generator, a_from_b: Floats) -> None:
    gate = LoopGate()
    assert gate.judge([meeting(0, a_from_b, rng)]) == []
    for _ in range(gate.options.memory):
        gate.judge([])
    assert gate.judge([meeting(1, a_from_b, rng)]) == []
    gate.forget()
    assert gate.judge([meeting(2, a_from_b, rng)]) == []
