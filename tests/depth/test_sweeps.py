"""Sweeps over the planes of a picture: costs, twins, propagation, planes between points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cv3d.compute import Compute
from cv3d.depth.levels import pyramid
from cv3d.depth.problem import REGIONS, Problem, make_problem, window
from cv3d.depth.propagating import Course, enlarged, improved, planes_between, planes_by_chance, tries_of
from cv3d.depth.sweep_reference import TorchSweeper
from cv3d.depth.sweepers import FusedSweeper, packed
from tests.depth.rendered import CAMERA, POSES, render

CPU = Compute.choose("cpu")
RANGE = (1.0 / 6.0, 1.0)
WIDE = Course(3, 4.0, is_wide=True)


def true_planes(depth: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Tensor:
    inverse = 1.0 / depth
    down, across = np.gradient(inverse)
    return torch.from_numpy(np.stack([inverse, across, down]).astype(np.float32))


@pytest.fixture(scope="module")
def scene() -> tuple[Problem, np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """The middle view at half its size and its four sources, and its true depth."""
    pictures = [render(one) for one in POSES]
    levels = [pyramid(color, CAMERA, one) for (color, _), one in zip(pictures, POSES, strict=True)]
    problem = make_problem(levels[2][0], [levels[i][0] for i in (0, 1, 3, 4)], RANGE)
    return problem, pictures[2][1]


def with_known(problem: Problem, inverses: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]]) -> Problem:
    from dataclasses import replace

    return replace(problem, inverses=np.stack(inverses), geometric=0.2)


def test_windows_and_regions_lie_on_the_right_colours() -> None:
    places, near = window()
    assert places.shape == (2, 32)
    assert near.max() <= 1.0
    assert near.min() > 0.0
    # Every place of a region is of the other colour, so that no pixel reads what is being written.
    assert (np.abs(REGIONS).sum(axis=2) % 2 == 1).all()


def test_packed_words_hold_each_pixel_and_its_neighbours() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7), dtype=np.uint8)
    words = packed(images)
    assert (words & 255 == images).all()
    assert ((words[:, :, :-1] >> 8) & 255 == images[:, :, 1:]).all()
    assert ((words[:, :-1] >> 16) & 255 == images[:, 1:]).all()
    assert (words[:, :-1, :-1] >> 24 == images[:, 1:, 1:]).all()


def test_the_true_planes_cost_less_than_any_others(scene: tuple[Problem, np.ndarray]) -> None:
    problem, depth = scene
    sweeper = FusedSweeper(problem, CPU)
    true = true_planes(depth)
    cost = sweeper.evaluate(true)[8:-8, 8:-8]
    for factor in (0.94, 1.06):
        moved = true * factor
        other = sweeper.evaluate(moved)[8:-8, 8:-8]
        assert (cost <= other).float().mean() > 0.9
    assert cost.median() < 0.15


def test_the_twin_says_what_torch_says(scene: tuple[Problem, np.ndarray]) -> None:
    problem, depth = scene
    inverse = (1.0 / depth).astype(np.float32)
    for one in (problem, with_known(problem, [inverse] * 4)):
        fused, plain = FusedSweeper(one, CPU), TorchSweeper(one, CPU)
        begun = planes_by_chance(one, 3, CPU)
        costs, same = fused.evaluate(begun), plain.evaluate(begun)
        assert (costs - same).abs().max() < 2e-3
        ours, theirs = begun.clone(), begun.clone()
        generator = torch.Generator().manual_seed(4)
        for iteration in range(2):
            tries = tries_of(one, WIDE, iteration)
            chances = torch.empty((3 * len(tries), *costs.shape)).uniform_(-1.0, 1.0, generator=generator)
            for parity in (0, 1):
                fused.sweep(ours, costs, parity, chances, tries)
                plain.sweep(theirs, same, parity, chances, tries)
        # A last bit may decide between two planes of the same cost, and its neighbours go after it.
        alike = (ours[0] - theirs[0]).abs() <= 1e-3 * theirs[0]
        assert alike.float().mean() > 0.99


def test_sweeps_find_the_depth_from_nothing(scene: tuple[Problem, np.ndarray]) -> None:
    problem, depth = scene
    begun = planes_by_chance(problem, 0, CPU)
    planes, costs = improved(problem, begun, Course(6, 4.0, is_wide=True), 0, CPU)
    assert (costs <= FusedSweeper(problem, CPU).evaluate(begun) + 1e-6).all()
    error = np.abs(1.0 / planes[0].numpy() - depth) / depth
    assert (error < 0.01).mean() > 0.9
    # Each plane's slant is found with it.
    true = true_planes(depth).numpy()
    wall = depth > 2.2
    inner = np.s_[10:-10, 10:-10]
    off = np.abs(planes[1].numpy() - true[1])[inner][wall[inner]]
    assert np.median(off) < 0.3 * np.abs(np.median(true[1][wall]))


def test_the_same_seed_gives_the_same_planes(scene: tuple[Problem, np.ndarray]) -> None:
    problem, _ = scene
    runs = [
        improved(problem, planes_by_chance(problem, 5, CPU), Course(1, 1.0, is_wide=True), 5, CPU) for _ in range(2)
    ]
    assert torch.equal(runs[0][0], runs[1][0])
    other = improved(problem, planes_by_chance(problem, 6, CPU), Course(1, 1.0, is_wide=True), 6, CPU)
    assert not torch.equal(runs[0][0], other[0])


def test_planes_of_a_plane_stay_on_it_when_enlarged() -> None:
    height, width = 20, 30
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    inverse = 0.3 + 0.002 * x - 0.001 * y
    planes = torch.from_numpy(np.stack([inverse, np.full_like(inverse, 0.002), np.full_like(inverse, -0.001)])).float()
    large = enlarged(planes, 2 * height, 2 * width)
    # Pixel u of the larger picture lies at (u + 0.5) / 2 - 0.5 of the smaller one.
    u, v = (np.arange(2 * width) + 0.5) / 2 - 0.5, (np.arange(2 * height) + 0.5) / 2 - 0.5
    expected = 0.3 + 0.002 * u[None] - 0.001 * v[:, None]
    assert np.abs(large[0].numpy() - expected).max() < 1e-6
    assert np.allclose(large[1].numpy(), 0.001)
    assert np.allclose(large[2].numpy(), -0.0005)


def test_planes_between_points_are_those_of_their_triangles(scene: tuple[Problem, np.ndarray]) -> None:
    problem, _ = scene
    corners = np.array([[0.0, 0.0], [199.0, 0.0], [0.0, 149.0], [199.0, 149.0], [90.0, 60.0]])
    inverse = 0.4 + 0.001 * corners[:, 0] - 0.0005 * corners[:, 1]
    planes = planes_between(np.concatenate([corners, inverse[:, None]], axis=1), problem, 0, CPU).numpy()
    u, v = np.meshgrid(np.arange(200), np.arange(150))
    assert np.allclose(planes[0], 0.4 + 0.001 * u - 0.0005 * v, atol=1e-5)
    assert np.allclose(planes[1], 0.001, atol=1e-6)
    assert np.allclose(planes[2], -0.0005, atol=1e-6)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.array([[1.0, 1.0, 0.3], [2.0, 2.0, 0.3], [3.0, 3.0, 0.3]])])
def test_points_that_span_nothing_leave_planes_to_chance(scene: tuple[Problem, np.ndarray], points: np.ndarray) -> None:
    problem, _ = scene
    planes = planes_between(points, problem, 0, CPU)
    assert torch.equal(planes, planes_by_chance(problem, 0, CPU))
    assert (planes[0] >= problem.farthest).all()
    assert (planes[0] <= problem.nearest).all()


def test_pyramids_keep_where_things_are(tmp_path: Path) -> None:
    color, _ = render(POSES[2])
    whole, half = pyramid(np.repeat(np.repeat(color, 2, 0), 2, 1), _doubled(), POSES[2])[:2]
    assert half.size == (150, 200)
    assert (np.abs(half.gray.astype(int) - color[..., 0]) <= 1).all()
    fx, fy, cx, cy = CAMERA.params
    assert np.allclose(half.matrix, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    assert whole.size == (300, 400)


def _doubled() -> object:
    from dataclasses import replace

    fx, fy, cx, cy = CAMERA.params
    return replace(CAMERA, width=400, height=300, params=(2 * fx, 2 * fy, 2 * cx + 0.5, 2 * cy + 0.5))
