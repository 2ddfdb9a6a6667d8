"""Matches that their neighbours confirm, and sampling from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cv3d.geometry.two_view import TwoViewOptions, estimate_two_view, locally_consistent


def scene(inliers: int, outliers: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Matches of a turned and shrunk picture of a bumpy surface, followed by false ones."""
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.uniform(-1.0, 1.0, (inliers, 2)), rng.uniform(2.5, 3.5, inliers)])
    angle = 0.7
    turn = np.array([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0], [0, 0, 1.0]])
    moved = points @ turn.T + [0.4, 0.1, 0.8]
    seen = [
        600.0 * cloud[:, :2] / cloud[:, 2:] + 400.0 + rng.normal(0.0, 0.3, (inliers, 2)) for cloud in (points, moved)
    ]
    false = rng.uniform(200.0, 600.0, (2, outliers, 2))
    return np.vstack([seen[0], false[0]]), np.vstack([seen[1], false[1]])


def test_true_matches_pass_and_most_false_ones_do_not() -> None:
    passed = locally_consistent(*scene(300, 300))
    assert passed[:300].mean() > 0.9
    assert passed[300:].mean() < 0.35


def test_rotation_scale_and_order_do_not_matter() -> None:
    points0, points1 = scene(100, 100)
    order = np.random.default_rng(1).permutation(200)
    expected = locally_consistent(points0, points1)
    turned = points1 @ np.array([[0.0, -3.0], [3.0, 0.0]])
    assert np.array_equal(locally_consistent(points0[order], turned[order]), expected[order])


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_matches_have_no_neighbours(count: int) -> None:
    points = np.arange(2.0 * count).reshape(count, 2)
    assert locally_consistent(points, points).sum() == (count if count >= 3 else 0)


def test_points_in_one_place_are_each_others_neighbours() -> None:
    assert locally_consistent(np.zeros((30, 2)), np.zeros((30, 2))).shape == (30,)


def test_sampling_among_likely_matches_finds_what_few_samples_of_all_miss() -> None:
    points0, points1 = scene(60, 400, seed=3)
    options = TwoViewOptions(max_samples=300)
    likely = locally_consistent(points0, points1)
    assert not estimate_two_view(points0, points1, options=options).verified
    found = estimate_two_view(points0, points1, options=options, likely=likely)
    assert found.verified
    assert found.inliers[:60].mean() > 0.8


def test_support_is_counted_among_all_matches() -> None:
    points0, points1 = scene(200, 50)
    likely = np.arange(250) < 40
    found = estimate_two_view(points0, points1, likely=likely)
    assert found.inliers[:200].mean() > 0.9
    assert len(found.inliers) == 250


def test_unrelated_pictures_are_given_up_with_their_figure() -> None:
    points0, points1 = scene(0, 400)
    found = estimate_two_view(points0, points1, options=TwoViewOptions(give_up_above=3.0, max_samples=1000))
    assert not found.verified
    assert found.log10_false_alarms > 3.0
    assert "unrelated" in found.reason


def test_related_pictures_are_not_given_up() -> None:
    points0, points1 = scene(150, 150)
    bounded = estimate_two_view(points0, points1, options=TwoViewOptions(give_up_above=3.0))
    free = estimate_two_view(points0, points1)
    assert bounded.verified
    assert np.array_equal(bounded.inliers, free.inliers)


def test_a_mask_of_another_length_is_refused() -> None:
    points0, points1 = scene(20, 0)
    with pytest.raises(ValueError, match="mask"):
        estimate_two_view(points0, points1, likely=np.ones(19, bool))
