"""Pose graphs: exact recovery, gauge, scale drift, wrong loops, starts, and graphs that cannot be solved."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cv3d.errors import EstimationError, InputError
from cv3d.geometry.pose_graph import (
    PoseGraph,
    PoseGraphOptions,
    RotationError,
    Start,
    SwitchedLoss,
    optimize_pose_graph,
)
from cv3d.geometry.robust import Loss, LossKind
from cv3d.geometry.transforms import SE3, SO3, Sim3

SIGMA = {SE3: np.array([0.05] * 3 + [0.01] * 3), Sim3: np.array([0.05] * 3 + [0.01] * 3 + [0.01])}
KINDS = [SE3, Sim3]


def apart(a: SE3 | Sim3, b: SE3 | Sim3) -> float:
    return float((a.as_matrix() - b.as_matrix()).abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", list(Start))
def test_exact_measurements_give_exact_poses(make: SimpleNamespace, kind: type[SE3] | type[Sim3], start: Start) -> None:
    truth = make.ring(60, kind)
    first, second = make.links_of(60, 25)
    disturbed = truth @ kind.exp(make.tangents(60, kind.tangent_dim, 3, 0.05))
    guess = kind.cat([truth[:1], disturbed[1:]])
    graph = make.measured(truth, first, second, SIGMA[kind], start=guess)
    found = optimize_pose_graph(graph, PoseGraphOptions(start=start))
    assert found.converged
    assert found.cost < 1e-15
    assert apart(found.world_from_node, truth) < 1e-7


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_spread_and_the_gradient_vanishes(make: SimpleNamespace, kind: type[SE3] | type[Sim3]) -> None:
    truth = make.ring(80, kind)
    graph = make.measured(truth, *make.links_of(80, 60), SIGMA[kind], seed=5)
    found = optimize_pose_graph(graph, PoseGraphOptions(relative_decrease=1e-14))
    dim = kind.tangent_dim
    freedom = dim * len(graph.first) - dim * 79
    assert found.chi2.sum() == pytest.approx(freedom, abs=5.0 * np.sqrt(2.0 * freedom))
    scale = np.sqrt(found.system.scaling() * found.cost)
    assert (np.abs(found.system.gradient) < 1e-6 * scale).all()
    assert found.cost < optimize_pose_graph(graph, PoseGraphOptions(max_iterations=0, start=Start.GUESS)).cost


@pytest.mark.parametrize("kind", KINDS)
def test_the_shape_does_not_depend_on_the_worlds_frame_nor_on_which_frame_is_fixed(
    make: SimpleNamespace,
    kind: type[SE3] | type[Sim3],
) -> None:
    graph = make.measured(make.ring(40, kind), *make.links_of(40, 25), SIGMA[kind], seed=2)
    options = PoseGraphOptions(relative_decrease=1e-14)
    plain = optimize_pose_graph(graph, options)
    other = kind.exp(make.tangents(1, kind.tangent_dim, 9, 2.0))
    moved = optimize_pose_graph(graph.with_poses(other @ graph.world_from_node), options)
    assert moved.cost == pytest.approx(plain.cost, rel=1e-9)
    assert apart(moved.world_from_node, other @ plain.world_from_node) < 1e-6
    refixed = optimize_pose_graph(replace(graph, fixed=np.arange(40) == 17), options)
    assert refixed.cost == pytest.approx(plain.cost, rel=1e-9)
    shapes = [found.world_from_node[:1].inverse() @ found.world_from_node for found in (plain, refixed)]
    assert apart(*shapes) < 1e-6


def test_scale_drift_is_closed_exactly(make: SimpleNamespace) -> None:
    """A monocular estimate grows by a third on its way round; one exact loop gives every frame its scale."""
    truth = make.ring(100, Sim3)
    rigid = SE3.from_rotation_and_translation(truth.rotation(), truth.translation())
    steps = rigid[:-1].inverse() @ rigid[1:]
    growth = 1.003
    drifted = [Sim3.identity(dtype=torch.float64)]
    for k in range(99):
        step = Sim3.from_rotation_translation_and_scale(
            steps[k].rotation(), steps[k].translation(), torch.tensor(growth, dtype=torch.float64)
        )
        drifted.append(drifted[-1] @ step)
    poses = Sim3.stack(drifted)
    chain = poses[:-1].inverse() @ poses[1:]
    first, second = np.append(np.arange(99), 99), np.append(np.arange(1, 100), 0)
    closing = Sim3.from_rigid(rigid[99:].inverse() @ rigid[:1])
    information = torch.eye(7, dtype=torch.float64).expand(100, 7, 7).clone()
    information[-1] *= 1e6
    graph = PoseGraph(poses, first, second, Sim3.cat([chain, closing]), information)
    found = optimize_pose_graph(graph, PoseGraphOptions(relative_decrease=1e-13))
    assert found.converged
    ends = found.world_from_node[99:].inverse() @ found.world_from_node[:1]
    torch.testing.assert_close(ends.parameters, closing.parameters, atol=1e-3, rtol=0.0)
    # What was wrong is spread evenly: every step gives back its share of the growth.
    scales = found.world_from_node.scale().numpy()
    np.testing.assert_allclose(np.diff(np.log(scales)), np.log(scales[-1]) / 99, atol=1e-3)
    assert abs(np.log(scales[-1])) < 1e-3


def test_scale_drift_of_exact_measurements_vanishes(make: SimpleNamespace) -> None:
    truth = make.ring(50, Sim3)
    first, second = np.append(np.arange(49), 49), np.append(np.arange(1, 50), 0)
    wrong = truth.scale() * torch.exp(torch.linspace(0.0, 0.8, 50, dtype=torch.float64))
    guess = Sim3.from_rotation_translation_and_scale(truth.rotation(), truth.translation(), wrong)
    graph = make.measured(truth, first, second, SIGMA[Sim3], start=Sim3.cat([truth[:1], guess[1:]]))
    for start in (Start.GUESS, Start.RELAXED):
        found = optimize_pose_graph(graph, PoseGraphOptions(start=start))
        assert apart(found.world_from_node, truth) < 1e-6


@pytest.mark.parametrize("loss", [Loss(LossKind.CAUCHY, 2.0), SwitchedLoss(4.0)], ids=["cauchy", "switched"])
@pytest.mark.slow
def test_wrong_loops_are_taken_out(make: SimpleNamespace, loss: Loss | SwitchedLoss) -> None:
    truth = make.ring(120)
    first, second = make.links_of(120, 60, seed=4)
    graph = make.measured(truth, first, second, SIGMA[SE3], seed=6)
    exact = optimize_pose_graph(graph)
    wrong = np.zeros(len(first), dtype=np.bool_)
    wrong[119 : 119 + 20] = True
    parameters = graph.first_from_second.parameters.clone()
    parameters[torch.from_numpy(wrong)] = SE3.exp(make.tangents(20, 6, 8, 3.0)).parameters
    spoiled = replace(graph, first_from_second=SE3(parameters))
    found = optimize_pose_graph(spoiled, PoseGraphOptions(loop_loss=loss))
    assert found.converged
    assert found.weights[wrong].max() < 0.05
    assert np.median(found.weights[~wrong & graph.is_loop]) > 0.3
    assert (found.weights[~graph.is_loop] == 1.0).all()
    error = float((found.world_from_node.translation() - truth.translation()).norm(dim=-1).max())
    clean = float((exact.world_from_node.translation() - truth.translation()).norm(dim=-1).max())
    plain = optimize_pose_graph(spoiled)
    broken = float((plain.world_from_node.translation() - truth.translation()).norm(dim=-1).max())
    assert error < 1.5 * clean
    assert broken > 5.0 * clean


def test_switched_loss_is_a_square_that_is_bounded() -> None:
    loss = SwitchedLoss(3.0)
    squares = torch.logspace(-6, 6, 200, dtype=torch.float64, requires_grad=True)
    cost, weight = loss.evaluate(squares)
    (slope,) = torch.autograd.grad(cost.sum(), squares)
    torch.testing.assert_close(weight, slope, rtol=1e-10, atol=1e-15)
    inside = squares <= 9.0
    torch.testing.assert_close(cost[inside], squares[inside])
    assert float(cost.detach().max()) <= 27.0
    assert bool((cost.detach().diff() > 0.0).all())


def test_a_hopeless_guess_does_not_matter(make: SimpleNamespace) -> None:
    truth = make.ring(80)
    graph = make.measured(truth, *make.links_of(80, 60), SIGMA[SE3], seed=3)
    lost = SE3.cat([truth[:1], SE3.exp(make.tangents(79, 6, 4, 4.0))])
    good, bad = optimize_pose_graph(graph), optimize_pose_graph(graph.with_poses(lost))
    assert bad.start == "relaxed"
    assert bad.cost == pytest.approx(good.cost, rel=1e-6)


def test_information_decides_who_gives_way() -> None:
    """Two measurements of one motion that differ by a metre: the mean is weighted by their information."""
    still = SE3.identity((2,), dtype=torch.float64)
    here = SE3(torch.tensor([[1.0, 0, 0, 0, 1.0, 0, 0], [1.0, 0, 0, 0, 2.0, 0, 0]], dtype=torch.float64))
    information = torch.eye(6, dtype=torch.float64).expand(2, 6, 6).clone()
    information[1] *= 3.0
    graph = PoseGraph(still, np.array([0, 0]), np.array([1, 1]), here, information)
    found = optimize_pose_graph(graph)
    torch.testing.assert_close(found.world_from_node.translation()[1, 0], torch.tensor(1.75, dtype=torch.float64))
    assert found.cost == pytest.approx(0.5 * (0.75**2 + 3.0 * 0.25**2))


def test_equal_runs_are_equal_to_the_bit(make: SimpleNamespace) -> None:
    graph = make.measured(make.ring(80), *make.links_of(80, 60), SIGMA[SE3], seed=3)
    a, b = optimize_pose_graph(graph), optimize_pose_graph(graph)
    assert torch.equal(a.world_from_node.parameters, b.world_from_node.parameters)


def test_both_errors_of_a_rotation_agree_where_they_are_small(make: SimpleNamespace) -> None:
    graph = make.measured(make.ring(60), *make.links_of(60, 40), 0.1 * SIGMA[SE3], seed=3)
    vector, quaternion = (optimize_pose_graph(graph, PoseGraphOptions(rotation_error=kind)) for kind in RotationError)
    assert vector.cost == pytest.approx(quaternion.cost, rel=1e-5)
    assert apart(vector.world_from_node, quaternion.world_from_node) < 1e-5


def test_frames_that_nothing_holds_are_told(make: SimpleNamespace) -> None:
    truth = make.ring(6)
    graph = make.measured(truth, np.array([0, 1, 3, 4]), np.array([1, 2, 4, 5]), SIGMA[SE3])
    with pytest.raises(EstimationError, match=r"3 of 6 frames .* 3, 4, 5"):
        optimize_pose_graph(graph)
    both = replace(graph, fixed=np.isin(np.arange(6), (0, 3)))
    assert optimize_pose_graph(both).cost < 1e-15


def test_a_direction_that_nothing_measures_is_told(make: SimpleNamespace) -> None:
    graph = make.measured(make.ring(3), np.array([0, 1]), np.array([1, 2]), SIGMA[SE3])
    information = graph.information.clone()
    information[0, 2, 2] = 0.0
    open_ = replace(graph, information=information)
    with pytest.raises(EstimationError, match="open"):
        optimize_pose_graph(open_.with_poses(graph.world_from_node @ SE3.exp(make.tangents(3, 6, 1, 0.1)))).covariance()


def test_one_frame_and_none_free(make: SimpleNamespace) -> None:
    truth = make.ring(4)
    graph = make.measured(truth, np.array([0, 1, 2]), np.array([1, 2, 3]), SIGMA[SE3], seed=1)
    found = optimize_pose_graph(replace(graph, fixed=np.ones(4, dtype=np.bool_)))
    assert torch.equal(found.world_from_node.parameters, truth.parameters)
    alone = PoseGraph(
        truth[:1], np.zeros(0, np.int64), np.zeros(0, np.int64), truth[:0], torch.zeros(0, 6, 6, dtype=torch.float64)
    )
    assert optimize_pose_graph(alone).cost == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": np.array([1, 9])}, "beyond its 3"),
        ({"second": np.array([1, 1])}, "of frame 1 and itself"),
        ({"second": np.array([1])}, "other lengths"),
        ({"information": torch.full((2, 6, 6), torch.nan, dtype=torch.float64)}, "information of measurement 0"),
        ({"information": -torch.eye(6, dtype=torch.float64).expand(2, 6, 6)}, "not symmetric and positive"),
        ({"fixed": np.array([True])}, "flags"),
        ({"first_from_second": SE3(torch.full((2, 7), torch.nan, dtype=torch.float64))}, "measurement 0 .* not finite"),
        ({"first_from_second": Sim3.identity((2,), dtype=torch.float64)}, "one kind"),
    ],
)
def test_what_is_no_graph_is_refused(make: SimpleNamespace, change: dict[str, object], message: str) -> None:
    graph = make.measured(make.ring(3), np.array([0, 1]), np.array([1, 2]), SIGMA[SE3])
    with pytest.raises(InputError, match=message):
        replace(graph, **change)


def test_rotations_half_way_round_are_found(make: SimpleNamespace) -> None:
    """A chain of two that turns by pi twice: the relaxed start has to get the turn right."""
    half = SO3.exp(torch.tensor([[0.0, 0.0, np.pi - 1e-3]], dtype=torch.float64))
    step = SE3.from_rotation_and_translation(half, torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))
    truth = SE3.cat([SE3.identity((1,), dtype=torch.float64), step, step @ step])
    graph = make.measured(
        truth, np.array([0, 1, 0]), np.array([1, 2, 2]), SIGMA[SE3], start=SE3.identity((3,), dtype=torch.float64)
    )
    assert apart(optimize_pose_graph(graph).world_from_node, truth) < 1e-9
