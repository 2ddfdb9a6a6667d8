"""The fused loops of the CPU say what the torch reference says, to the last bit; and the reference is Metal's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cv3d.compute import Compute
from cv3d.depth.stereo.choice import Choice
from cv3d.depth.stereo.cost import MOST_COST, cost_volume, describe
from cv3d.depth.stereo.engines import TWINS, match_by_torch, match_fused
from cv3d.depth.stereo.options import StereoOptions
from cv3d.depth.stereo.paths import BARRED, large_steps, path_sums

from ...mps.recorder import recorded
from .planes import Plane, pair_of

CPU = Compute(torch.device("cpu"), torch.float32)


def _random(seed: int, height: int = 23, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def _assert_equal(one: Choice, other: Choice) -> None:
    for name in ("whole", "right", "best", "second", "fraction"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


@pytest.mark.parametrize("count", [16, 48])
def test_the_twin_equals_the_reference_on_noise(count: int) -> None:
    left, right = _random(1), _random(2)
    options = StereoOptions()
    _assert_equal(match_fused(left, right, count, options), match_by_torch(CPU, left, right, count, options))


def test_the_twin_equals_the_reference_on_a_scene_with_the_highest_penalties() -> None:
    pair = pair_of([Plane(5.0, 0.03), Plane(20.0, columns=(50.0, 90.0))])
    options = StereoOptions(small_step=1000, large_step=1000)
    left, right = pair.left[:40], pair.right[:40]
    _assert_equal(match_fused(left, right, 32, options), match_by_torch(CPU, left, right, 32, options))


def test_the_cpu_runs_the_twin() -> None:
    assert TWINS["cpu"] is match_fused


def test_costs_are_within_their_bounds_and_0_for_equal_pictures() -> None:
    gray = torch.from_numpy(_random(4)).to(torch.int32)
    one, other = describe(gray), describe(torch.from_numpy(_random(5)).to(torch.int32))
    assert int(cost_volume(one, one, 4)[..., 0].max()) == 0
    assert int(cost_volume(one, other, 8).max()) <= MOST_COST
    # Eight paths, each of which adds at most the large step to the costs, have to fit 16 bits beside what is barred.
    assert 8 * (MOST_COST + 1000) < BARRED - 1000


def test_a_census_does_not_mind_brightness() -> None:
    gray = torch.from_numpy(_random(6) // 2).to(torch.int32)
    for one, other in zip(describe(gray).words, describe(2 * gray + 1).words, strict=True):
        assert torch.equal(one, other)
    assert int(describe(gray).words[0].max()) < 1 << 24


def test_without_penalties_the_paths_sum_the_costs_themselves() -> None:
    volume = torch.from_numpy(np.random.default_rng(1).integers(0, 90, (5, 7, 6), np.uint8))
    gray = torch.zeros((5, 7), dtype=torch.int32)
    sums = path_sums(volume, gray, 0, torch.zeros(256, dtype=torch.int32))
    np.testing.assert_array_equal(sums.numpy(), 8 * volume.to(torch.int32).numpy())


def test_paths_run_alike_in_every_direction() -> None:
    rng = np.random.default_rng(2)
    volume = torch.from_numpy(rng.integers(0, 90, (9, 9, 5), np.uint8))
    gray = torch.from_numpy(rng.integers(0, 256, (9, 9), np.int32))
    large = torch.from_numpy(large_steps(10, 60)).to(torch.int32)
    sums = path_sums(volume, gray, 10, large)
    for turned in (lambda t: t.flip(0), lambda t: t.flip(1), lambda t: t.transpose(0, 1)):
        assert torch.equal(path_sums(turned(volume), turned(gray), 10, large), turned(sums))


def test_large_steps_cost_less_at_edges_and_never_less_than_small_ones() -> None:
    steps = large_steps(28, 120)
    assert steps[0] == 120
    assert (np.diff(steps) <= 0).all()
    assert steps.min() == 28


@pytest.mark.slow
def test_the_reference_runs_on_metal() -> None:
    left, right = _random(1), _random(2)
    done = recorded(lambda: match_by_torch(CPU, left, right, 16, StereoOptions()))
    assert done.faults == {}
    assert len(done.waits) <= 1
