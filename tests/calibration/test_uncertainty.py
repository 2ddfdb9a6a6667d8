"""Predicted covariance against Monte Carlo, on the geometry of the rendered samples."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cv3d.calibration.deformation import Deformation
from cv3d.calibration.problem import CalibrationState, Observations
from cv3d.calibration.solving import Solution, solve
from cv3d.calibration.uncertainty import CameraCovariance, camera_covariance
from cv3d.errors import EstimationError
from cv3d.geometry.cameras import get_model
from cv3d.geometry.levenberg import LmOptions

Maker = Callable[..., Any]
CONVERGED = LmOptions(max_iterations=50, relative_decrease=1e-9)
RANGE_M = 0.8


@dataclass(frozen=True)
class Sample:
    """A rendered set: its camera, its poses, and its corners without noise."""

    model: str
    width: int
    height: int
    truth: CalibrationState
    exact: Observations

    def noisy(self, noise_px: float, generator: torch.Generator) -> Observations:
        deviates = torch.randn(self.exact.pixels.shape, generator=generator, dtype=torch.float64)
        return replace(self.exact, pixels=self.exact.pixels + noise_px * deviates)

    def places(self) -> Tensor:
        """Centre, middle of the right edge, a corner; pulled in where the lens does not reach so far. (3, 2),
        pixels."""
        right, bottom = self.width - 1.0, self.height - 1.0
        centre = torch.tensor([0.5 * right, 0.5 * bottom], dtype=torch.float64)
        wanted = torch.tensor([[0.5 * right, 0.5 * bottom], [right, 0.5 * bottom], [0.0, 0.0]], dtype=torch.float64)
        lens = get_model(self.model)
        # Every trial's camera, not only the true one, has to reach the place.
        for shrink in np.linspace(1.0, 0.5, 26):
            pixels = centre + shrink * (wanted - centre)
            if bool(lens.valid_pixels(self.truth.params, centre + 1.03 * (pixels - centre)).all()):
                return pixels
        raise AssertionError("the lens reaches nowhere")


def read_sample(folder: Path) -> Sample:
    """The geometry of a rendered set, its pixels projected anew from the poses."""
    truth = json.loads((folder / "ground_truth.json").read_text())
    camera, board, pictures = truth["camera"], truth["board"], truth["pictures"]
    inner = 1 if board["type"] == "charuco" else 0
    y, x = np.mgrid[0 : board["rows"] - inner, 0 : board["cols"] - inner]
    points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1) * board["square_m"]
    params = torch.tensor(list(camera["params"].values()), dtype=torch.float64)
    poses = torch.tensor([picture["cam_from_board"] for picture in pictures], dtype=torch.float64)
    seen = torch.zeros(len(pictures), len(points), dtype=torch.bool)
    pixels = torch.zeros(len(pictures), len(points), 2, dtype=torch.float64)
    for v, picture in enumerate(pictures):
        ids = torch.tensor(picture["point_ids"])
        seen[v, ids] = True
        pixels[v, ids] = torch.tensor(picture["pixels"], dtype=torch.float64)
    every = torch.from_numpy(points).expand(len(pictures), -1, -1).clone()
    extent = torch.from_numpy(np.stack([points[:, :2].min(axis=0), points[:, :2].max(axis=0)]))
    state = CalibrationState(params, torch.zeros(3, dtype=torch.float64), poses[:, :3, :3], poses[:, :3, 3])
    return Sample(camera["model"], camera["width"], camera["height"], state, Observations(every, pixels, seen, extent))


def carried(pixels: Tensor, reference: CalibrationState, trial: CalibrationState, model: str, range_m: float) -> Tensor:
    """Where the points that `pixels` see under `reference` appear to the camera of `trial`, (M, 2).

    The points ride on every board: each is carried into the board frames by the reference poses and back by the
    trial's, the results are averaged and projected with the trial's intrinsics. At infinity only directions count.
    """
    lens = get_model(model)
    rays = lens.unproject(reference.params, pixels)
    rotation = trial.rotation @ reference.rotation.transpose(-1, -2)
    if math.isinf(range_m):
        moved = rays @ rotation.transpose(-1, -2)
    else:
        points = rays * range_m
        offset = trial.translation - (rotation @ reference.translation[..., None])[..., 0]
        moved = points @ rotation.transpose(-1, -2) + offset[:, None]
    return lens.project(trial.params, moved.mean(dim=0))


@dataclass(frozen=True)
class Trials:
    """What many re-solves under new noise gave."""

    predicted: CameraCovariance
    params: Tensor
    """(T, P)."""
    projected: dict[float, Tensor]
    """(T, M, 2) by range."""
    noises: Tensor
    """Estimated noise, (T,)."""


def run_trials(sample: Sample, noise_px: float, count: int, seed: int = 0) -> Trials:
    """Predict at the truth, then solve `count` times from it under new noise."""
    generator = torch.Generator().manual_seed(seed)
    exact = solve(sample.exact, sample.model, sample.truth, options=LmOptions(0))
    unit = camera_covariance(replace(exact, residuals=_residuals_of_unit_noise(exact)))
    predicted = replace(unit, joint=unit.joint * (noise_px / unit.noise_px) ** 2, noise_px=noise_px)
    places = sample.places()
    params: list[Tensor] = []
    noises: list[float] = []
    projected: dict[float, list[Tensor]] = {math.inf: [], RANGE_M: []}
    for _ in range(count):
        solution = solve(sample.noisy(noise_px, generator), sample.model, sample.truth, options=CONVERGED)
        params.append(solution.state.params)
        noises.append(solution.noise_px)
        for range_m, results in projected.items():
            results.append(carried(places, sample.truth, solution.state, sample.model, range_m))
    return Trials(
        predicted,
        torch.stack(params),
        {range_m: torch.stack(results) for range_m, results in projected.items()},
        torch.tensor(noises, dtype=torch.float64),
    )


def _residuals_of_unit_noise(exact: Solution) -> Tensor:
    """Residuals that make the estimated noise 1 px, so that the prediction can be taken at the exact corners."""
    freedom = 2 * exact.count - exact.unknowns
    residuals = torch.zeros_like(exact.residuals)
    residuals[0, 0, 0] = math.sqrt(freedom)
    return residuals


def worst_std(covariance: Tensor) -> Tensor:
    return torch.sqrt(torch.linalg.eigvalsh(covariance)[..., -1])


def covariance_of(samples: Tensor, centre: Tensor) -> Tensor:
    """Second moments (M, 2, 2) of (T, M, 2) about `centre` (M, 2)."""
    offsets = samples - centre
    return torch.einsum("tmi,tmj->mij", offsets, offsets) / len(samples)


def ratios(sample: Sample, trials: Trials) -> dict[str, float]:
    """Monte Carlo over predicted standard deviation: of every parameter, and of projections at three places."""
    table: dict[str, float] = {}
    spread = trials.params.std(dim=0) / trials.predicted.params_std
    for name, ratio in zip(get_model(sample.model).param_names, spread.tolist(), strict=True):
        table[name] = ratio
    places = sample.places()
    for range_m, projected in trials.projected.items():
        predicted = trials.predicted.projection_std(places, range_m)
        found = worst_std(covariance_of(projected, places))
        label = "infinity" if math.isinf(range_m) else f"{range_m} m"
        for place, ratio in zip(("centre", "edge", "corner"), (found / predicted).tolist(), strict=True):
            table[f"{place} at {label}"] = ratio
    return table


def check(sample: Sample, trials: Trials, tolerance: float) -> None:
    """Every ratio within `tolerance` of 1, the 2x2 covariances alike, and the estimates unbiased."""
    table = ratios(sample, trials)
    wrong = {name: ratio for name, ratio in table.items() if abs(ratio - 1.0) > tolerance}
    assert not wrong, f"Monte Carlo over predicted: {table}"
    places = sample.places()
    for range_m, projected in trials.projected.items():
        predicted = trials.predicted.projection_covariance(places, range_m)
        # In coordinates in which the prediction is the identity, so is what was found.
        root = torch.linalg.cholesky(predicted)
        white = torch.linalg.solve_triangular(root, covariance_of(projected, places), upper=False)
        white = torch.linalg.solve_triangular(root, white.transpose(-1, -2), upper=False)
        assert float((torch.linalg.eigvalsh(white) - 1.0).abs().max()) < 3.0 * tolerance
    count = len(trials.params)
    bias = (trials.params.mean(dim=0) - sample.truth.params) / trials.predicted.params_std
    assert float(bias.abs().max()) < 4.0 / math.sqrt(count) + 0.05
    assert float(trials.noises.mean()) == pytest.approx(trials.predicted.noise_px, rel=0.02)


@pytest.fixture(params=["checkerboard", "charuco_fisheye"])
def sample(request: pytest.FixtureRequest, project_root: Path) -> Sample:
    return read_sample(project_root / "data" / "samples" / request.param)


def test_the_samples_geometry_is_read_right(sample: Sample) -> None:
    exact = solve(sample.exact, sample.model, sample.truth, options=LmOptions(0))
    assert exact.rms_px < 1e-5
    assert exact.inside


@pytest.mark.slow
def test_predicted_uncertainty_is_that_of_monte_carlo(sample: Sample) -> None:
    # A standard deviation from 100 trials is itself known to 7 %.
    check(sample, run_trials(sample, noise_px=0.1, count=100), tolerance=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("noise_px", [0.1, 0.3])
def test_predicted_uncertainty_is_within_ten_percent(sample: Sample, noise_px: float) -> None:
    trials = run_trials(sample, noise_px, count=1000, seed=1)
    table = ratios(sample, trials)
    print("\n".join(f"{sample.model} {noise_px} px: {name:20s} {ratio:.3f}" for name, ratio in table.items()))
    check(sample, trials, tolerance=0.1)


def test_truth_is_inside_three_sigma(sample: Sample) -> None:
    places = sample.places()
    sigmas: list[float] = []
    for seed in range(8):
        observations = sample.noisy(0.2, torch.Generator().manual_seed(100 + seed))
        solution = solve(observations, sample.model, sample.truth, options=CONVERGED)
        covariance = camera_covariance(solution)
        deviation = (solution.state.params - sample.truth.params) / covariance.params_std
        sigmas += deviation.abs().tolist()
        shift = carried(places, sample.truth, solution.state, sample.model, math.inf) - places
        sigmas += (torch.linalg.vector_norm(shift, dim=-1) / covariance.projection_std(places)).tolist()
    assert float(np.mean(np.array(sigmas) < 3.0)) > 0.97
    assert max(sigmas) < 4.5


def test_held_parameters_have_no_covariance(make_scene: Maker) -> None:
    scene = make_scene()
    free = (True, True, True, True, True, True, False, False, False)
    solution = solve(scene.observations, "brown5", scene.truth, free=free)
    covariance = camera_covariance(solution, free)
    assert bool((covariance.joint[6:9] == 0).all())
    assert bool((covariance.joint[:, 6:9] == 0).all())
    assert bool((covariance.params_std[:6] > 0).all())
    assert torch.equal(solution.state.params[6:], scene.truth.params[6:])
    everything = camera_covariance(solve(scene.observations, "brown5", scene.truth))
    assert bool((covariance.params_std[:6] <= everything.params_std[:6] * 1.05).all())


def test_the_boards_bending_adds_uncertainty(make_scene: Maker) -> None:
    scene = make_scene(views=8)
    flat = camera_covariance(solve(scene.observations, "brown5", scene.truth))
    bent = camera_covariance(solve(scene.observations, "brown5", scene.truth, deformation=Deformation.BENT))
    assert bent.joint.shape == flat.joint.shape
    assert bool((bent.params_std > 0.98 * flat.params_std).all())
    assert float(bent.params_std[0]) > 1.02 * float(flat.params_std[0])


def test_more_views_know_more(make_scene: Maker) -> None:
    scene = make_scene(views=40)
    few = torch.arange(10)
    stds = [
        camera_covariance(solve(o, "brown5", s)).params_std
        for o, s in ((scene.observations, scene.truth), (scene.observations.select(few), scene.truth.select(few)))
    ]
    assert bool((stds[0] < 0.8 * stds[1]).all())


def test_views_without_tilt_are_an_error(make_scene: Maker) -> None:
    # Parallel boards leave the focal length open against the distance.
    scene = make_scene(model="pinhole", params=(900.0, 900.0, 640.0, 360.0), views=1, tilt_deg=0.0, noise_px=0.0)
    four = torch.zeros(4, dtype=torch.long)
    identity = torch.eye(3, dtype=torch.float64)
    state = replace(scene.truth.select(four), rotation=identity.expand(4, 3, 3))
    points = scene.exact.points[four] + state.translation[:, None]
    pixels = get_model("pinhole").project(scene.truth.params, points)
    observations = replace(scene.exact.select(four), pixels=pixels)
    with pytest.raises(EstimationError, match="determine"):
        camera_covariance(solve(observations, "pinhole", state, options=LmOptions(0)))


def test_a_place_that_no_ray_reaches_is_nan(project_root: Path) -> None:
    sample = read_sample(project_root / "data" / "samples" / "charuco_fisheye")
    exact = solve(sample.exact, sample.model, sample.truth, options=LmOptions(0))
    covariance = camera_covariance(replace(exact, residuals=_residuals_of_unit_noise(exact)))
    far = torch.tensor([[1e5, 1e5], [512.0, 384.0]], dtype=torch.float64)
    std = covariance.projection_std(far)
    assert math.isnan(float(std[0]))
    assert float(std[1]) > 0.0
