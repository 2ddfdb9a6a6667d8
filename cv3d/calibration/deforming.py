"""Whether the pictures show that the board bends or is stretched.

Bending is estimated where it lowers the held-out error. A stretch must be told from pixels that are not square, which
look the same as long as the board is not turned in its plane between pictures, and from what a lens model does not
quite explain. So it must first be clear against both, to first order, with everything else free; then it is solved for,
and must lower the held-out error as well.
"""

from __future__ import annotations

import numpy as np

from cv3d.calibration.checks.freedom import free_for_all, tangents
from cv3d.calibration.deformation import STRETCH, Deformation
from cv3d.calibration.problem import Observations
from cv3d.calibration.selection import warp_helps
from cv3d.calibration.solving import Solution, solve
from cv3d.geometry.levenberg import LmOptions

LEAST_STRETCH = 0.001
"""No board is made better than that; a smaller stretch is not worth a parameter."""
STRETCH_SIGMAS = 5.0
_MOST_DOUBT = 0.005
"""Standard deviation beyond which pictures do not tell a stretched board from pixels that are not square."""
_FULL = LmOptions(max_iterations=300, relative_decrease=1e-11)


def judge_deformation(
    observations: Observations, plain: Solution, known: Deformation, size: tuple[int, int], rng: np.random.Generator
) -> Deformation:
    """Which modes of the board's deformation the pictures call for.

    Args:
        observations: corners of V views.
        plain: a solution with the board as drawn.
        known: what is to be estimated in any case.
        size: width and height of the image, pixels.
        rng: deals the views to folds.

    Returns:
        What is to be estimated.
    """
    begin = _with(observations, plain, known) if known else plain
    best = _with_stretch(observations, begin, size, rng) or begin
    if Deformation.BENT not in known:
        bent = _with(observations, best, best.state.deformation | Deformation.BENT)
        if warp_helps(observations, best, bent, rng):
            # What a flat board left unexplained may have hidden a stretch.
            stretched = best is not begin
            best = bent if stretched else _with_stretch(observations, bent, size, rng) or bent
    return best.state.deformation


def stretch_stands(observations: Observations, solution: Solution, size: tuple[int, int]) -> bool:
    """Whether the stretch that a solution has, if any, is clear beyond noise and misfit.

    Args:
        observations: the corners that it was fitted to.
        solution: a calibration at its minimum.
        size: width and height of the image, pixels.
    """
    if Deformation.STRETCHED not in solution.state.deformation:
        return True
    std = float(free_for_all(tangents(observations, solution, *size), "stretch").std[0])
    return clear_stretch(float(solution.state.warp[STRETCH]), std)


def clear_stretch(stretch: float, std: float) -> bool:
    """Whether a stretch of that standard deviation is told from none, and large enough to matter."""
    return std <= _MOST_DOUBT and abs(stretch) >= max(LEAST_STRETCH, STRETCH_SIGMAS * std)


def _with_stretch(
    observations: Observations, solution: Solution, size: tuple[int, int], rng: np.random.Generator
) -> Solution | None:
    """The solution with the stretch estimated; None where that is not called for."""
    left = free_for_all(tangents(observations, solution, *size), "stretch")
    if not clear_stretch(float(left.step[0]), float(left.std[0])):
        return None
    stretched = _with(observations, solution, solution.state.deformation | Deformation.STRETCHED)
    stands = stretch_stands(observations, stretched, size)
    return stretched if stands and warp_helps(observations, solution, stretched, rng) else None


def _with(observations: Observations, solution: Solution, deformation: Deformation) -> Solution:
    return solve(observations, solution.model, solution.state, deformation=deformation, options=_FULL)
