"""A spline where no formula fits: normal equations, grid, misfit, held-out error, choice, uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor

from cv3d.calibration.any_lens import image_misfit, is_worth_a_spline, splined_grids
from cv3d.calibration.assembling import assemble
from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.calibrating import CalibrateOptions, estimate
from cv3d.calibration.deformation import UNDEFORMED, Deformation
from cv3d.calibration.detecting import BoardSightings, SeenPicture
from cv3d.calibration.detection.base import Detection
from cv3d.calibration.models import AUTO, AUTO_MODELS, SPLINED, resolve_model
from cv3d.calibration.problem import CalibrationProblem, CalibrationState
from cv3d.calibration.seeding import SEED_MODEL, seed_camera
from cv3d.calibration.selection import Choice, choose_model, consider_spline, fit_candidates, fit_spline, refit
from cv3d.calibration.solving import Solution, solve, start_from
from cv3d.calibration.uncertainty import CameraCovariance, camera_covariance
from cv3d.errors import UsageError
from cv3d.geometry.cameras import get_model
from cv3d.geometry.cameras.splined import SplinedStereographic
from cv3d.geometry.levenberg import LmOptions
from cv3d.geometry.robust import Loss, LossKind
from cv3d.media.picture import Picture

Maker = Callable[..., Any]
Scene: TypeAlias = Any
"""A `Scene` of this folder's conftest, which cannot be imported."""
SIZE = (1280, 720)
FOCAL = 560.0
FLOOR = math.sqrt(2.0)
FORMULAS = ("ucm", "kannala_brandt4", "brown8")


def odd_lens(bumps: int = 14, height_px: float = 2.0, width_px: float = 140.0, seed: int = 0) -> dict[str, Any]:
    """A wide lens with smooth bumps all over the image, which no formula knows; arguments of a scene.

    Its own surface is a quadratic spline on a grid unlike those that calibration picks.
    """
    model = SplinedStereographic.configured(2, 31, 21, 116)
    x = (torch.arange(model.nx, dtype=torch.float64) - 0.5 * (model.nx - 1)) * model.spacing
    y = (torch.arange(model.ny, dtype=torch.float64) - 0.5 * (model.ny - 1)) * model.spacing
    u = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    rng = np.random.default_rng(seed)
    delta = -0.06 * u * (u * u).sum(-1, keepdim=True)
    for _ in range(bumps):
        middle = torch.from_numpy(rng.uniform(-0.5, 0.5, 2) * SIZE / FOCAL)
        height = rng.normal(size=2)
        height *= height_px * rng.uniform(0.5, 1.5) / FOCAL / np.linalg.norm(height)
        reach = width_px * rng.uniform(0.75, 1.25) / FOCAL
        away = ((u - middle) ** 2).sum(-1, keepdim=True)
        delta = delta + torch.from_numpy(height) * torch.exp(-0.5 * away / reach**2)
    return {"model": model.name, "params": (FOCAL, 1.002 * FOCAL, 645.0, 355.0, *delta.flatten().tolist())}


@pytest.fixture(scope="module")
def odd(make_scene: Maker) -> Scene:
    return make_scene(**odd_lens(bumps=8, width_px=180.0), views=24, rows=7, cols=10, cut=True, seed=1)


def splined_solution(scene: Scene, corners_per_control: int = 0, deformation: Deformation = UNDEFORMED) -> Solution:
    """The spline of one of the grids that fit the scene, solved from the seed."""
    seed = seed_camera(scene.observations, *SIZE).state
    model = splined_grids(scene.observations, seed, SEED_MODEL, SIZE)[corners_per_control]
    start = start_from(scene.observations, seed, SEED_MODEL, model.name)
    return solve(scene.observations, model.name, start, deformation=deformation)


def small_problem(make_scene: Maker, free: tuple[bool, ...] | None) -> tuple[CalibrationProblem, CalibrationState]:
    """Few views and few control points, away from the minimum, with a bent board and a robust loss."""
    scene = make_scene(views=4, rows=4, cols=5)
    model = SplinedStereographic.configured(3, 7, 6, 84)
    state = start_from(scene.observations, scene.truth, scene.model, model.name)
    generator = torch.Generator().manual_seed(0)
    params = state.params.clone()
    params[4:] += 1e-3 * torch.randn(len(params) - 4, generator=generator, dtype=torch.float64)
    warp = torch.tensor([1e-3, -5e-4, 3e-4, 0.01], dtype=torch.float64)
    both = Deformation.BENT | Deformation.STRETCHED
    problem = CalibrationProblem(model, scene.observations, Loss(LossKind.CAUCHY, 0.5), free, both)
    return problem, replace(state, params=params, warp=warp)


@pytest.mark.parametrize("which", ["default", "all", "some"])
def test_local_sums_equal_dense_products(make_scene: Maker, which: str) -> None:
    count = SplinedStereographic.configured(3, 7, 6, 84).param_count
    free = {"default": None, "all": (True,) * count, "some": tuple(i % 3 > 0 for i in range(count))}[which]
    problem, state = small_problem(make_scene, free)
    system = problem.linearize(state)
    cost, normals = problem.view_normals(state)
    prior_cost, prior, pull = problem.prior_normals(state)
    size = normals.shape[-1] - 7
    assert size == len(problem.free_indices()) + 4
    assert system.cost == pytest.approx(cost + prior_cost, rel=1e-12)
    total, scale = normals[:, :size].sum(dim=0), float(system.shared.abs().max())
    torch.testing.assert_close(system.shared, total[:, :size] + prior, atol=1e-13 * scale, rtol=1e-10)
    torch.testing.assert_close(system.shared_gradient, total[:, -1] + pull, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(system.blocks, normals[:, size:-1, size:-1])
    torch.testing.assert_close(system.coupling, normals[:, size:-1, :size])
    torch.testing.assert_close(system.block_gradients, normals[:, size:-1, -1])


def test_the_gradient_is_that_of_the_regularised_cost(make_scene: Maker) -> None:
    problem, state = small_problem(make_scene, None)
    system = problem.linearize(state)
    blocks = torch.zeros_like(system.block_gradients)
    for seed in range(6):
        step = torch.randn(len(system.shared), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        step = 1e-6 * step / step.norm()
        ahead, behind = (problem.linearize(problem.retract(state, sign * step, blocks)).cost for sign in (1, -1))
        expected = float(system.shared_gradient @ step)
        assert 0.5 * (ahead - behind) == pytest.approx(expected, rel=1e-4, abs=1e-9 * system.cost)


def test_the_affine_parameters_are_held(odd: Scene) -> None:
    model = SplinedStereographic.configured(3, 10, 8, 120)
    start = start_from(odd.observations, odd.truth, odd.model, model.name)
    solution = solve(odd.observations, model.name, start)
    assert torch.equal(solution.state.params[:4], start.params[:4])
    assert start.params[:4].tolist() == pytest.approx([FOCAL, FOCAL, 645.0, 355.0], rel=0.02)
    covariance = camera_covariance(solution)
    assert bool((covariance.params_std[:4] == 0.0).all())
    assert bool((covariance.params_std[4:] > 0.0).all())
    # The focal length in effect is known all the same.
    assert 1e-5 < covariance.focal_std_share < 1e-2
    # The prior pins the rotation of the camera's frame: the axis projects to the principal point.
    axis = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(model.project(solution.state.params, axis)[0], start.params[2:4], atol=0.3, rtol=0)


@pytest.mark.parametrize("name", ["kannala_brandt4", pytest.param("brown5", marks=pytest.mark.slow)])
def test_ordinary_lenses_are_matched_without_bias(make_scene: Maker, name: str) -> None:
    """Exact corners of a formula: what the prior and the knots leave is far below any noise."""
    fisheye = (450.0, 451.0, 640.0, 365.0, 0.02, -0.01, 0.004, -0.001)
    extra = {"params": fisheye} if name == "kannala_brandt4" else {}
    scene = make_scene(name, views=25, rows=7, cols=10, cut=True, **extra)
    scene = replace(scene, observations=scene.exact)
    solution = splined_solution(scene, corners_per_control=-1)
    assert solution.inside
    assert solution.rms_px < 0.01


def test_the_grid_follows_the_corners(odd: Scene) -> None:
    seed = seed_camera(odd.observations, *SIZE).state
    grids = splined_grids(odd.observations, seed, SEED_MODEL, SIZE)
    sizes = [grid.nx * grid.ny for grid in grids]
    assert sizes == sorted(set(sizes))
    assert sizes[0] * 15 < odd.observations.count
    for grid in grids:
        assert grid.order == 3
        assert 100 <= grid.fov_x_deg <= 150
        wide, tall = grid.half_extent
        assert tall / wide == pytest.approx(SIZE[1] / SIZE[0], rel=0.35)
    few = splined_grids(odd.observations.select(torch.arange(6)), seed, SEED_MODEL, SIZE)
    assert few[-1].nx < grids[-1].nx
    # Not far beyond the corners, whatever the image shows there.
    middle = (odd.observations.pixels - torch.tensor([640.0, 360.0])).abs().amax(-1) < 200.0
    inner = splined_grids(odd.observations.without(~middle), seed, SEED_MODEL, SIZE)
    assert inner[0].fov_x_deg < 0.6 * grids[0].fov_x_deg


def test_every_corner_is_inside_the_grid(odd: Scene) -> None:
    solution = splined_solution(odd, corners_per_control=-1)
    assert solution.inside
    assert solution.converged
    assert solution.noise_px == pytest.approx(0.1, rel=0.06)


def test_what_the_prior_determines_is_not_counted_as_estimated(odd: Scene) -> None:
    solution = splined_solution(odd, corners_per_control=-1)
    free = len(solution.state.params) - 4
    estimated = solution.unknowns - 6 * odd.observations.views
    assert 0.3 * free < estimated <= free - 3


def test_misfit_tells_systematic_residuals_from_noise(odd: Scene, make_scene: Maker) -> None:
    for seed in range(3):
        plain = make_scene(views=20, rows=7, cols=10, seed=seed)
        solution = solve(plain.observations, "brown5", plain.truth)
        misfit = image_misfit(plain.observations, solution.residuals, SIZE)
        assert abs(misfit.share) < 0.03
        assert abs(misfit.sigmas) < 4.0
        assert not is_worth_a_spline(plain.observations, solution.residuals, SIZE)
    seed_state = seed_camera(odd.observations, *SIZE).state
    start = start_from(odd.observations, seed_state, SEED_MODEL, "brown8")
    formula = solve(odd.observations, "brown8", start)
    misfit = image_misfit(odd.observations, formula.residuals, SIZE)
    assert misfit.share > 0.05
    assert misfit.is_systematic
    assert is_worth_a_spline(odd.observations, formula.residuals, SIZE)
    few = torch.arange(9)
    assert not is_worth_a_spline(odd.observations.select(few), formula.residuals[few], SIZE)


def test_misfit_does_not_take_views_for_the_lens(odd: Scene) -> None:
    """An error that every view has for itself, however large, is not the lens's."""
    generator = torch.Generator().manual_seed(0)
    shifts = torch.randn(odd.observations.views, 1, 2, generator=generator, dtype=torch.float64)
    residuals = shifts.expand(odd.observations.pixels.shape) * odd.observations.seen[..., None]
    misfit = image_misfit(odd.observations, residuals, SIZE)
    assert abs(misfit.sigmas) < 4.0
    nothing = image_misfit(odd.observations, torch.zeros_like(residuals), SIZE)
    assert (nothing.share, nothing.sigmas) == (0.0, 0.0)


def chosen(scene: Scene, models: tuple[str, ...]) -> tuple[Choice, Choice]:
    """The choice among formulas, and that with a spline considered."""
    seed = seed_camera(scene.observations, *SIZE).state
    solutions = refit(scene.observations, fit_candidates(scene.observations, seed, SEED_MODEL, models))
    formula = choose_model(scene.observations, solutions, np.random.default_rng(0))
    return formula, consider_spline(scene.observations, formula, SIZE)


def test_the_spline_is_chosen_where_no_formula_fits(odd: Scene) -> None:
    formula, choice = chosen(odd, FORMULAS)
    assert isinstance(get_model(choice.model), SplinedStereographic)
    assert [score.model for score in choice.scores] == [*(score.model for score in formula.scores), choice.model]
    assert choice.scores[-1].verdict.startswith("chosen")
    assert not any(score.verdict.startswith("chosen") for score in choice.scores[:-1])
    assert choice.holdout_rms_px < 1.15 * FLOOR * 0.1
    assert formula.holdout_rms_px > 1.7 * choice.holdout_rms_px


@pytest.mark.slow
def test_a_formula_that_fits_is_kept(make_scene: Maker) -> None:
    scene = make_scene(views=20, rows=7, cols=10, seed=3)
    formula, choice = chosen(scene, ("brown4", "brown5", "brown8"))
    assert choice is formula
    # Asked for, a spline is as good on views not seen as the true formula, nearly.
    asked = fit_spline(scene.observations, formula, SIZE)
    assert asked.model.startswith("splined_stereographic_o3_")
    assert asked.scores[-1].verdict == "chosen: asked for"
    assert asked.holdout_rms_px < 1.05 * formula.holdout_rms_px


def test_names_of_splined_models() -> None:
    assert resolve_model("Splined") == SPLINED
    assert resolve_model("splined-stereographic-o3-12x8-fov100") == "splined_stereographic_o3_12x8_fov100"
    with pytest.raises(UsageError, match="splined"):
        resolve_model("nonsense")
    with pytest.raises(UsageError, match="control points"):
        resolve_model("splined_stereographic_o3_2x2_fov90")


def test_uncertainty_grows_where_no_corner_is(odd: Scene) -> None:
    full = splined_solution(odd)
    kept = odd.observations.without(odd.observations.pixels[..., 0] > 760.0)
    views = torch.nonzero(kept.seen.sum(-1) >= 12)[:, 0]
    half = camera_covariance(solve(kept.select(views), full.model, full.state.select(views)))
    whole = camera_covariance(full)
    places = torch.tensor([[300.0, 360.0], [600.0, 360.0], [900.0, 360.0], [1150.0, 360.0]], dtype=torch.float64)
    distance = float(torch.linalg.vector_norm(full.state.translation, dim=-1).median())
    before, after = whole.projection_std(places, distance), half.projection_std(places, distance)
    assert float(after[0]) < 2.0 * float(before[0])
    assert float(after[2]) > 2.0 * float(before[2])
    assert float(after[3]) > 3.0 * float(after[2])
    assert bool(torch.isfinite(after).all())


def known_turn(solution: Solution, reference: Tensor) -> Tensor:
    """The rotation of a solution's camera frame against reference poses (V, 3, 3): their mean, better ones more."""
    loose = torch.diagonal(solution.system.covariance().blocks(), dim1=-2, dim2=-1)[:, :3].sum(dim=-1)
    turned = solution.state.rotation @ reference.transpose(-1, -2)
    return (turned / loose[:, None, None]).sum(dim=0) / (1.0 / loose).sum()


def disagreement(scene: Scene, solution: Solution) -> tuple[Tensor, Tensor]:
    """Difference of projections from the truth, rotation taken out, (M,), and the standard deviations predicted.

    In pixels, over the image as far as the truth reaches and corners support the surface.
    """
    lens, found = get_model(scene.model), get_model(solution.model)
    pixels = torch.cartesian_prod(torch.linspace(40.0, 1240.0, 31), torch.linspace(40.0, 680.0, 17)).double()
    std = camera_covariance(solution).projection_std(pixels)
    pixels, std = pixels[std < 0.2], std[std < 0.2]
    reached = lens.valid_pixels(scene.truth.params, pixels)
    rays = lens.unproject(scene.truth.params, pixels[reached]) @ known_turn(solution, scene.truth.rotation).T
    off = torch.linalg.vector_norm(found.project(solution.state.params, rays) - pixels[reached], dim=-1)
    return off, std[reached]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_held_out_error_is_the_noise_floor_where_formulas_fail(make_scene: Maker, seed: int) -> None:
    """100 views of 88 corners at 0.1 px: the spline within 3 % of the floor, brown8 clearly above; it is chosen."""
    scene = make_scene(**odd_lens(seed=seed), views=100, rows=8, cols=11, noise_px=0.1, seed=seed)
    formula, choice = chosen(scene, AUTO_MODELS)
    assert isinstance(get_model(choice.model), SplinedStereographic)
    floor = 0.1 * FLOOR
    brown8 = formula.solutions["brown8"].rms_px
    solution = choice.solutions[choice.model]
    off, std = disagreement(scene, solution)
    print(
        f"\n{choice.model}: held out {choice.holdout_rms_px:.4f} px, floor {floor:.4f}, best formula {formula.model} "
        f"{formula.holdout_rms_px:.3f}, brown8 fitted {brown8:.3f}; off the truth over {len(off)} "
        f"places: median {off.median():.3f}, 95 % {torch.quantile(off, 0.95):.3f} px, predicted {std.median():.3f} px"
    )
    assert choice.holdout_rms_px < 1.03 * floor
    assert min(brown8, formula.holdout_rms_px) > 2.0 * floor
    assert len(off) > 350
    assert float((off / std).square().mean().sqrt()) < 2.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_ordinary_lenses_keep_their_formula(make_scene: Maker, seed: int) -> None:
    for model, params in (
        ("brown5", None),
        ("kannala_brandt4", (370.0, 371.0, 640.0, 365.0, -0.02, 4e-3, -3e-3, 5e-4)),
    ):
        extra = {} if params is None else {"params": params}
        scene = make_scene(model, views=60, rows=8, cols=11, noise_px=0.1, seed=seed, cut=True, **extra)
        formula, choice = chosen(scene, AUTO_MODELS)
        assert choice is formula


@pytest.mark.slow
def test_predicted_covariance_is_that_of_monte_carlo(make_scene: Maker) -> None:
    """Spread of projections over re-solves under new noise, within 15 % wherever corners support the surface."""
    scene = make_scene(**odd_lens(bumps=5, width_px=220.0), views=30, rows=6, cols=9, cut=True, seed=4)
    found = splined_solution(scene)
    # A truth that the spline can be: what it found, with corners to match.
    model, truth = get_model(found.model), found.state
    problem = CalibrationProblem(model, scene.exact)
    exact = replace(scene.exact, pixels=scene.exact.pixels + problem.residuals(truth))
    centre = solve(exact, found.model, truth)
    unit = math.sqrt(float((found.residuals**2).sum()) / (2 * found.count - found.unknowns))
    covariance = camera_covariance(replace(found, state=centre.state, system=centre.system))
    predicted = CameraCovariance(found.model, centre.state.params, covariance.joint * (0.1 / unit) ** 2, 0.1)
    places = torch.cartesian_prod(torch.linspace(200.0, 1080.0, 5), torch.linspace(120.0, 600.0, 4)).double()
    rays = model.unproject(centre.state.params, places)
    generator = torch.Generator().manual_seed(0)
    trials, noises = [], []
    for _ in range(250):
        noise = 0.1 * torch.randn(exact.pixels.shape, generator=generator, dtype=torch.float64)
        noisy = replace(exact, pixels=exact.pixels + noise)
        solution = solve(noisy, found.model, centre.state, options=LmOptions(30, 1e-9))
        trials.append(model.project(solution.state.params, rays @ known_turn(solution, centre.state.rotation).T))
        noises.append(solution.noise_px)
    offsets = torch.stack(trials) - places
    moments = torch.einsum("tmi,tmj->mij", offsets, offsets) / len(trials)
    ratio = torch.linalg.eigvalsh(moments)[:, -1].sqrt() / predicted.projection_std(places)
    print(f"\nMonte Carlo over predicted: {ratio.min():.3f} to {ratio.max():.3f}, noise {np.mean(noises):.4f} px")
    assert float((ratio - 1.0).abs().max()) < 0.15
    assert float(np.mean(noises)) == pytest.approx(0.1, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("model", [AUTO, SPLINED])
def test_a_whole_calibration_of_an_odd_lens(make_scene: Maker, model: str) -> None:
    scene = make_scene(**odd_lens(seed=5), views=60, rows=8, cols=11, seed=5)
    pictures = []
    for v in range(60):
        seen = scene.observations.seen[v].numpy()
        found = Detection(np.nonzero(seen)[0], scene.observations.pixels[v].numpy()[seen])
        pictures.append(SeenPicture(Picture(f"{v}.png", Path(f"{v}.png")), found, SIZE))
    sightings = BoardSightings(Board(BoardType.CHECKERBOARD, 8, 11, 0.03), tuple(pictures))
    result = assemble(estimate(sightings, CalibrateOptions(model=model)), seed=0)
    assert isinstance(get_model(result.camera.model), SplinedStereographic)
    assert [score.model for score in result.models if score.verdict.startswith("chosen")] == [result.camera.model]
    assert (len(result.models) == 1) == (model == SPLINED)
    assert result.holdout_rms_px < 1.05 * FLOOR * 0.1
    assert result.noise_px == pytest.approx(0.1, rel=0.03)
    assert all(view.used for view in result.views)
    assert result.uncertainty.center < 0.2
    assert not result.warnings
