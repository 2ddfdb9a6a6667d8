"""Benchmark graphs of the literature, held to the optima that are known for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cv3d.formats.g2o import read_g2o
from cv3d.geometry.pose_graph import PoseGraph, PoseGraphOptions, RotationError, Start, optimize_pose_graph
from cv3d.geometry.transforms import SE3

SE_SYNC = {"sphere2500": 1687.0, "parking-garage": 1.263}
"""Certified optima: Rosen et al. 2019, "SE-Sync", IJRR 38(2-3), table 2 (sphere, garage)."""


def se_sync(graph: PoseGraph[SE3]) -> tuple[PoseGraph[SE3], Callable[[SE3], float]]:
    """The graph with SE-Sync's isotropic precisions, and its objective.

    The objective is sum kappa |R_j - R_i R_ij|_F^2 + tau |t_j - t_i - R_i t_ij|^2 with tau = 3 / tr(cov t) and
    kappa = 3 / (2 tr(cov R)). A rotation by an angle a is 8 sin^2(a / 2) away from none in the Frobenius norm, which is
    eight times the quaternion's imaginary part squared.
    """

    def mean(block: slice) -> torch.Tensor:
        return 3.0 / torch.einsum("eii->e", torch.linalg.inv(graph.information[:, block, block]))

    tau, kappa = mean(slice(0, 3)), 0.5 * mean(slice(3, 6))
    information = torch.zeros_like(graph.information)
    information[:, range(6), range(6)] = torch.stack([tau] * 3 + [2.0 * kappa] * 3, dim=-1)

    def objective(poses: SE3) -> float:
        first, second = torch.from_numpy(graph.first), torch.from_numpy(graph.second)
        rotation, translation = poses.rotation().as_matrix(), poses.translation()
        motion = graph.first_from_second
        turn = rotation[second] - rotation[first] @ motion.rotation().as_matrix()
        shift = translation[second] - poses[first].apply(motion.translation())
        return float((kappa * turn.square().sum(dim=(-2, -1)) + tau * shift.square().sum(dim=-1)).sum())

    return replace(graph, information=information), objective


@pytest.mark.parametrize("name", ["parking-garage", pytest.param("sphere2500", marks=pytest.mark.slow)])
def test_the_certified_optimum_is_reached(name: str, data_root: Path) -> None:
    graph = read_g2o(data_root / "graphs" / f"{name}.g2o", RotationError.VECTOR).graph
    isotropic, objective = se_sync(graph)
    options = PoseGraphOptions(rotation_error=RotationError.QUATERNION, relative_decrease=1e-13)
    found = optimize_pose_graph(isotropic, options)
    assert found.converged
    assert objective(found.world_from_node) == pytest.approx(2.0 * found.cost, rel=1e-9)
    assert objective(found.world_from_node) == pytest.approx(SE_SYNC[name], rel=5e-4)
    scale = np.sqrt(found.system.scaling() * found.cost)
    assert (np.abs(found.system.gradient) < 1e-6 * scale).all()


@pytest.mark.slow
def test_chi_squared_of_the_sphere_is_that_of_g2o(data_root: Path) -> None:
    """727.15 with g2o's own errors, as its users print it; GTSAM reads the same file as 2 x 675.7."""
    path = data_root / "graphs" / "sphere2500.g2o"
    quaternion = optimize_pose_graph(read_g2o(path).graph, PoseGraphOptions(rotation_error=RotationError.QUATERNION))
    assert round(float(quaternion.chi2.sum()), 2) == 727.15
    vector = optimize_pose_graph(read_g2o(path, RotationError.VECTOR).graph)
    assert vector.cost == pytest.approx(675.70, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("start", [Start.GUESS, Start.TREE])
def test_every_start_leads_to_the_garages_optimum(start: Start, data_root: Path) -> None:
    graph = read_g2o(data_root / "graphs" / "parking-garage.g2o").graph
    best = optimize_pose_graph(graph)
    other = optimize_pose_graph(graph, PoseGraphOptions(start=start))
    assert other.start_cost > 10.0 * best.start_cost
    assert other.cost == pytest.approx(best.cost, rel=1e-6)


@pytest.mark.slow
def test_the_sphere_is_found_without_any_guess(data_root: Path) -> None:
    graph = read_g2o(data_root / "graphs" / "sphere2500.g2o").graph
    nowhere = graph.with_poses(SE3.identity((len(graph),), dtype=torch.float64))
    found = optimize_pose_graph(nowhere)
    assert found.cost == pytest.approx(363.6194, rel=1e-5)
