"""Solving the joint problem of a rig, and the figures of its solution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cv3d.calibration.rig.problem import CameraViews, RigProblem, RigState
from cv3d.geometry.arrow import ArrowSystem
from cv3d.geometry.levenberg import LmOptions, levenberg_marquardt

FINAL = LmOptions(max_iterations=300, relative_decrease=1e-11)
QUICK = LmOptions(max_iterations=60, relative_decrease=1e-6)


@dataclass(frozen=True)
class RigSolution:
    """A rig at its minimum."""

    problem: RigProblem
    state: RigState
    system: ArrowSystem
    """Normal equations at the minimum."""
    residuals: tuple[Tensor, ...]
    """Of each camera, projected minus observed, (V, N, 2), pixels; zero where nothing was seen."""
    given_by_priors: float
    """How many parameters' worth the priors of lens models and intrinsics contribute."""
    iterations: int
    converged: bool

    @property
    def cameras(self) -> tuple[CameraViews, ...]:
        """What each camera saw."""
        return self.problem.cameras

    @property
    def count(self) -> int:
        """Corners used."""
        return sum(views.observations.count for views in self.cameras)

    @property
    def rms_px(self) -> float:
        """Root mean square distance between projected and observed corners over all cameras, pixels."""
        return math.sqrt(sum(float((r**2).sum()) for r in self.residuals) / max(self.count, 1))

    def camera_rms_px(self, camera: int) -> float:
        """The same over one camera."""
        squares = float((self.residuals[camera] ** 2).sum())
        return math.sqrt(squares / max(self.cameras[camera].observations.count, 1))

    @property
    def noise_px(self) -> float:
        """Estimated standard deviation of one coordinate of a corner, over all cameras, pixels.

        Where frames are not instants, of what the board's motion between them does not explain.
        """
        if self.problem.asynchrony:
            return math.sqrt(self.unit_variance)
        freedom = self._freedom()
        return math.sqrt(sum(float((r**2).sum()) for r in self.residuals) / freedom) if freedom > 0 else math.nan

    @property
    def unit_variance(self) -> float:
        """Estimated variance of one weighted coordinate, square pixels; NaN without redundancy."""
        freedom = self._freedom()
        if self.problem.asynchrony:
            return 2.0 * self.system.cost / freedom if freedom > 0 else math.nan
        weighted = zip(self.cameras, self.residuals, strict=True)
        total = sum(views.weight**2 * float((r**2).sum()) for views, r in weighted)
        return total / freedom if freedom > 0 else math.nan

    def _freedom(self) -> float:
        unknowns = self.system.shared.shape[0] + self.system.block_gradients.numel()
        return 2 * self.count - (unknowns - self.given_by_priors)


def solve_rig(problem: RigProblem, start: RigState, options: LmOptions = FINAL) -> RigSolution:
    """Minimise the reprojection error of all cameras together."""
    result = levenberg_marquardt(problem, start, options)
    return RigSolution(
        problem=problem,
        state=result.state,
        system=result.system,
        residuals=problem.residuals(result.state),
        given_by_priors=_given_by_priors(problem, result.state, result.system),
        iterations=result.iterations,
        converged=result.converged,
    )


def _given_by_priors(problem: RigProblem, state: RigState, system: ArrowSystem) -> float:
    """The trace of H^-1 A over the cameras of whose intrinsics something, A, is known beforehand."""
    layout, priors = problem.layout(), {}
    for c, views in enumerate(problem.cameras):
        total = views.weight**2 * problem.camera_problem(c).prior_normals(problem.camera_state(state, c))[1]
        known = problem.prior(c)
        if known is not None:
            size = len(known.mean)
            total[:size, :size] += known.information
        if bool(total.any()):
            priors[c] = total
    if not priors:
        return 0.0
    factor, info = torch.linalg.cholesky_ex(system.reduced())
    if int(info) != 0:
        return 0.0
    inverse = torch.cholesky_inverse(factor)
    places = {c: layout.of_camera(c) for c in priors}
    return sum(float((inverse[places[c][:, None], places[c]] * prior).sum()) for c, prior in priors.items())
