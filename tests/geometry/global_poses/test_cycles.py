"""Triangles of relative rotations: against plain products, and what they say of wrong edges."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.geometry.global_poses import consistent_edges, cycle_errors


def relations(count: int, share: float, noise_deg: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges, either way round, and their relative rotations."""
    rng = np.random.default_rng(seed)
    truth = Rotation.random(count, rng=rng).as_matrix()
    pairs = np.array([pair[:: rng.choice([1, -1])] for pair in combinations(range(count), 2) if rng.uniform() < share])
    noise = Rotation.from_rotvec(np.radians(noise_deg) * rng.normal(size=(len(pairs), 3))).as_matrix()
    return pairs, noise @ truth[pairs[:, 1]] @ truth[pairs[:, 0]].transpose(0, 2, 1)


def test_statistics_are_those_of_all_triangles() -> None:
    edges, rotations = relations(12, 0.6, 3.0, 0)
    turn = {(a, b): r for (a, b), r in zip(edges.tolist(), rotations, strict=True)}
    turn |= {(b, a): r.T for (a, b), r in turn.items()}
    angles: list[list[float]] = [[] for _ in edges]
    for e, (a, b) in enumerate(edges.tolist()):
        for c in range(12):
            if (b, c) in turn and (c, a) in turn:
                around = Rotation.from_matrix(turn[c, a] @ turn[b, c] @ turn[a, b])
                angles[e].append(np.degrees(around.magnitude()))
    found = cycle_errors(edges, rotations, 12, limit_deg=6.0)
    np.testing.assert_array_equal(found.triplets, [len(each) for each in angles])
    np.testing.assert_array_equal(found.good, [(np.array(each) <= 6.0).sum() for each in angles])
    np.testing.assert_allclose(found.lowest_deg, [min(each, default=np.nan) for each in angles], atol=1e-6)
    np.testing.assert_allclose(found.median_deg, [np.median(each) if each else np.nan for each in angles], atol=1e-6)


def test_edges_in_no_triangle_are_not_suspect() -> None:
    edges, rotations = np.array([[0, 1], [1, 2], [2, 3]]), Rotation.random(3, rng=np.random.default_rng(0)).as_matrix()
    found = cycle_errors(edges, rotations, 4)
    assert (found.triplets == 0).all()
    assert np.isnan(found.median_deg).all()
    np.testing.assert_array_equal(found.good_share, 0.5)
    assert not found.suspects().any()
    assert consistent_edges(edges, rotations, 4).all()


@pytest.mark.parametrize("wrong_share", [0.1, 0.2, 0.3])
def test_wrong_edges_go_and_right_ones_stay(wrong_share: float) -> None:
    rng = np.random.default_rng(1)
    edges, rotations = relations(40, 0.5, 1.0, 2)
    wrong = rng.uniform(size=len(edges)) < wrong_share
    rotations[wrong] = Rotation.random(int(wrong.sum()), rng=rng).as_matrix()
    stay = consistent_edges(edges, rotations, 40)
    assert stay[wrong].mean() < 0.03
    assert stay[~wrong].mean() > 0.97


def test_a_look_alike_place_contradicts_its_surroundings() -> None:
    """Two fronts of a building look the same, and four pairs of pictures pass for one place that are none."""
    rng = np.random.default_rng(3)
    truth = Rotation.from_rotvec(np.linspace(0.0, np.pi, 30)[:, None] * [0.0, 1.0, 0.0]).as_matrix()
    near = np.array([(a, b) for a, b in combinations(range(30), 2) if b - a <= 6])
    alike = np.array([(3, 23), (3, 24), (4, 24), (7, 27)])
    noise = Rotation.from_rotvec(np.radians(0.5) * rng.normal(size=(len(near) + len(alike), 3))).as_matrix()
    relative = truth[near[:, 1]] @ truth[near[:, 0]].transpose(0, 2, 1)
    seen = truth[alike[:, 1] - 20] @ truth[alike[:, 0]].transpose(0, 2, 1)
    # They bear each other out, but there is nothing between the places that does.
    errors = cycle_errors(np.concatenate([near, alike]), noise @ np.concatenate([relative, seen]), 30)
    assert errors.lowest_deg[: len(near)].max() < 5.0
    assert (errors.good[: len(near)] > 2).all()
    assert (errors.triplets[len(near) :] <= 2).all()
    # Pairs between the two that see the whole length of the building decide.
    across = np.array([(a, b) for a in range(10) for b in range(14, 30) if (a + b) % 3 == 0])
    across = across[~(across[:, None] == alike).all(axis=2).any(axis=1)]
    edges = np.concatenate([near, across, alike])
    relative = truth[edges[:, 1]] @ truth[edges[:, 0]].transpose(0, 2, 1)
    relative[-len(alike) :] = seen
    noise = Rotation.from_rotvec(np.radians(0.5) * rng.normal(size=(len(edges), 3))).as_matrix()
    stay = consistent_edges(edges, noise @ relative, 30)
    np.testing.assert_array_equal(np.flatnonzero(~stay), np.arange(len(edges) - len(alike), len(edges)))
