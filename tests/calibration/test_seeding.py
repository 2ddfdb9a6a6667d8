"""The seed: for any camera, from corners alone, within the basin of the true minimum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from cv3d.calibration.problem import CalibrationProblem, Observations
from cv3d.calibration.seeding import SEED_MODEL, Seed, best_poses, seed_camera, unmirrored
from cv3d.calibration.solving import Solution, solve, start_from
from cv3d.errors import EstimationError
from cv3d.geometry.cameras import get_model
from cv3d.geometry.planar import mirrored_plane_pose
from cv3d.geometry.robust import Loss, LossKind

Maker = Callable[..., Any]
WIDTH, HEIGHT = 1280, 720


def camera(fov_deg: float, model: str, offset: tuple[float, float] = (0.0, 0.0)) -> tuple[float, ...]:
    """Parameters of a camera with a horizontal field of view, its principal point off by shares of the image."""
    half = math.radians(0.5 * fov_deg)
    centre = (0.5 * (WIDTH - 1) + offset[0] * WIDTH, 0.5 * (HEIGHT - 1) + offset[1] * HEIGHT)
    focal, shape = {
        "pinhole": lambda: (0.5 * WIDTH / math.tan(half), ()),
        "brown5": lambda: (
            0.5 * WIDTH / math.tan(half),
            (-0.09 * min(1.0, 1 / math.tan(half)), 0.03, 5e-4, -4e-4, 0.0),
        ),
        "kannala_brandt4": lambda: (0.5 * WIDTH / half, (-0.015, 0.002, -0.001, 1e-4)),
        "ucm": lambda: (0.5 * WIDTH * (0.4 * math.cos(half) + 0.6) / math.sin(half), (0.6,)),
    }[model]()
    return (focal, 1.003 * focal, *centre, *shape)


def finite(seed: Seed) -> bool:
    state = seed.state
    return all(bool(torch.isfinite(t).all()) for t in (state.params, state.rotation, state.translation))


def solved_from_seed(observations: Observations, model: str) -> Solution:
    seed = seed_camera(observations, WIDTH, HEIGHT)
    assert finite(seed)
    return solve(observations, model, start_from(observations, seed.state, SEED_MODEL, model))


CAMERAS = [
    (10.0, "pinhole"),
    (40.0, "pinhole"),
    (60.0, "brown5"),
    (90.0, "brown5"),
    (100.0, "kannala_brandt4"),
    (140.0, "kannala_brandt4"),
    (190.0, "kannala_brandt4"),
    (120.0, "ucm"),
    (185.0, "ucm"),
]


@pytest.mark.parametrize(("fov_deg", "model"), CAMERAS)
@pytest.mark.parametrize(
    ("views", "rows", "cols", "offset"),
    [
        (5, 3, 4, (0.08, -0.1)),
        pytest.param(3, 6, 9, (0.0, 0.0), marks=pytest.mark.slow),
        pytest.param(12, 6, 9, (-0.08, 0.05), marks=pytest.mark.slow),
    ],
)
def test_the_seed_lies_in_the_basin_of_the_minimum(
    make_scene: Maker, fov_deg: float, model: str, views: int, rows: int, cols: int, offset: tuple[float, float]
) -> None:
    scene = make_scene(model, camera(fov_deg, model, offset), views=views, rows=rows, cols=cols)
    best = solve(scene.observations, model, scene.truth)
    assert solved_from_seed(scene.observations, model).rms_px <= best.rms_px * (1.0 + 1e-4)


@pytest.mark.parametrize(("fov_deg", "model"), [(60.0, "pinhole"), (150.0, "ucm")])
def test_two_views_are_enough(make_scene: Maker, fov_deg: float, model: str) -> None:
    scene = make_scene(model, camera(fov_deg, model), views=2, seed=3)
    best = solve(scene.observations, model, scene.truth)
    assert solved_from_seed(scene.observations, model).rms_px <= best.rms_px * (1.0 + 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("fov_deg", "model"), CAMERAS)
def test_random_sets(make_scene: Maker, fov_deg: float, model: str, seed: int) -> None:
    scene = make_scene(
        model, camera(fov_deg, model), views=4 + 2 * (seed % 6), noise_px=0.3, seed=seed, cut=bool(seed % 2)
    )
    best = solve(scene.observations, model, scene.truth)
    assert solved_from_seed(scene.observations, model).rms_px <= best.rms_px * (1.0 + 1e-4)


def test_boards_cut_by_the_border(make_scene: Maker) -> None:
    scene = make_scene("kannala_brandt4", camera(150.0, "kannala_brandt4"), views=8, cut=True, seed=2)
    assert not bool(scene.observations.seen.all())
    best = solve(scene.observations, scene.model, scene.truth)
    assert solved_from_seed(scene.observations, scene.model).rms_px <= best.rms_px * (1.0 + 1e-4)


@pytest.mark.parametrize(("fov_deg", "model"), [(60.0, "brown5"), (160.0, "kannala_brandt4")])
def test_wrong_corners_do_not_spoil_the_seed(make_scene: Maker, fov_deg: float, model: str) -> None:
    scene = make_scene(model, camera(fov_deg, model), views=8)
    pixels = scene.observations.pixels.clone()
    pixels[2, 10] += torch.tensor([45.0, -30.0], dtype=torch.float64)
    pixels[5, 40] = torch.tensor([5.0, 700.0], dtype=torch.float64)
    spoiled = replace(scene.observations, pixels=pixels)
    seed = seed_camera(spoiled, WIDTH, HEIGHT)
    assert finite(seed)
    robust = Loss(LossKind.CAUCHY, max(3.0 * seed.scale_px, 0.2))
    solution = solve(spoiled, model, start_from(spoiled, seed.state, SEED_MODEL, model), robust)
    norms = torch.linalg.vector_norm(solution.residuals, dim=-1)
    assert float(norms[2, 10]) > 30.0
    assert float(norms[5, 40]) > 30.0
    assert float(norms.median()) < 0.2


@pytest.mark.parametrize(("fov_deg", "model"), [(60.0, "brown5"), (160.0, "kannala_brandt4")])
def test_a_bad_view_does_not_spoil_the_others(make_scene: Maker, fov_deg: float, model: str) -> None:
    scene = make_scene(model, camera(fov_deg, model), views=8)
    pixels = scene.observations.pixels.clone()
    generator = torch.Generator().manual_seed(0)
    pixels[4] = pixels[4][torch.randperm(54, generator=generator)]
    spoiled = replace(scene.observations, pixels=pixels)
    seed = seed_camera(spoiled, WIDTH, HEIGHT)
    assert finite(seed)
    problem = CalibrationProblem(get_model(SEED_MODEL), spoiled)
    medians = torch.linalg.vector_norm(problem.residuals(seed.state), dim=-1).median(dim=-1).values
    assert float(medians[4]) > 20.0
    # The seed's own model is only near the true one.
    assert float(medians[torch.arange(8) != 4].max()) < 3.0


def test_unit_of_the_board_and_order_of_views_do_not_matter(make_scene: Maker) -> None:
    scene = make_scene(views=6)
    seed = seed_camera(scene.observations, WIDTH, HEIGHT)
    metres = replace(
        scene.observations, points=scene.observations.points / 0.03, extent=scene.observations.extent / 0.03
    )
    scaled = seed_camera(metres, WIDTH, HEIGHT)
    assert float(scaled.state.params[0]) == pytest.approx(float(seed.state.params[0]), rel=1e-3)
    torch.testing.assert_close(scaled.state.translation * 0.03, seed.state.translation, rtol=1e-2, atol=1e-3)
    turned = seed_camera(scene.observations.select(torch.arange(5, -1, -1)), WIDTH, HEIGHT)
    assert float(turned.state.params[0]) == pytest.approx(float(seed.state.params[0]), rel=1e-3)


def test_identical_views_give_numbers(make_scene: Maker) -> None:
    scene = make_scene(views=1)
    same = scene.observations.select(torch.zeros(5, dtype=torch.long))
    assert finite(seed_camera(same, WIDTH, HEIGHT))


def test_one_head_on_view_gives_numbers(make_scene: Maker) -> None:
    scene = make_scene(views=1, tilt_deg=0.0)
    assert finite(seed_camera(scene.observations, WIDTH, HEIGHT))


def test_corners_of_no_board_give_numbers(make_scene: Maker) -> None:
    scene = make_scene(views=4)
    noise = torch.rand(scene.observations.pixels.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seed = seed_camera(replace(scene.observations, pixels=noise * 700.0), WIDTH, HEIGHT)
    assert finite(seed)
    assert seed.scale_px > 20.0


def test_too_few_corners_are_an_error(make_scene: Maker) -> None:
    scene = make_scene(views=3)
    seen = torch.zeros_like(scene.observations.seen)
    seen[:, :5] = True
    with pytest.raises(EstimationError, match="6"):
        seed_camera(replace(scene.observations, seen=seen), WIDTH, HEIGHT)


def test_a_view_with_too_few_corners_harms_nothing(make_scene: Maker) -> None:
    scene = make_scene(views=6)
    seen = scene.observations.seen.clone()
    seen[3, 3:] = False
    seed = seed_camera(replace(scene.observations, seen=seen), WIDTH, HEIGHT)
    assert finite(seed)
    assert seed.scale_px < 3.0


def test_poses_under_a_known_camera(make_scene: Maker) -> None:
    scene = make_scene("kannala_brandt4", camera(170.0, "kannala_brandt4"), views=10, noise_px=0.0)
    state = best_poses(scene.observations, scene.model, scene.truth.params, Loss(LossKind.CAUCHY, 1.0))
    torch.testing.assert_close(state.rotation, scene.truth.rotation, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(state.translation, scene.truth.translation, rtol=0.0, atol=1e-5)


def test_mirrored_poses_are_turned_back(make_scene: Maker) -> None:
    scene = make_scene("pinhole", camera(20.0, "pinhole"), views=8, noise_px=0.05, seed=4)
    problem = CalibrationProblem(get_model("pinhole"), scene.observations)
    centre = scene.observations.points.mean(dim=1)
    rotation, translation = mirrored_plane_pose(scene.truth.rotation, scene.truth.translation, centre)
    wrong = torch.arange(8) % 2 == 0
    state = replace(
        scene.truth,
        rotation=torch.where(wrong[:, None, None], rotation, scene.truth.rotation),
        translation=torch.where(wrong[:, None], translation, scene.truth.translation),
    )
    right = unmirrored(problem, state)
    angle = torch.acos(torch.clamp((right.rotation[..., 2] * scene.truth.rotation[..., 2]).sum(dim=-1), max=1.0))
    tilted = torch.linalg.vector_norm(rotation - scene.truth.rotation, dim=(-1, -2)) > 0.3
    assert bool(tilted.any())
    assert float(angle[tilted].max()) < math.radians(3.0)
