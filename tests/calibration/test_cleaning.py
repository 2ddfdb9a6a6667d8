"""Wrong corners and views are told from honest noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cv3d.calibration.cleaning import judge_observations
from cv3d.calibration.problem import Observations
from cv3d.calibration.seeding import SEED_MODEL, seed_camera
from cv3d.calibration.solving import Solution, solve, start_from
from cv3d.geometry.robust import Loss, LossKind

Maker = Callable[..., Any]


def robustly(observations: Observations) -> Solution:
    seed = seed_camera(observations, 1280, 720)
    loss = Loss(LossKind.CAUCHY, max(3.0 * seed.scale_px, 0.2))
    return solve(observations, "brown5", start_from(observations, seed.state, SEED_MODEL, "brown5"), loss)


def moved(observations: Observations, view: int, corner: int, by: tuple[float, float]) -> Observations:
    pixels = observations.pixels.clone()
    pixels[view, corner] += torch.tensor(by, dtype=torch.float64)
    return replace(observations, pixels=pixels)


@pytest.mark.parametrize(
    "noise_px", [0.2, pytest.param(0.02, marks=pytest.mark.slow), pytest.param(1.0, marks=pytest.mark.slow)]
)
def test_honest_noise_is_left_alone(make_scene: Maker, noise_px: float) -> None:
    scene = make_scene(views=14, noise_px=noise_px, cut=True)
    judgement = judge_observations(scene.observations, robustly(scene.observations), 1280)
    assert int(judgement.outliers.sum()) == 0
    assert judgement.bad_views == {}


@pytest.mark.parametrize("size_px", [6.0, 40.0, 400.0])
def test_a_wrong_corner_is_found_alone(make_scene: Maker, size_px: float) -> None:
    scene = make_scene(views=10, noise_px=0.15)
    spoiled = moved(scene.observations, 3, 17, (0.6 * size_px, -0.8 * size_px))
    judgement = judge_observations(spoiled, robustly(spoiled), 1280)
    assert torch.nonzero(judgement.outliers).tolist() == [[3, 17]]
    assert judgement.bad_views == {}


def test_two_corners_exchanged(make_scene: Maker) -> None:
    scene = make_scene(views=10, noise_px=0.15)
    pixels = scene.observations.pixels.clone()
    pixels[2, [5, 40]] = pixels[2, [40, 5]]
    spoiled = replace(scene.observations, pixels=pixels)
    judgement = judge_observations(spoiled, robustly(spoiled), 1280)
    assert torch.nonzero(judgement.outliers).tolist() == [[2, 5], [2, 40]]


def shifted_labels(pixels: Tensor) -> Tensor:
    """A board whose columns are labelled one off, the last row wrapping around."""
    return pixels.reshape(6, 9, 2).roll(1, dims=1).reshape(54, 2)


def test_a_mislabelled_view_is_found_alone(make_scene: Maker) -> None:
    scene = make_scene(views=10, noise_px=0.15)
    pixels = scene.observations.pixels.clone()
    pixels[6] = pixels[6][torch.randperm(54, generator=torch.Generator().manual_seed(1))]
    spoiled = replace(scene.observations, pixels=pixels)
    judgement = judge_observations(spoiled, robustly(spoiled), 1280)
    assert list(judgement.bad_views) == [6]
    assert "median" in judgement.bad_views[6]


def test_columns_labelled_one_off(make_scene: Maker) -> None:
    scene = make_scene(views=10, noise_px=0.15)
    pixels = scene.observations.pixels.clone()
    pixels[4] = shifted_labels(pixels[4])
    spoiled = replace(scene.observations, pixels=pixels)
    judgement = judge_observations(spoiled, robustly(spoiled), 1280)
    # Eight columns agree with a board one square further; the one that wrapped around is wrong, or the view is.
    assert 4 in judgement.bad_views or bool(judgement.outliers[4].reshape(6, 9)[:, 0].all())
    assert int(judgement.outliers[torch.arange(10) != 4].sum()) == 0


def test_a_view_with_hardly_a_right_corner_is_bad(make_scene: Maker) -> None:
    scene = make_scene(views=8, noise_px=0.1)
    seen = scene.observations.seen.clone()
    seen[1, 9:] = False
    observations = replace(scene.observations, seen=seen)
    solution = solve(observations, "brown5", scene.truth)
    residuals = solution.residuals.clone()
    residuals[1, :4] = 3.0
    judgement = judge_observations(observations, replace(solution, residuals=residuals), 1280)
    assert list(judgement.bad_views) == [1]
    assert "only 5 of its 9" in judgement.bad_views[1]


def test_the_floor_keeps_tiny_residuals(make_scene: Maker) -> None:
    scene = make_scene(views=8, noise_px=1e-4)
    spoiled = moved(scene.observations, 0, 0, (0.1, 0.1))
    judgement = judge_observations(spoiled, robustly(spoiled), 1280)
    assert int(judgement.outliers.sum()) == 0
