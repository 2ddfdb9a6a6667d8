"""How sure poses are: the linear case by hand, and the spread of many noisy graphs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cv3d.geometry.pose_graph import PoseGraph, PoseGraphOptions, Start, optimize_pose_graph
from cv3d.geometry.transforms import SE3, SO3, Sim3

SIGMA = {SE3: np.array([0.02] * 3 + [0.005] * 3), Sim3: np.array([0.02] * 3 + [0.005] * 3 + [0.005])}


def test_uncertainty_adds_along_a_straight_chain() -> None:
    n = 5
    poses = SE3.identity((n,), dtype=torch.float64)
    steps = SE3(torch.tensor([[1.0, 0, 0, 0, 2.0, 0, 0]], dtype=torch.float64).expand(n - 1, 7).clone())
    information = torch.diag(torch.tensor([4.0] * 3 + [100.0] * 3, dtype=torch.float64)).expand(n - 1, 6, 6).clone()
    chain = PoseGraph(poses, np.arange(n - 1), np.arange(1, n), steps, information)
    found = optimize_pose_graph(chain)
    covariance = found.covariance()
    assert (covariance[0] == 0.0).all()
    for k in range(1, n):
        # Along the chain translations add; across it every turn on the way sweeps what lies beyond.
        assert covariance[k, 0, 0] == pytest.approx(k / 4.0)
        assert covariance[k, 3, 3] == pytest.approx(k / 100.0)
        lever = sum((2.0 * j) ** 2 for j in range(k))
        assert covariance[k, 1, 1] == pytest.approx(k / 4.0 + lever / 100.0)
    np.testing.assert_allclose(found.covariance([3, 1]), covariance[[3, 1]])


@pytest.mark.parametrize("kind", [SE3, Sim3])
def test_stated_covariance_is_the_spread_of_many_runs(make: SimpleNamespace, kind: type[SE3] | type[Sim3]) -> None:
    """The runs are parts of one large graph that do not hang together, each with its own fixed frame."""
    count, runs, dim = 12, 400, kind.tangent_dim
    truth = make.ring(count, kind)
    first, second = make.links_of(count, 6, seed=2)
    nodes = np.array([4, 9])
    many = kind(truth.parameters.repeat(runs, 1))
    shift = count * np.repeat(np.arange(runs), len(first))
    graph = make.measured(many, np.tile(first, runs) + shift, np.tile(second, runs) + shift, SIGMA[kind], seed=1)
    fixed = np.arange(count * runs) % count == 0
    found = optimize_pose_graph(replace(graph, fixed=fixed), PoseGraphOptions(start=Start.GUESS)).world_from_node
    off = (many.inverse() @ found).parameters.reshape(runs, count, -1)[:, nodes]
    parts = [off[..., 4:7], SO3(off[..., :4]).log()]
    if kind is Sim3:
        parts.append(torch.log(off[..., 7:]))
    errors = torch.cat(parts, dim=-1).numpy().reshape(runs, -1)

    exact = optimize_pose_graph(make.measured(truth, first, second, SIGMA[kind]), PoseGraphOptions(start=Start.GUESS))
    joint = exact.joint_covariance(nodes)
    each = exact.covariance(nodes)
    np.testing.assert_allclose(joint[:dim, :dim], each[0], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(joint[dim:, dim:], each[1], rtol=1e-9, atol=1e-15)
    white = np.linalg.solve(np.linalg.cholesky(joint), errors.T)
    # Whitened by what is stated, errors have unit variance: chi squared over all, and no direction stands out.
    assert (white**2).mean() == pytest.approx(1.0, abs=5.0 * np.sqrt(2.0 / white.size))
    spread = np.linalg.eigvalsh(np.cov(white))
    edge = np.sqrt(2 * dim / runs)
    assert (1.0 - edge) ** 2 - 0.1 < spread[0]
    assert spread[-1] < (1.0 + edge) ** 2 + 0.1
