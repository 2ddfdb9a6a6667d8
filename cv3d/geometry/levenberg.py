"""Levenberg-Marquardt on problems with arrow structure (see `cv3d.geometry.arrow`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from cv3d.geometry.arrow import ArrowSystem

State = TypeVar("State")


class ArrowProblem(Protocol[State]):
    """A sum of squares over a state with shared and per-block unknowns. The state's type is the problem's own."""

    def linearize(self, state: State) -> ArrowSystem:
        """Cost and normal equations at `state`; a cost of infinity or NaN marks a state outside the domain."""

    def retract(self, state: State, shared_step: Tensor, block_steps: Tensor) -> State:
        """The state moved by a tangent step, `shared_step` (K,) and `block_steps` (V, B)."""


@dataclass(frozen=True)
class LmOptions:
    """When to stop, and where to start."""

    max_iterations: int = 100
    relative_decrease: float = 1e-12
    """Stop when an accepted step lowers the cost by less than this fraction of it."""
    gradient: float = 1e-12
    """Stop when no gradient component exceeds this fraction of (1 + cost)."""
    initial_damping: float = 1e-3


@dataclass(frozen=True)
class LmResult(Generic[State]):
    """The minimiser and how it was reached."""

    state: State
    system: ArrowSystem
    """Normal equations at `state`."""
    iterations: int
    """Linearisations made, rejected trials included."""
    converged: bool
    """Whether a stopping test was met before the iterations ran out."""


def levenberg_marquardt(
    problem: ArrowProblem[State], state: State, options: LmOptions | None = None
) -> LmResult[State]:
    """Minimise a problem from `state`.

    Damping follows Nielsen 1999, "Damping parameter in Marquardt's method". The trial point is linearised at once,
    because in the well-posed problems this serves almost every step is accepted.

    Args:
        problem: gives the normal equations and moves the state.
        state: where to start; its cost must be finite.
        options: stopping tests.

    Returns:
        The best state found, its normal equations and whether it converged.
    """
    options = options or LmOptions()
    system = problem.linearize(state)
    damping, growth = options.initial_damping, 2.0
    for iteration in range(1, options.max_iterations + 1):
        if system.gradient_norm() <= options.gradient * (1.0 + system.cost):
            return LmResult(state, system, iteration, True)
        step = system.solve(damping)
        if step is None:
            damping, growth = damping * growth, growth * 2.0
            if not math.isfinite(damping):
                return LmResult(state, system, iteration, False)
            continue
        predicted = system.predicted_decrease(*step)
        trial = problem.retract(state, *step)
        trial_system = problem.linearize(trial)
        actual = system.cost - trial_system.cost
        if math.isfinite(trial_system.cost) and actual > 0.0 and predicted > 0.0:
            small = actual <= options.relative_decrease * system.cost
            state, system = trial, trial_system
            ratio = actual / predicted
            damping = max(damping * max(0.1, 1.0 - (2.0 * ratio - 1.0) ** 3), 1e-15)
            growth = 2.0
            if small:
                return LmResult(state, system, iteration, True)
        else:
            if abs(predicted) <= options.relative_decrease * system.cost:
                return LmResult(state, system, iteration, True)
            damping, growth = damping * growth, growth * 2.0
            if damping > _MAX_DAMPING:
                return LmResult(state, system, iteration, True)
    return LmResult(state, system, options.max_iterations, False)


_MAX_DAMPING = 1e16
