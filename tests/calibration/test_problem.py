"""The calibration problem's normal equations, against numerical differentiation of its own residuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor

from cv3d.calibration import problem as problem_module
from cv3d.calibration.deformation import UNDEFORMED, Deformation, deformed
from cv3d.calibration.problem import CalibrationProblem, CalibrationState, Observations
from cv3d.geometry.cameras import get_model
from cv3d.geometry.robust import Loss, LossKind
from cv3d.geometry.transforms import SO3

Maker = Callable[..., Any]
Scene: TypeAlias = Any
"""A `Scene` of this folder's conftest, which cannot be imported."""
BOTH = Deformation.BENT | Deformation.STRETCHED
FISHEYE = (370.0, 371.0, 640.0, 365.0, -0.02, 0.004, -0.003, 0.0005)


def away_from_truth(scene: Scene, seed: int = 0) -> CalibrationState:
    """The truth moved a little in every unknown."""
    rng = np.random.default_rng(seed)
    views = scene.observations.views
    truth = scene.truth
    turn = SO3.exp(torch.from_numpy(rng.normal(0, 5e-3, (views, 3)))).as_matrix()
    return replace(
        truth,
        params=truth.params * torch.from_numpy(1.0 + rng.normal(0, 2e-3, len(truth.params))),
        warp=truth.warp + torch.from_numpy(rng.normal(0, 5e-4, 4)),
        rotation=turn @ truth.rotation,
        translation=truth.translation * (1.0 + torch.from_numpy(rng.normal(0, 5e-3, (views, 3)))),
    )


def numeric_jacobian(problem: CalibrationProblem, state: CalibrationState) -> tuple[Tensor, Tensor]:
    """Central differences of the residuals along `retract`: by shared (R, K) and by all poses (R, 6 V)."""
    own = len(problem.deformation.modes)
    shared = len(problem.free_indices()) + own
    views = problem.observations.views
    units = torch.ones(shared, dtype=torch.float64)
    units[shared - own :] = 1e-2

    def along(index: int, size: float) -> Tensor:
        step = torch.zeros(shared + 6 * views, dtype=torch.float64)
        step[index] = size
        moved = problem.retract(state, step[:shared], step[shared:].reshape(views, 6))
        return problem.residuals(moved).flatten()

    columns = []
    for index in range(shared + 6 * views):
        free = problem.free_indices()
        value = float(state.params[free[index]].abs()) if index < len(free) else 0.1
        size = 1e-6 * max(value, 1e-2)
        columns.append((along(index, size) - along(index, -size)) / (2 * size))
    jacobian = torch.stack(columns, dim=-1)
    return jacobian[:, :shared], jacobian[:, shared:]


@pytest.mark.parametrize(
    ("model", "params", "free", "deformation"),
    [
        ("brown5", None, None, UNDEFORMED),
        ("brown5", None, (True, True, False, False, True, True, False, True, True), BOTH),
        ("kannala_brandt4", FISHEYE, None, Deformation.BENT),
        ("kannala_brandt4", FISHEYE, None, Deformation.STRETCHED),
        ("ucm", (500.0, 505.0, 640.0, 365.0, 0.55), (False,) * 5, UNDEFORMED),
    ],
)
def test_normal_equations_are_those_of_the_residuals(
    make_scene: Maker,
    model: str,
    params: tuple[float, ...] | None,
    free: tuple[bool, ...] | None,
    deformation: Deformation,
) -> None:
    extra = {} if params is None else {"params": params}
    scene = make_scene(model=model, views=3, rows=3, cols=4, cut=True, noise_px=0.3, seed=5, **extra)
    state = away_from_truth(scene)
    problem = CalibrationProblem(get_model(model), scene.observations, free=free, deformation=deformation)
    system = problem.linearize(state)
    by_shared, by_poses = numeric_jacobian(problem, state)
    residual = problem.residuals(state).flatten()
    views = scene.observations.views

    assert system.cost == pytest.approx(float(0.5 * residual @ residual), rel=1e-12)

    def close(actual: Tensor, expected: Tensor) -> None:
        scale = float(expected.abs().max()) if expected.numel() else 1.0
        torch.testing.assert_close(actual, expected, rtol=2e-5, atol=1e-6 * scale)

    close(system.shared, by_shared.T @ by_shared)
    close(system.shared_gradient, by_shared.T @ residual)
    full = by_poses.T @ by_poses
    close(system.block_gradients.flatten(), by_poses.T @ residual)
    coupling = by_poses.T @ by_shared
    for v in range(views):
        rows = slice(6 * v, 6 * v + 6)
        close(system.blocks[v], full[rows, rows])
        close(system.coupling[v], coupling[rows])


def test_the_robust_gradient_is_that_of_the_robust_cost(make_scene: Maker) -> None:
    scene = make_scene(views=2, rows=3, cols=4, noise_px=2.0, seed=1)
    problem = CalibrationProblem(
        get_model("brown5"), scene.observations, Loss(LossKind.CAUCHY, 1.5), deformation=Deformation.BENT
    )
    state = away_from_truth(scene)
    system = problem.linearize(state)
    gradient = torch.cat([system.shared_gradient, system.block_gradients.flatten()])
    shared = len(system.shared_gradient)
    for index in [0, 3, 4, 8, 9, 11, 12, 15, 20]:
        step = torch.zeros(len(gradient), dtype=torch.float64)
        step[index] = 1e-5 * (1000.0 if index < 4 else 1.0) * 0.1
        up = problem.linearize(problem.retract(state, step[:shared], step[shared:].reshape(-1, 6))).cost
        down = problem.linearize(problem.retract(state, -step[:shared], -step[shared:].reshape(-1, 6))).cost
        assert (up - down) / (2 * float(step[index])) == pytest.approx(float(gradient[index]), rel=1e-4, abs=1e-3)


def test_views_in_chunks_give_the_same(make_scene: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(views=7, rows=4, cols=5, cut=True)
    problem = CalibrationProblem(get_model("brown5"), scene.observations, deformation=Deformation.BENT)
    state = away_from_truth(scene)
    whole, residuals = problem.linearize(state), problem.residuals(state)
    monkeypatch.setattr(problem_module, "_CHUNK_POINTS", 45)
    parts = problem.linearize(state)
    assert parts.cost == pytest.approx(whole.cost, rel=1e-12)
    for name in ("shared", "shared_gradient", "blocks", "block_gradients", "coupling"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-11, atol=1e-9)
    assert torch.equal(problem.residuals(state), residuals)


def test_what_was_not_seen_has_no_influence(make_scene: Maker) -> None:
    scene = make_scene(views=5, rows=5, cols=6, cut=True, seed=3)
    observed = scene.observations
    assert not bool(observed.seen.all())
    wild = torch.where(observed.seen[..., None], observed.pixels, torch.full_like(observed.pixels, 1e7))
    longer = Observations(
        torch.nn.functional.pad(observed.points, (0, 0, 0, 4), value=3.0),
        torch.nn.functional.pad(wild, (0, 0, 0, 4), value=-1e5),
        torch.nn.functional.pad(observed.seen, (0, 4)),
        observed.extent,
    )
    state = away_from_truth(scene)
    for loss in (Loss(), Loss(LossKind.CAUCHY, 0.5)):
        one = CalibrationProblem(get_model("brown5"), observed, loss, deformation=Deformation.BENT).linearize(state)
        other = CalibrationProblem(get_model("brown5"), longer, loss, deformation=Deformation.BENT).linearize(state)
        assert other.cost == pytest.approx(one.cost, rel=1e-12)
        for name in ("shared", "shared_gradient", "blocks", "block_gradients", "coupling"):
            torch.testing.assert_close(getattr(other, name), getattr(one, name), rtol=1e-10, atol=1e-8)
    assert longer.count == observed.count


def test_view_normals_sum_to_the_system(make_scene: Maker) -> None:
    scene = make_scene(views=4, rows=3, cols=4)
    problem = CalibrationProblem(get_model("brown5"), scene.observations)
    state = away_from_truth(scene)
    cost, normals = problem.view_normals(state)
    system = problem.linearize(state)
    assert cost == system.cost
    torch.testing.assert_close(normals[:, :9, :9].sum(dim=0), system.shared)
    assert 0.5 * float(normals[:, -1, -1].sum()) == pytest.approx(cost, rel=1e-12)


def test_a_stretch_keeps_the_middle_and_the_mean_scale(make_scene: Maker) -> None:
    scene = make_scene(views=1, rows=5, cols=7, square=0.03)
    observed = scene.observations
    warp = torch.tensor([0.0, 0.0, 0.0, 0.02], dtype=torch.float64)
    stretched = deformed(observed.points, observed.modes(), warp)[0].reshape(5, 7, 3)
    flat = observed.points[0].reshape(5, 7, 3)
    torch.testing.assert_close(stretched[2, 3], flat[2, 3])
    along_row, along_column = stretched[1, 2] - stretched[1, 1], stretched[2, 1] - stretched[1, 1]
    torch.testing.assert_close(along_row, torch.tensor([0.03 * 1.01, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(along_column, torch.tensor([0.0, 0.03 * 0.99, 0.0], dtype=torch.float64))


def test_warp_is_a_height_over_the_board(make_scene: Maker) -> None:
    scene = make_scene(views=1, rows=5, cols=7)
    basis = scene.observations.modes()[0].reshape(5, 7, 5)[..., :3]
    # Full height in the middle, none at the ends; the twist has opposite signs at neighbouring corners.
    torch.testing.assert_close(basis[2, 3], torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(basis[:, 0, 0], torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(basis[0, :, 1], torch.zeros(7, dtype=torch.float64))
    assert basis[0, 0, 2] == basis[4, 6, 2] == -basis[0, 6, 2] == -basis[4, 0, 2] == 1.0


def test_one_camera_a_view(make_scene: Maker) -> None:
    scene = make_scene(views=4, rows=3, cols=4)
    state = away_from_truth(scene)
    problem = CalibrationProblem(get_model("brown5"), scene.observations, free=(False,) * 9)
    shared = problem.residuals(state)
    each = replace(state, params=state.params.expand(4, -1), warp=state.warp.expand(4, 1, 4))
    torch.testing.assert_close(problem.residuals(each), shared)
    assert problem.linearize(each).cost == pytest.approx(problem.linearize(state).cost, rel=1e-12)


def test_selecting_views(make_scene: Maker) -> None:
    scene = make_scene(views=4, rows=3, cols=4)
    problem = CalibrationProblem(get_model("brown5"), scene.observations)
    index = torch.tensor([2, 0])
    part = CalibrationProblem(get_model("brown5"), scene.observations.select(index))
    state = away_from_truth(scene)
    torch.testing.assert_close(part.residuals(state.select(index)), problem.residuals(state)[index])
    flags = torch.zeros(4, 12, dtype=torch.bool)
    flags[1, 3] = True
    assert scene.observations.without(flags).count == scene.observations.count - 1
    matrix = state.cam_from_board()
    torch.testing.assert_close(matrix[:, :3, :3], state.rotation)
    assert torch.equal(matrix[:, 3], torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64).expand(4, 4))
