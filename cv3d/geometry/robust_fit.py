"""Maximum-likelihood fit of a small model to measurements of which some are wrong.

The models here have a handful of unknowns and the measurements come by the thousand, so the normal equations are dense
and tiny. A problem gives its residuals in pixels; noise, inliers and covariance are found from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from cv3d.geometry.fused import fused

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_COVERED = 0.9973
"""Share of true matches that the inlier gate lets through: three sigma in one dimension."""
_ROUNDS = 3
_GATE_FLOOR = 0.25
"""The gate does not become tighter than this fraction of the largest error allowed."""
_LOSS_SIGMAS = 3.0
"""Scale of the Cauchy loss over the noise; keeps 98 % of the efficiency of least squares on Gaussian noise."""


class Movable(Protocol):
    """A model on a manifold."""

    @property
    def unknowns(self) -> int:
        """K, the dimension of the manifold."""

    def moved(self, step: Floats) -> Self:
        """The model after a tangent step, (K,)."""


Model = TypeVar("Model", bound=Movable)
Model_contra = TypeVar("Model_contra", bound=Movable, contravariant=True)
Model_co = TypeVar("Model_co", bound=Movable, covariant=True)


class Problem(Protocol[Model_contra]):
    """Measurements that a model explains, each with a residual of `dims` components in pixels."""

    @property
    def dims(self) -> int:
        """Components of one residual: its degrees of freedom under the true model."""

    def errors(self, model: Model_contra) -> Floats:
        """Residual norms of all measurements, (n,), pixels; infinite where the model rules the measurement out."""

    def linearize(self, model: Model_contra, chosen: Bools) -> tuple[Floats, Floats]:
        """Residuals (k, dims) of the chosen measurements and their derivatives by a tangent step (k, dims, K)."""


class NormalEquations(NamedTuple):
    """A robust problem around a model."""

    cost: float
    """Cauchy cost, square pixels."""
    hessian: Floats
    """(K, K), weighted."""
    gradient: Floats
    """(K,), of half the cost."""


class FusedProblem(Problem[Model_contra], Protocol[Model_contra]):
    """A problem that adds up its normal equations without the derivatives of single measurements."""

    def normal_equations(self, model: Model_contra, chosen: Bools, scale: float) -> NormalEquations:
        """The equations of the chosen measurements for a Cauchy loss of a scale in pixels."""


@dataclass(frozen=True, eq=False)
class Support(Generic[Model_co]):
    """A fitted model and the measurements that stand behind it."""

    model: Model_co
    errors: Floats
    """Residual norms of all measurements, (n,), pixels."""
    inliers: Bools
    """(n,)."""
    noise: float
    """Standard deviation of one residual component of the inliers, pixels."""
    gate: float
    """Largest error of an inlier, pixels."""
    dims: int
    """Components of one residual."""
    covariance: Floats | None
    """Covariance of the model's tangent step, (K, K); None where the inliers do not determine all of it."""

    @property
    def count(self) -> int:
        """Number of inliers."""
        return int(self.inliers.sum())

    @property
    def rms(self) -> float:
        """Root mean square residual norm of the inliers, pixels."""
        return math.sqrt(float((self.errors[self.inliers] ** 2).mean())) if self.inliers.any() else math.nan


def fit_support(problem: Problem[Model], start: Model, max_error: float, least: int) -> Support[Model] | None:
    """Fit a model to the measurements near it, and find out which those are.

    Alternates a robust fit (Cauchy loss) and an estimate of the noise from the median error; the gate that parts
    inliers from outliers follows the noise, between a quarter and the whole of `max_error`.

    Args:
        problem: the measurements.
        start: a model near the one looked for, from a sample consensus.
        max_error: largest error of an inlier, pixels, for residuals of one component; a residual of more components
            is given the same chance to pass.
        least: fewest measurements that determine the model.

    Returns:
        The model, or None where fewer than `least` measurements support it.
    """
    dims = problem.dims
    largest = max_error * gate_sigmas(dims) / gate_sigmas(1)
    model, gate = start, largest
    errors = problem.errors(model)
    noise, unknowns = 0.0, start.unknowns
    for _ in range(_ROUNDS):
        near = errors <= gate
        if int(near.sum()) < least:
            return None
        noise = max(noise_scale(errors[near], dims), _NOISE_FLOOR * max_error)
        model = robust_fit(problem, model, near, _LOSS_SIGMAS * noise)
        errors = problem.errors(model)
        noise = max(_noise(errors[errors <= gate], dims, unknowns), _NOISE_FLOOR * max_error)
        # A median of few errors is itself uncertain, by some 1.2 / sqrt(n); one and a half of that is allowed for.
        doubt = 1.0 + 1.8 / math.sqrt(max(dims * int(near.sum()), 1))
        gate = min(max(gate_sigmas(dims) * noise * doubt, _GATE_FLOOR * largest), largest)
    inliers = errors <= gate
    if int(inliers.sum()) < least:
        return None
    # A loss without a scale weighs all inliers alike.
    normal = _around(problem)(model, inliers, math.inf).hessian
    covariance = robust_covariance(errors[inliers], dims, normal, _LOSS_SIGMAS * noise)
    freedom = dims * int(inliers.sum()) - unknowns
    spread = math.sqrt(float((errors[inliers] ** 2).sum()) / freedom) if freedom > 0 else 0.0
    return Support(model, errors, inliers, spread, gate, dims, covariance)


_NOISE_FLOOR = 1e-3


def robust_fit(problem: Problem[Model], start: Model, chosen: Bools, scale: float, max_iterations: int = 30) -> Model:
    """Minimise the Cauchy cost of the chosen residuals by Levenberg-Marquardt.

    Args:
        problem: the measurements.
        start: where to start.
        chosen: the measurements to use, (n,).
        scale: residual norm at which the loss leaves the square, pixels.
        max_iterations: linearisations.

    Returns:
        The best model found.
    """
    at = _around(problem)
    now = at(start, chosen, scale)
    model, damping = start, 1e-4
    for _ in range(max_iterations):
        try:
            step = _damped_step(now.hessian, now.gradient, damping)
        except np.linalg.LinAlgError:
            damping *= 10.0
            continue
        trial = model.moved(step)
        ahead = at(trial, chosen, scale)
        if ahead.cost < now.cost:
            small = now.cost - ahead.cost <= 1e-8 * now.cost
            model, now = trial, ahead
            damping = max(damping * 0.1, 1e-12)
            if small:
                break
        else:
            if float(np.abs(step).max()) < 1e-12 or damping > 1e8:
                break
            damping *= 10.0
    return model


def robust_covariance(errors: Floats, dims: int, normal: Floats, scale: float) -> Floats | None:
    """Covariance of an M-estimate with Cauchy loss.

    Huber 1981, "Robust Statistics", 7.6: the inverse normal matrix times the mean square of the influence over the
    squared mean of its slope. The noise is what the residuals show.

    Args:
        errors: norms of the residuals, (n,), pixels.
        dims: components of one residual.
        normal: sum of the outer products of the residuals' derivatives, (K, K).
        scale: scale of the loss, pixels.

    Returns:
        (K, K), or None where there are no more residuals than unknowns or the normal matrix is singular.
    """
    freedom = len(errors) * dims - len(normal)
    if freedom <= 0:
        return None
    relative = (errors / scale) ** 2
    weights = 1.0 / (1.0 + relative)
    influence = float((weights**2 * relative).sum()) * scale**2 / freedom
    slope = float((weights * (1.0 - 2.0 / dims * relative * weights)).mean())
    size = np.sqrt(np.diag(normal))
    if size.min() <= 0.0 or slope <= 0.0:
        return None
    scaled = normal / np.outer(size, size)
    values, vectors = np.linalg.eigh(scaled)
    if values[0] < _SINGULAR * values[-1]:
        return None
    covariance: Floats = (vectors / values) @ vectors.T / np.outer(size, size) * (influence / slope**2)
    return covariance


_SINGULAR = 1e-13


def noise_scale(errors: Floats, dims: int) -> float:
    """Standard deviation of one residual component from the median of residual norms, (n,), pixels."""
    return _median(errors) / math.sqrt(_chi_square_quantile(0.5, dims))


def _median(values: Floats) -> float:
    """What numpy's own says of finite values, (n,), without what it spends on other kinds of arrays."""
    if not len(values):
        return math.nan
    low, high = (len(values) - 1) // 2, len(values) // 2
    ordered = np.partition(values, (low, high))
    return 0.5 * float(ordered[low] + ordered[high])


def _noise(errors: Floats, dims: int, unknowns: int) -> float:
    """:func:`noise_scale`, corrected for what the fit took out of the residuals."""
    components = dims * len(errors)
    if components <= unknowns:
        return 0.0
    return noise_scale(errors, dims) * math.sqrt(components / (components - unknowns))


def gate_sigmas(dims: int) -> float:
    """Norm of a residual of `dims` components, in sigmas, that one in 370 true matches exceeds."""
    return math.sqrt(_chi_square_quantile(_COVERED, dims))


@cache
def _chi_square_quantile(probability: float, dims: int) -> float:
    return 2.0 * float(gammaincinv(0.5 * dims, probability))


def _around(problem: Problem[Model]) -> Callable[[Model, Bools, float], NormalEquations]:
    """How a problem's normal equations are found."""
    return problem.normal_equations if hasattr(problem, "normal_equations") else partial(_equations, problem)


@fused
def _damped_step(hessian: Floats, gradient: Floats, damping: float) -> Floats:
    """The step (K,) of Levenberg and Marquardt; raises LinAlgError where there is none."""
    least = 1e-309
    for index in range(len(gradient)):
        least = max(least, 1e-9 * hessian[index, index])
    damped = hessian.copy()
    for index in range(len(gradient)):
        damped[index, index] += damping * max(hessian[index, index], least)
    step = np.empty(len(gradient))
    step[:] = np.linalg.solve(damped, -gradient)
    return step


def _equations(problem: Problem[Model], model: Model, chosen: Bools, scale: float) -> NormalEquations:
    """The normal equations of a problem that gives residuals and derivatives."""
    residuals, jacobians = problem.linearize(model, chosen)
    relative = (residuals**2).sum(axis=1) / scale**2
    flat = jacobians.reshape(-1, model.unknowns)
    weighted = np.repeat(1.0 / (1.0 + relative), residuals.shape[1])[:, None] * flat
    cost = float(np.log1p(relative).sum()) * scale**2
    return NormalEquations(cost, weighted.T @ flat, weighted.T @ residuals.reshape(-1))
