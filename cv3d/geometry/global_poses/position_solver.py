"""Levenberg and Marquardt on centres, points and scales of one connected set of cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from cv3d.errors import EstimationError
from cv3d.geometry.bundle.kernels import HUBER
from cv3d.geometry.global_poses.position_kernels import angles_to, moved_along, positioning_cost, reduced_equations

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEAST_SCALE = 1e-5
_FIRST_DAMPING = 1e-2
_LEAST_DAMPING = 1e-9
_MOST_DAMPING = 1e8
_NOTHING = 1e-20


@dataclass(frozen=True, eq=False)
class Positions:
    """A state of the search."""

    centres: Floats
    """(n, 3)."""
    points: Floats
    """(p, 3)."""
    scales: Floats
    """Inverse distances, (m,)."""


@dataclass(frozen=True, eq=False)
class PositionProblem:
    """Rays in the world's frame, by point."""

    image: Ints
    """(m,)."""
    track: Ints
    """(m,), ascending."""
    rays: Floats
    """(m, 3)."""
    images: int
    tracks: int

    @property
    def starts(self) -> Ints:
        """Where each point's observations start, (p + 1,)."""
        return np.searchsorted(self.track, np.arange(self.tracks + 1))

    def cost(self, at: Positions, kind: int, width: float) -> float:
        """Sum of the robust squared residuals."""
        return positioning_cost(self.image, self.track, self.rays, at.centres, at.points, at.scales, kind, width)

    def angles(self, at: Positions) -> Floats:
        """Angles between rays and directions to their points, (m,), radians."""
        out = np.empty(len(self.image))
        angles_to(self.image, self.track, self.rays, at.centres, at.points, out)
        return out


@dataclass(frozen=True)
class Loss:
    """A loss, as the kernels number them, with its width."""

    kind: int
    width: float


def at_one_distance(problem: PositionProblem) -> Positions:
    """Centres and points that fit best when all scales are one: every point is as far from all that see it.

    With known scales the problem is linear, and one undamped step from zero solves it.

    Raises:
        EstimationError: the rays are so few or so strange that the problem is singular.
    """
    zero = Positions(np.zeros((problem.images, 3)), np.zeros((problem.tracks, 3)), np.ones(len(problem.image)))
    found = step_from(problem, zero, Loss(HUBER, 10.0), _LEAST_DAMPING)
    if found is None:
        raise EstimationError("the rays leave cameras open: give more points that several cameras see")
    return found


def at_random(problem: PositionProblem, seed: int) -> Positions:
    """Centres and points anywhere, all scales one."""
    rng = np.random.default_rng(seed)
    return Positions(
        rng.uniform(-1.0, 1.0, (problem.images, 3)),
        rng.uniform(-1.0, 1.0, (problem.tracks, 3)),
        np.ones(len(problem.image)),
    )


@dataclass(frozen=True, eq=False)
class Descended:
    """Where a search ended."""

    at: Positions
    cost: float
    iterations: int
    converged: bool


def descend(
    problem: PositionProblem, at: Positions, loss: Loss, iterations: int, relative_decrease: float
) -> Descended:
    """Minimise the robust sum from a start."""
    damping = _FIRST_DAMPING
    cost = problem.cost(at, loss.kind, loss.width)
    for iteration in range(1, iterations + 1):
        trial = step_from(problem, at, loss, damping)
        trial_cost = np.inf if trial is None else problem.cost(trial, loss.kind, loss.width)
        if trial is None or not trial_cost < cost:
            damping *= 6.0
            if damping > _MOST_DAMPING:
                return Descended(at, cost, iteration, True)
            continue
        decrease = cost - trial_cost
        at, cost, damping = _rescaled(trial), trial_cost, max(damping / 5.0, _LEAST_DAMPING)
        if decrease <= relative_decrease * cost or cost < _NOTHING * len(problem.image):
            return Descended(at, cost, iteration, True)
    return Descended(at, cost, iterations, False)


def step_from(problem: PositionProblem, at: Positions, loss: Loss, damping: float) -> Positions | None:
    """The state after one step of Levenberg and Marquardt; None where the equations are singular."""
    starts = problem.starts
    blocks, inverses = np.empty((len(problem.image), 3, 3)), np.empty((problem.tracks, 3, 3))
    gradients = np.empty((problem.tracks, 3))
    size = 3 * problem.images
    matrix, right = np.zeros((size, size)), np.zeros(size)
    reduced_equations(
        starts, problem.image, problem.rays, at.centres, at.points, at.scales, loss.kind, loss.width, damping,
        blocks, inverses, gradients, matrix, right,
    )  # fmt: skip
    # The first centre stays where it is; a turn of the whole is no unknown, and its size is held by the damping.
    free = matrix[3:, 3:]
    diagonal = np.einsum("ii->i", free)
    diagonal *= 1.0 + damping
    diagonal += _LEAST_DAMPING * max(float(diagonal.max(initial=0.0)), _LEAST_DAMPING)
    steps = np.zeros((problem.images, 3))
    try:
        factor = cho_factor(free, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
    steps[1:] = cho_solve(factor, right[3:], check_finite=False).reshape(-1, 3)
    points, scales = np.empty_like(at.points), np.empty_like(at.scales)
    moved_along(
        starts, problem.image, problem.rays, at.centres, at.points, at.scales, steps, blocks, inverses, gradients,
        damping, _LEAST_SCALE, points, scales,
    )  # fmt: skip
    return Positions(at.centres + steps, points, scales)


def _rescaled(at: Positions) -> Positions:
    """The same with points one unit off in the middle, which the cost does not see but the damping does."""
    unit = float(np.median(at.scales))
    return Positions(at.centres * unit, at.points * unit, at.scales / unit)
