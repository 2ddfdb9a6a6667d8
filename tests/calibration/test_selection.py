"""The lens model that the data support."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch

from cv3d.calibration.deformation import UNDEFORMED, Deformation, undeformed
from cv3d.calibration.models import ALIASES, AUTO, AUTO_MODELS, resolve_model
from cv3d.calibration.problem import Observations
from cv3d.calibration.seeding import SEED_MODEL, best_poses, seed_camera
from cv3d.calibration.selection import (
    Choice,
    choose_model,
    fit_candidates,
    holdout_squares,
    refit,
    warp_helps,
)
from cv3d.calibration.solving import Solution, solve
from cv3d.calibration.uncertainty import camera_covariance
from cv3d.errors import UsageError
from cv3d.geometry.cameras import MODELS, get_model
from cv3d.geometry.robust import SQUARED

Maker = Callable[..., Any]
Scene: TypeAlias = Any
"""A `Scene` of this folder's conftest, which cannot be imported."""
FISHEYE = (420.0, 421.0, 646.3, 351.8, -0.021, 0.0042, -0.0031, 0.00046)
CURVED_FISHEYE = (400.0, 401.0, 646.3, 351.8, 0.3, -0.1, 0.02, -1e-3)
"""Its radial curve bends in a way that no model of fewer parameters follows."""
PINHOLE = (900.0, 903.0, 650.3, 349.1)


def chosen_from(observations: Observations, models: Sequence[str] = AUTO_MODELS, seed: int = 0) -> Choice:
    start = seed_camera(observations, 1280, 720)
    rough = fit_candidates(observations, start.state, SEED_MODEL, models)
    return choose_model(observations, refit(observations, rough), np.random.default_rng(seed))


def agreement_px(scene: Scene, choice: Choice) -> float:
    """Largest distance between where the chosen camera and the true one put the true one's corners."""
    params = choice.solutions[choice.model].state.params
    state = best_poses(scene.exact, choice.model, params, SQUARED)
    residuals = solve(scene.exact, choice.model, state, free=(False,) * len(params)).residuals
    return float(torch.linalg.vector_norm(residuals, dim=-1).max())


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_brown_data_choose_brown(make_scene: Maker, seed: int) -> None:
    scene = make_scene(views=14, noise_px=0.1, seed=seed)
    choice = chosen_from(scene.observations)
    solution = choice.solutions[choice.model]
    assert get_model(choice.model).param_count >= 8
    # Never too simple: the focal length keeps within what the true model knows of it.
    std = camera_covariance(solve(scene.observations, "brown5", scene.truth)).params_std
    assert abs(float(solution.state.params[0] - scene.truth.params[0])) < 4.0 * float(std[0])
    assert agreement_px(scene, choice) < 0.3


def test_fisheye_data_choose_the_fisheye(make_scene: Maker) -> None:
    scene = make_scene("kannala_brandt4", CURVED_FISHEYE, views=14, noise_px=0.1)
    choice = chosen_from(scene.observations)
    assert choice.model == "kannala_brandt4"
    assert agreement_px(scene, choice) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_simpler_fisheye_is_only_taken_where_it_does_the_same(make_scene: Maker, seed: int) -> None:
    scene = make_scene("kannala_brandt4", FISHEYE, views=20, noise_px=0.1, seed=seed)
    choice = chosen_from(scene.observations)
    solution = choice.solutions[choice.model]
    std = camera_covariance(solve(scene.observations, "kannala_brandt4", scene.truth)).params_std
    assert abs(float(solution.state.params[0] - scene.truth.params[0])) < 4.0 * float(std[0])
    assert agreement_px(scene, choice) < 0.5


def test_ideal_data_choose_the_simplest(make_scene: Maker) -> None:
    scene = make_scene("pinhole", PINHOLE, views=8, noise_px=0.1)
    choice = chosen_from(scene.observations)
    assert choice.model == "pinhole"
    assert set(choice.solutions) == set(AUTO_MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("model", "params"), [("brown5", None), ("kannala_brandt4", FISHEYE), ("ucm", (450.0, 452.0, 645.0, 355.0, 0.6))]
)
def test_choices_are_near_the_truth(make_scene: Maker, model: str, params: tuple[float, ...] | None, seed: int) -> None:
    extra = {} if params is None else {"params": params}
    scene = make_scene(model, views=10 + seed, noise_px=0.2, seed=seed, cut=True, **extra)
    choice = chosen_from(scene.observations)
    # A model that fails in one view at the border of the image is too simple, though the other views hide it.
    assert choice.holdout[choice.model].sum() < 1.05 * min(squares.sum() for squares in choice.holdout.values())
    assert agreement_px(scene, choice) < 1.0


def test_the_table_tells_every_candidate(make_scene: Maker) -> None:
    scene = make_scene(views=12)
    models = ("pinhole", "brown4", "brown5", "kannala_brandt4")
    choice = chosen_from(scene.observations, models)
    assert [score.model for score in choice.scores] == list(models)
    assert sum(score.verdict.startswith("chosen") for score in choice.scores) == 1
    for score in choice.scores:
        assert score.parameters == get_model(score.model).param_count
        assert score.verdict
        assert math.isnan(score.holdout_rms_px) or score.holdout_rms_px > 0.99 * score.rms_px
    assert choice.scores[0].rms_px > 5.0 * choice.scores[2].rms_px
    assert choice.scores[0].verdict == "worse beyond noise"


def test_the_same_seed_gives_the_same_choice(make_scene: Maker) -> None:
    scene = make_scene(views=6)
    models = ("pinhole", "brown4", "brown5")
    one, other = chosen_from(scene.observations, models), chosen_from(scene.observations, models)
    assert one.model == other.model
    assert [s.rms_px for s in one.scores] == [s.rms_px for s in other.scores]
    np.testing.assert_array_equal(one.holdout[one.model], other.holdout[other.model])


def refitted_squares(scene: Scene, solution: Solution, folds: list[np.ndarray]) -> np.ndarray:
    """The held-out squares by the long way: fit to the rest, then only the poses of the fold."""
    squares = np.zeros(scene.observations.views)
    deformation = solution.state.deformation
    for fold in folds:
        out = torch.from_numpy(fold)
        rest = torch.tensor([v for v in range(scene.observations.views) if v not in set(fold.tolist())])
        fit = solve(
            scene.observations.select(rest), solution.model, solution.state.select(rest), deformation=deformation
        )
        start = replace(solution.state.select(out), params=fit.state.params, warp=fit.state.warp)
        held = solve(scene.observations.select(out), solution.model, start, free=(False,) * len(fit.state.params))
        squares[fold] = (held.residuals**2).sum(dim=(-1, -2)).numpy()
    return squares


@pytest.mark.parametrize(
    ("model", "params", "deformation"),
    [
        pytest.param("brown5", None, UNDEFORMED, marks=pytest.mark.slow),
        pytest.param("brown5", None, Deformation.BENT, marks=pytest.mark.slow),
        ("brown5", None, Deformation.BENT | Deformation.STRETCHED),
        ("kannala_brandt4", FISHEYE, UNDEFORMED),
    ],
)
def test_one_step_holdout_agrees_with_refitting(
    make_scene: Maker, model: str, params: tuple[float, ...] | None, deformation: Deformation
) -> None:
    extra: dict[str, Any] = {} if params is None else {"params": params}
    warp = (1e-3, -5e-4, 3e-4) if Deformation.BENT in deformation else (0.0, 0.0, 0.0)
    extra["stretch"] = 0.01 if Deformation.STRETCHED in deformation else 0.0
    scene = make_scene(model, views=15, noise_px=0.3, seed=7, warp=warp, **extra)
    solution = solve(scene.observations, model, scene.truth, deformation=deformation)
    folds = [np.arange(k, 15, 5) for k in range(5)]
    quick = holdout_squares(scene.observations, solution, folds)
    slow = refitted_squares(scene, solution, folds)
    assert quick.sum() == pytest.approx(slow.sum(), rel=0.02)
    np.testing.assert_allclose(quick, slow, rtol=0.06)
    fitted = float((solution.residuals**2).sum())
    assert quick.sum() > fitted


def test_held_out_error_is_what_new_views_show(make_scene: Maker) -> None:
    scene = make_scene(views=24, noise_px=0.2, seed=3)
    known, new = torch.arange(12), torch.arange(12, 24)
    observations = scene.observations.select(known)
    solution = solve(observations, "brown5", scene.truth.select(known))
    predicted = holdout_squares(observations, solution, [np.arange(k, 12, 5) for k in range(5)]).sum() / 12
    start = replace(scene.truth.select(new), params=solution.state.params)
    found = solve(scene.observations.select(new), "brown5", start, free=(False,) * 9)
    assert predicted == pytest.approx(float((found.residuals**2).sum()) / 12, rel=0.2)


@pytest.mark.parametrize("views", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_few_views_are_judged_by_every_other_corner(make_scene: Maker, views: int) -> None:
    scene = make_scene("pinhole", PINHOLE, views=views, noise_px=0.1, seed=1)
    choice = chosen_from(scene.observations, ("pinhole", "ucm", "brown4", "brown5"))
    assert math.isfinite(choice.holdout_rms_px)
    assert choice.holdout_rms_px == pytest.approx(0.1 * math.sqrt(2.0), rel=0.3)
    assert choice.model in ("pinhole", "ucm")


def test_models_that_see_forward_only_are_passed_over_where_the_board_is_beside(make_scene: Maker) -> None:
    wide = (300.0, 301.0, 646.3, 351.8, -0.01, 0.002, -0.001, 1e-4)
    scene = make_scene("kannala_brandt4", wide, views=14, cut=True, seed=2)
    rays = get_model("kannala_brandt4").unproject(scene.truth.params, scene.exact.pixels[scene.exact.seen])
    assert float(rays[:, 2].min()) < 0.0
    seed = seed_camera(scene.observations, 1280, 720)
    fitted = fit_candidates(scene.observations, seed.state, SEED_MODEL, AUTO_MODELS)
    assert not any(name.startswith(("pinhole", "brown")) for name in fitted)
    assert "kannala_brandt4" in fitted
    alone = fit_candidates(scene.observations, seed.state, SEED_MODEL, ("brown5",))
    assert set(alone) <= {"brown5"}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bent_board_is_told_from_a_flat_one(make_scene: Maker, seed: int) -> None:
    for warp, expected in (((0.0, 0.0, 0.0), False), ((8e-4, -4e-4, 2e-4), True)):
        scene = make_scene(views=14, noise_px=0.1, warp=warp, seed=seed)
        start = replace(scene.truth, warp=undeformed())
        flat = solve(scene.observations, "brown5", start)
        bent = solve(scene.observations, "brown5", start, deformation=Deformation.BENT)
        assert warp_helps(scene.observations, flat, bent, np.random.default_rng(0)) is expected


def test_names_of_models() -> None:
    assert set(AUTO_MODELS) <= set(MODELS)
    for alias, name in ALIASES.items():
        assert resolve_model(alias) == name
        assert name in MODELS
    assert resolve_model(" Kannala-Brandt4 ") == "kannala_brandt4"
    assert resolve_model("AUTO") == AUTO
    counts = [get_model(name).param_count for name in AUTO_MODELS]
    assert counts == sorted(counts)
    with pytest.raises(UsageError, match="nonsense"):
        resolve_model("nonsense")
