"""Averages of relative rotations: known ones are found, wrong edges told apart, parts kept apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.errors import InputError
from cv3d.formats.posed_pictures import read_posed_pictures
from cv3d.geometry.global_poses import RotationAverage, average_rotations


def measured(
    truth: np.ndarray, edges: np.ndarray, noise_deg: float, wrong: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Relative rotations with noise of so many degrees about each axis; those that are wrong are any."""
    rng = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(np.radians(noise_deg) * rng.normal(size=(len(edges), 3))).as_matrix()
    relative = turns @ truth[edges[:, 1]] @ truth[edges[:, 0]].transpose(0, 2, 1)
    if wrong is not None:
        relative[wrong] = Rotation.random(int(wrong.sum()), rng=rng).as_matrix()
    return relative


def errors_deg(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Angles to the truth, the world's frame being free."""
    world = Rotation.from_matrix(found.transpose(0, 2, 1) @ truth)
    return np.degrees((world * world.mean().inv()).magnitude())


def graph(count: int, edges: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and edges picked at random, with a chain that connects them."""
    rng = np.random.default_rng(seed)
    pairs = np.stack(np.triu_indices(count, 2), axis=1)
    picked = pairs[rng.choice(len(pairs), min(edges, len(pairs)), replace=False)]
    chain = np.stack([np.arange(count - 1), np.arange(1, count)], axis=1)
    return Rotation.random(count, rng=rng).as_matrix(), np.concatenate([chain, picked])


def averaged(edges: np.ndarray, relative: np.ndarray, count: int) -> RotationAverage:
    return average_rotations(edges, relative, np.ones(len(edges)), count)


@pytest.mark.parametrize(("count", "edges"), [(2, 0), (3, 1), (10, 20), (60, 400)])
def test_exact_measurements_give_exact_rotations(count: int, edges: int) -> None:
    truth, pairs = graph(count, edges)
    found = averaged(pairs, measured(truth, pairs, 0.0), count)
    assert errors_deg(found.rotations, truth).max() < 1e-6
    assert found.residuals.max() < 1e-8
    assert found.inliers.all()
    assert found.converged
    assert (found.component == 0).all()


def test_direction_of_edges_is_of_no_consequence() -> None:
    truth, pairs = graph(30, 100)
    relative = measured(truth, pairs, 1.0)
    turned = np.arange(len(pairs)) % 2 == 0
    swapped = np.where(turned[:, None], pairs[:, ::-1], pairs)
    other = averaged(swapped, np.where(turned[:, None, None], relative.transpose(0, 2, 1), relative), 30)
    found = averaged(pairs, relative, 30)
    assert errors_deg(found.rotations, other.rotations).max() < 1e-4


@pytest.mark.parametrize(
    ("count", "edges", "share"),
    [
        (40, 300, 0.3),
        pytest.param(500, 20_000, 0.3, marks=pytest.mark.slow),
        pytest.param(500, 20_000, 0.6, marks=pytest.mark.slow),
    ],
)
def test_wrong_edges_are_told_apart(count: int, edges: int, share: float) -> None:
    truth, pairs = graph(count, edges, seed=1)
    wrong = np.random.default_rng(2).uniform(size=len(pairs)) < share
    found = averaged(pairs, measured(truth, pairs, 1.0, wrong), count)
    alone = averaged(pairs[~wrong], measured(truth, pairs, 1.0, wrong)[~wrong], count)
    assert errors_deg(found.rotations, truth).max() < 2.5
    assert errors_deg(found.rotations, alone.rotations).max() < 0.4
    assert found.inliers[~wrong].mean() > 0.98
    assert found.inliers[wrong].mean() < 0.01
    assert found.converged


def test_wrong_edges_with_most_matches_do_not_lead_astray() -> None:
    truth, pairs = graph(40, 300, seed=3)
    wrong = np.random.default_rng(2).uniform(size=len(pairs)) < 0.3
    found = average_rotations(pairs, measured(truth, pairs, 1.0, wrong), np.where(wrong, 3.0, 1.0), 40)
    assert errors_deg(found.rotations, truth).max() < 3.0


def test_deviation_is_the_spread_of_many_runs() -> None:
    truth, pairs = graph(12, 25, seed=4)
    stated, off = [], []
    for seed in range(30):
        found = averaged(pairs, measured(truth, pairs, 1.0, seed=seed), 12)
        root = int(np.flatnonzero(found.deviation == 0.0)[0])
        world = truth[root].T @ found.rotations[root]
        off.append(Rotation.from_matrix(found.rotations @ world.T @ truth.transpose(0, 2, 1)).as_rotvec())
        stated.append(found.deviation)
    spread = np.sqrt((np.array(off) ** 2).mean(axis=(0, 2)))
    others = spread > 1e-9
    assert others.sum() == 11
    ratio = np.mean(stated, axis=0)[others] / spread[others]
    assert 0.85 < ratio.mean() < 1.2
    assert 0.7 < ratio.min() < ratio.max() < 1.45


def test_precise_edges_count_for_more() -> None:
    truth, pairs = graph(12, 40, seed=5)
    sharp = np.arange(len(pairs)) % 2 == 0
    noisy = np.where(sharp[:, None, None], measured(truth, pairs, 0.1), measured(truth, pairs, 1.0))
    weighted = average_rotations(pairs, noisy, np.where(sharp, 100.0, 1.0), 12)
    plain = averaged(pairs, noisy, 12)
    assert errors_deg(weighted.rotations, truth).mean() < 0.6 * errors_deg(plain.rotations, truth).mean()


def test_parts_are_averaged_apart_and_loose_nodes_named() -> None:
    truth, pairs = graph(10, 20)
    edges = np.concatenate([pairs + 12, pairs[pairs.max(axis=1) < 4]])
    rotations = np.concatenate([truth, truth[:2], truth])
    found = averaged(edges, measured(rotations, edges, 0.0), 22)
    assert (found.component[12:] == 0).all()
    assert (found.component[:4] == 1).all()
    assert (found.component[4:12] == -1).all()
    assert np.isnan(found.rotations[4:12]).all()
    assert np.isnan(found.deviation[4:12]).all()
    for part in (slice(0, 4), slice(12, 22)):
        assert errors_deg(found.rotations[part], rotations[part]).max() < 1e-6


def test_parts_that_only_a_wrong_edge_joins_come_apart() -> None:
    """Two bridges that contradict each other: one is believed at most, and a third decides between them."""
    truth, pairs = graph(6, 9, seed=6)
    both = np.concatenate([truth, truth])
    edges = np.concatenate([pairs, pairs + 6, [[0, 6], [1, 7], [2, 8]]])
    relative = measured(both, edges, 0.1)
    relative[-1] = Rotation.from_rotvec([0.0, 1.5, 0.0]).as_matrix() @ relative[-1]
    found = averaged(edges, relative, 12)
    np.testing.assert_array_equal(np.flatnonzero(~found.inliers), [len(edges) - 1])
    assert errors_deg(found.rotations, both).max() < 1.0


def test_edges_of_no_weight_have_no_say() -> None:
    truth, pairs = graph(10, 20)
    relative = measured(truth, pairs, 1.0)
    weights = np.ones(len(pairs))
    weights[-3:] = 0.0
    found, without = average_rotations(pairs, relative, weights, 10), averaged(pairs[:-3], relative[:-3], 10)
    np.testing.assert_array_equal(found.rotations, without.rotations)
    assert np.isnan(found.residuals[-3:]).all()
    assert not found.inliers[-3:].any()


def test_no_edges_at_all() -> None:
    found = averaged(np.zeros((0, 2), dtype=np.int64), np.zeros((0, 3, 3)), 3)
    assert (found.component == -1).all()
    assert np.isnan(found.rotations).all()


def test_bad_arrays_are_named() -> None:
    truth, pairs = graph(5, 5)
    relative = measured(truth, pairs, 0.0)
    with pytest.raises(InputError, match="beyond the 4"):
        averaged(pairs, relative, 4)
    with pytest.raises(InputError, match="edge 0 is of node 2 and itself"):
        averaged(np.array([[2, 2]]), relative[:1], 5)
    with pytest.raises(InputError, match="edge 1 is not a rotation"):
        averaged(pairs, relative * np.where(np.arange(len(pairs)) == 1, -1.0, 1.0)[:, None, None], 5)
    relative[2] = np.nan
    with pytest.raises(InputError, match="edge 2 is not a rotation"):
        averaged(pairs, relative, 5)
    with pytest.raises(InputError, match="not negative"):
        average_rotations(pairs, measured(truth, pairs, 0.0), -np.ones(len(pairs)), 5)


@pytest.mark.parametrize("name", ["fox", "fountain-P11"])
def test_cameras_of_real_sets(data_root: Path, name: str, make: SimpleNamespace) -> None:
    """A quarter of the edges is wrong, and the others have a degree of noise."""
    posed = read_posed_pictures(data_root / "views" / name).pictures
    truth = np.stack([one.cam_from_world[:3, :3] for one in posed])
    count = len(truth)
    pairs = np.stack(np.triu_indices(count, 1), axis=1)
    facing = np.einsum("ni,ni->n", truth[pairs[:, 0], 2], truth[pairs[:, 1], 2]) > np.cos(np.radians(40.0))
    pairs = pairs[facing]
    wrong = np.random.default_rng(0).uniform(size=len(pairs)) < 0.25
    found = averaged(pairs, measured(truth, pairs, 1.0, wrong), count)
    assert errors_deg(found.rotations, truth).max() < 2.0
    assert found.inliers[wrong].mean() < 0.05
    assert found.inliers[~wrong].mean() > 0.97
