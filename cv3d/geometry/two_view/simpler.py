"""The fit of a model that would explain matches more simply than an epipolar geometry does."""

from __future__ import annotations

from typing import TypeVar

from cv3d.geometry.robust_fit import Movable, Problem, Support, fit_support

Simple = TypeVar("Simple", bound=Movable)

_NEAR = 3.0
"""Error over the largest allowed that a start may leave."""
DOMINANT = 0.4
"""Share of a geometry's inliers near a homography or a rotation from which on it may explain all of them."""


def fit_simpler(
    problem: Problem[Simple], start: Simple, general: Support[Movable] | None, max_error: float, least: int
) -> Support[Simple] | None:
    """Fit a homography or a rotation near a start, where it has a chance to explain what the general model does.

    Args:
        problem: the matches.
        start: the model from sample consensus.
        general: the epipolar geometry of the matches; None where there is none.
        max_error: largest error of an inlier, pixels.
        least: fewest inliers.

    Returns:
        The fit; None where it has too few inliers, or where its start is far from most of the general model's.
    """
    if general is not None:
        near = problem.errors(start)[general.inliers] <= _NEAR * max_error
        if int(near.sum()) < DOMINANT * general.count:
            return None
    return fit_support(problem, start, max_error, least)
