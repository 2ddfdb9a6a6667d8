"""The fused kernels against their plain references, and the derivatives against differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.geometry.bundle import BundleProblem, FreeIntrinsics, Observations
from cv3d.geometry.bundle.direct import DirectSolver
from cv3d.geometry.bundle.evaluating import Evaluator
from cv3d.geometry.bundle.iterative import IterativeSolver
from cv3d.geometry.bundle.kernels import CAUCHY, HUBER, retract_poses, rho
from cv3d.geometry.bundle.kernels import SQUARED as SQUARED_CODE
from cv3d.geometry.bundle.prior_kernels import pose_offsets
from cv3d.geometry.bundle.projection_kernels import (
    BROWN,
    KANNALA_BRANDT,
    PARAMS,
    PROJECTIONS,
    project_brown,
    project_kannala_brandt,
)
from cv3d.geometry.bundle.reference import dense_system
from cv3d.geometry.bundle.structure import build, lay_out
from cv3d.geometry.cameras import MODELS, Camera
from cv3d.geometry.robust import SQUARED, Loss, LossKind
from cv3d.geometry.transforms import SE3

Floats = NDArray[np.float64]
MakeScene = Callable[..., Any]
Lenses = dict[str, Camera]

TWINS = {BROWN: project_brown, KANNALA_BRANDT: project_kannala_brandt}


@pytest.mark.parametrize("model", sorted(PROJECTIONS))
def test_projections_are_those_of_the_models(model: str, lenses: Lenses) -> None:
    camera = lenses[model]
    params = np.zeros(PARAMS)
    params[: len(camera.params)] = camera.params
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(-1.0, 1.0, (200, 3)) * [0.8, 0.6, 0.0] + [0, 0, 1.0], [[0.0, 0.0, 2.0]]])
    points *= rng.uniform(0.1, 50.0, (201, 1))
    reference = camera.lens.project_with_jacobians(
        torch.tensor(camera.params, dtype=torch.float64), torch.from_numpy(points)
    )
    for point, *expected in zip(points, *(value.numpy() for value in reference), strict=True):
        by_point, by_params = np.empty((2, 3)), np.zeros((2, PARAMS))
        pixel = TWINS[PROJECTIONS[model]](params, *point, True, by_point, by_params)
        for found, wanted in zip((pixel, by_point, by_params[:, : len(camera.params)]), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11 * np.abs(wanted).max())


@pytest.mark.parametrize("model", sorted(PROJECTIONS))
def test_projections_stay_finite_where_the_lens_does_not_look(model: str, lenses: Lenses) -> None:
    params = np.zeros(PARAMS)
    params[: len(lenses[model].params)] = lenses[model].params
    for point in [(0.0, 0.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (1.0, 2.0, -3.0), (1e-12, 0.0, 1e-12)]:
        by_point, by_params = np.empty((2, 3)), np.zeros((2, PARAMS))
        pixel = TWINS[PROJECTIONS[model]](params, *point, True, by_point, by_params)
        for found in (pixel, by_point, by_params):
            assert np.isfinite(found).all(), point


def test_every_twin_belongs_to_a_model() -> None:
    assert set(PROJECTIONS) <= set(MODELS)
    assert set(PROJECTIONS.values()) <= set(TWINS)


@pytest.mark.parametrize(
    ("kind", "code"), [(LossKind.SQUARED, SQUARED_CODE), (LossKind.HUBER, HUBER), (LossKind.CAUCHY, CAUCHY)]
)
def test_losses_are_those_of_the_reference(kind: LossKind, code: int) -> None:
    squared = np.concatenate([[0.0], np.geomspace(1e-6, 1e6, 50)])
    costs, weights = Loss(kind, 1.7).evaluate(torch.from_numpy(squared))
    found = np.array([rho(code, 1.7, s) for s in squared])
    np.testing.assert_allclose(found, np.stack([costs, weights], axis=1), rtol=1e-13)


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-3, 0.5, 3.0])
def test_poses_move_as_the_exponential_says(size: float) -> None:
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(20, 6)) * size
    poses = SE3.exp(torch.from_numpy(rng.normal(size=(20, 6)))).as_matrix().numpy()
    moved = np.empty_like(poses)
    offsets = np.arange(20) * 6
    offsets[7] = -1
    retract_poses(poses, offsets, steps.ravel(), moved)
    expected = SE3.exp(torch.from_numpy(steps)).as_matrix().numpy() @ poses
    expected[7] = poses[7]
    np.testing.assert_allclose(moved, expected, atol=1e-14)
    assert np.array_equal(moved[7], poses[7])


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 1e-3, 0.3, 0.99, 1.01, 2.0, 3.0, np.pi - 1e-4])
def test_offsets_of_priors_are_the_logarithms_of_the_reference(angle: float) -> None:
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(30, 3))
    axes[:3] = np.eye(3)
    turns = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    at = SE3.exp(torch.from_numpy(rng.normal(size=(30, 6))))
    now = SE3.exp(torch.from_numpy(np.hstack([rng.normal(size=(30, 3)), turns]))) @ at
    found, slopes = np.empty((30, 6)), np.empty((30, 6, 6))
    pose_offsets(now.as_matrix().numpy(), at.as_matrix().numpy(), found, slopes)
    expected = (now @ at.inverse()).log()
    np.testing.assert_allclose(found, expected, atol=1e-11)
    np.testing.assert_allclose(slopes, SE3.left_jacobian_inverse(expected), atol=1e-10)


def problem_of_all_kinds(make_scene: MakeScene, lenses: Lenses, names: tuple[str, ...], seed: int = 0) -> BundleProblem:
    """Cameras on a rig, covariances, depths, held poses and points, shared and private intrinsics."""
    rig = SE3.exp(torch.tensor([[0.02, 0.0, 0.01, 0.01, -0.02, 0.03], [-0.3, 0.02, 0.0, 0.0, 0.1, 0.02]]))
    offsets = rig.as_matrix().double().numpy()
    scene = make_scene((lenses[names[0]], lenses[names[-1]]), poses=4, points=12, share=0.8, rig=offsets, seed=seed)
    problem = scene.noisy(1.0, seed)
    rng = np.random.default_rng(seed)
    count = len(problem.observations)
    root = rng.normal(size=(count, 2, 2)) + 2.0 * np.eye(2)
    seen = problem.observations
    depth = np.where(rng.uniform(size=count) < 0.5, rng.uniform(3.0, 6.0, count), np.nan)
    names_free = tuple(camera.lens.param_names for camera in problem.cameras)
    return replace(
        problem,
        observations=Observations(
            seen.pixels, seen.view, seen.point, covariance=root @ np.swapaxes(root, 1, 2), depth=depth, depth_sigma=0.3
        ),
        held_poses=np.arange(4) == 1,
        held_points=np.arange(12) == 5,
        free_intrinsics=(
            FreeIntrinsics(names_free[0][:1] + names_free[0][4:], one_focal=True),
            FreeIntrinsics(names_free[1][:4]),
        ),
    )


ROBUST = [Loss(LossKind.HUBER, 0.6), Loss(LossKind.CAUCHY, 0.8)]
# A loss does not know of the lens: each with one lens, and all pairs where there is time.
LENSES_AND_LOSSES = [
    *((model, SQUARED) for model in sorted([*MODELS, "splined"])),
    *(("brown5", loss) for loss in ROBUST),
    *(
        pytest.param(model, loss, marks=pytest.mark.slow)
        for model in sorted([*MODELS, "splined"])
        for loss in ROBUST
        if model != "brown5"
    ),
]


@pytest.mark.parametrize(("model", "loss"), LENSES_AND_LOSSES)
def test_normal_equations_and_step_are_those_of_the_reference(
    model: str, loss: Loss, make_scene: MakeScene, lenses: Lenses
) -> None:
    problem = problem_of_all_kinds(make_scene, lenses, (model, "pinhole"))
    depth_loss = Loss(LossKind.HUBER, 1.0)
    expected = dense_system(problem, loss, depth_loss)
    structure = build(problem, lay_out(problem))
    evaluator = Evaluator.of(problem, structure, loss, depth_loss)
    state, at = evaluator.start(), evaluator.room()
    evaluator.linearize(state, at)
    assert at.visible.all()
    assert at.cost == pytest.approx(expected.cost, rel=1e-10)
    normal = evaluator.normal_equations(at, state)
    size = structure.columns.total
    scale = np.sqrt(np.where(np.diagonal(expected.hessian) > 0, np.diagonal(expected.hessian), 1.0))
    gradients = np.concatenate([normal.gradient, normal.point_gradients.ravel()]) / scale
    np.testing.assert_allclose(gradients, expected.gradient / scale, rtol=1e-9, atol=1e-9)
    damping = 1e-3
    wanted = expected.step(damping)
    found = DirectSolver(evaluator, None).solve(normal, damping)
    assert found is not None
    together = np.concatenate([found.columns, found.points.ravel()])
    np.testing.assert_allclose(together * scale, wanted * scale, rtol=1e-6, atol=1e-6)
    model_fall = -(expected.gradient @ wanted + 0.5 * wanted @ expected.hessian @ wanted)
    assert found.predicted == pytest.approx(model_fall, rel=1e-6)
    iterated = IterativeSolver(evaluator, 1e-12, 500).solve(normal, damping)
    assert iterated is not None
    np.testing.assert_allclose(iterated.columns * scale[:size], wanted[:size] * scale[:size], rtol=1e-5, atol=1e-5)
    assert iterated.predicted == pytest.approx(model_fall, rel=1e-5)


@pytest.mark.parametrize("model", sorted([*MODELS, "splined"]))
def test_derivatives_are_those_of_differences(model: str, make_scene: MakeScene, lenses: Lenses) -> None:
    problem = problem_of_all_kinds(make_scene, lenses, (model, "pinhole"))
    structure = build(problem, lay_out(problem))
    evaluator = Evaluator.of(problem, structure, SQUARED, SQUARED)
    state, at, aside = evaluator.start(), evaluator.room(), evaluator.room()
    evaluator.linearize(state, at)
    normal = evaluator.normal_equations(at, state)
    size, step = structure.columns.total, 1e-6

    def cost(columns: Floats, points: Floats) -> float:
        evaluator.linearize(evaluator.moved(state, columns, points), aside)
        return aside.cost

    numeric = np.empty(size + 36)
    for i in range(size + 36):
        move = np.zeros(size + 36)
        # Curvature sets the scale on which a parameter matters.
        move[i] = step if i >= size else 100.0 * step / np.sqrt(normal.diagonal[i])
        ahead, behind = (cost(s * move[:size], s * move[size:].reshape(-1, 3)) for s in (1.0, -1.0))
        numeric[i] = (ahead - behind) / (2.0 * move[i])
    analytic = np.concatenate([normal.gradient, normal.point_gradients.ravel()])
    held = size + 15
    analytic[held : held + 3] = numeric[held : held + 3]
    curvature = np.sqrt(np.concatenate([normal.diagonal, np.full(36, 1.0)]))
    np.testing.assert_allclose(analytic / curvature, numeric / curvature, rtol=1e-5, atol=2e-4)


def test_a_band_with_a_border_gives_the_dense_solution(make_scene: MakeScene, lenses: Lenses) -> None:
    problem = problem_of_all_kinds(make_scene, lenses, ("brown5", "pinhole"))
    structure = build(problem, lay_out(problem))
    evaluator = Evaluator.of(problem, structure, SQUARED, SQUARED)
    state, at = evaluator.start(), evaluator.room()
    evaluator.linearize(state, at)
    normal = evaluator.normal_equations(at, state)
    dense = DirectSolver(evaluator, None).solve(normal, 1e-4)
    banded = DirectSolver(evaluator, structure.columns.border - 1).solve(normal, 1e-4)
    assert dense is not None
    assert banded is not None
    np.testing.assert_allclose(banded.columns, dense.columns, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(banded.points, dense.points, rtol=1e-7, atol=1e-10)
