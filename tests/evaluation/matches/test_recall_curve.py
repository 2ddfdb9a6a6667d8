"""The area under the recall curve: exact, bounded, monotone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cv3d.evaluation.matches import area_under_recall

errors = st.lists(st.integers(0, 400).map(lambda n: n / 8.0) | st.just(math.inf), min_size=1, max_size=12)


def recall(values: np.ndarray, error: float, threshold: float) -> float:
    """The curve itself at one place, from its definition."""
    below = np.sort(values[values < threshold])
    return float(np.interp(error, [0.0, *below], np.arange(len(below) + 1) / len(values)))


@given(errors, st.floats(0.5, 60.0))
def test_it_is_the_integral_of_the_curve(listed: list[float], threshold: float) -> None:
    values = np.array(listed)
    # Between its corners the curve is linear, so that the trapezoid over a grid with the corners in it is exact; at a
    # corner with equal errors it jumps, which the two sides of the corner show.
    corners = np.unique([0.0, *values[values < threshold], threshold])
    grid = np.unique(np.concatenate([corners, np.nextafter(corners[1:], 0.0)]))
    heights = [recall(values, error, threshold) for error in grid]
    assert area_under_recall(listed, threshold) == pytest.approx(np.trapezoid(heights, grid) / threshold, abs=1e-9)


@given(errors, st.floats(0.5, 60.0))
def test_it_is_a_share_that_better_errors_raise(listed: list[float], threshold: float) -> None:
    area = area_under_recall(listed, threshold)
    assert 0.0 <= area <= 1.0
    assert area_under_recall([0.5 * error for error in listed], threshold) >= area - 1e-12
    assert area_under_recall([*listed, math.inf], threshold) <= area + 1e-12


@pytest.mark.parametrize(
    ("listed", "threshold", "area"),
    [
        ([0.0, 0.0], 5.0, 1.0),
        ([math.inf, math.nan], 5.0, 0.0),
        ([7.0], 5.0, 0.0),
        # One error in the middle: a triangle up to it, a plateau after it.
        ([2.0], 4.0, 0.75),
        # A quarter, by hand: the triangle to 1 of height 1/2, the plateau of 1/2 to 4.
        ([1.0, 8.0], 4.0, (0.25 + 1.5) / 4.0),
    ],
)
def test_by_hand(listed: list[float], threshold: float, area: float) -> None:
    assert area_under_recall(listed, threshold) == pytest.approx(area)


def test_nothing_and_nonsense() -> None:
    assert math.isnan(area_under_recall([], 5.0))
    with pytest.raises(ValueError, match="not negative"):
        area_under_recall([-1.0], 5.0)
    with pytest.raises(ValueError, match="positive"):
        area_under_recall([1.0], 0.0)
