"""Corners keep their distance, are the strong ones, and are the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.odometry.corners import find_corners
from cv3d.odometry.patches import build_levels

from .simulated import Texture, rounded

SIZE = (320, 240)
LEVELS = build_levels(rounded(Texture.random(2).picture(SIZE)))
NONE = np.zeros((0, 2), np.float32)


def nearest(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    apart = np.linalg.norm(first[:, None] - second[None], axis=2)
    if first is second:
        apart += np.diag(np.full(len(first), np.inf))
    return apart.min(1)


@pytest.mark.parametrize("distance", [6.0, 12.0, 37.5])
def test_corners_keep_their_distance(distance: float) -> None:
    taken = np.random.default_rng(0).uniform(-5.0, [325.0, 245.0], (40, 2)).astype(np.float32)
    found = find_corners(LEVELS, taken, 500, distance)
    assert len(found) > 10
    assert nearest(found, found).min() >= distance
    assert nearest(found, taken).min() >= distance
    assert (found >= 10.0).all()
    assert (found <= np.array(SIZE) - 11.0).all()


def test_no_more_than_asked_for_and_always_the_same() -> None:
    all_of_them = find_corners(LEVELS, NONE, 1000, 10.0)
    for count in (0, 1, 7):
        assert np.array_equal(find_corners(LEVELS, NONE, count, 10.0), all_of_them[:count])
    assert find_corners(LEVELS, NONE, -3, 10.0).shape == (0, 2)
    assert np.array_equal(find_corners(LEVELS, NONE, 1000, 10.0), all_of_them)


def test_the_corners_of_a_square_are_found_where_they_are() -> None:
    picture = np.full((240, 320), 60.0)
    picture[80:160, 100:220] = 180.0
    found = find_corners(build_levels(rounded(picture)), NONE, 10, 12.0)
    truth = np.array([[99.5, 79.5], [219.5, 79.5], [99.5, 159.5], [219.5, 159.5]], np.float32)
    assert len(found) == 4
    assert nearest(truth, found).max() < 3.0


def test_strong_corners_come_first() -> None:
    picture = np.full((240, 320), 60.0)
    picture[40:70, 40:70] = 90.0
    picture[150:180, 200:230] = 220.0
    found = find_corners(build_levels(rounded(picture)), NONE, 20, 12.0)
    assert (found[:4, 0] > 190.0).all()
    assert (found[4:8, 0] < 80.0).all()


def test_a_flat_or_merely_noisy_picture_has_none() -> None:
    assert len(find_corners(build_levels(np.full((240, 320), 100, np.uint8)), NONE, 100, 12.0)) == 0
    noise = np.random.default_rng(0).normal(100.0, 1.0, (240, 320))
    assert len(find_corners(build_levels(rounded(noise)), NONE, 100, 12.0)) == 0


def test_one_level_is_enough() -> None:
    assert len(find_corners(LEVELS[:1], NONE, 50, 12.0)) == 50
