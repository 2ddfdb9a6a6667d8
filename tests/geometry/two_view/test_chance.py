"""What chance explains of a two-view model's support."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.geometry.two_view.chance import chance_of_inlier, distinct_matches, extents_of


def test_places_are_counted_once_in_the_picture_with_fewer() -> None:
    rng = np.random.default_rng(0)
    places0, places1 = rng.uniform(-50.0, 50.0, (2, 300, 2))
    gate = 4.0
    expected = min(len({(x, y) for x, y in np.floor(places / (2.0 * gate))}) for places in (places0, places1))
    assert distinct_matches(places0, places1, gate) == expected < 170
    assert distinct_matches(places0, np.zeros((300, 2)), gate) == 1
    assert distinct_matches(places0[:0], places1[:0], gate) == 0


def test_places_that_swap_their_coordinates_are_two() -> None:
    places = np.array([[10.0, 90.0], [90.0, 10.0], [90.0, 90.0]])
    assert distinct_matches(places, places, 1.0) == 3


@pytest.mark.parametrize("dims", [1, 2])
def test_random_points_agree_as_often_as_chance_says(dims: int) -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(0.0, [640.0, 480.0], (200000, 2))
    gate, reach = 5.0, 5.0 * np.sqrt(2.0)
    extents = extents_of(points, points)
    np.testing.assert_allclose(extents, [[640.0, 480.0]] * 2, atol=0.1)
    # The line with the most points beside it is the diagonal, counted at its full length.
    off = np.abs(points @ [480.0, -640.0]) / 800.0 if dims == 1 else np.linalg.norm(points - [320.0, 240.0], axis=1)
    share = float((off <= reach).mean())
    assert share == pytest.approx(chance_of_inlier(gate, dims, extents), rel=0.1)
