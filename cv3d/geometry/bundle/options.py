"""How a bundle adjustment is run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cv3d.errors import UsageError
from cv3d.geometry.robust import SQUARED, Loss


class LinearSolver(StrEnum):
    """How the reduced camera system is solved."""

    AUTO = "auto"
    """Dense up to `BundleOptions.dense_up_to` unknowns or where it is full; banded where views see only neighbours;
    iterative above `BundleOptions.direct_up_to`."""
    DENSE = "dense"
    """Dense Cholesky factorisation."""
    BANDED = "banded"
    """Cholesky factorisation of a band, the poses in reverse Cuthill-McKee order, shared intrinsics as its border."""
    ITERATIVE = "iterative"
    """Conjugate gradients on the implicit Schur complement, preconditioned by its diagonal blocks."""


class Termination(StrEnum):
    """Why the iterations ended."""

    COST = "cost"
    """The last step lowered the cost by less than the fraction asked for."""
    GRADIENT = "gradient"
    """The gradient is as good as zero."""
    STEP = "step"
    """The step is as good as zero: no damping lowers the cost any more."""
    ITERATIONS = "iterations"
    """All iterations are used up."""
    TIME = "time"
    """The time is used up."""
    CANCELLED = "cancelled"
    """The caller asked to stop."""

    @property
    def converged(self) -> bool:
        """Whether a minimum was reached."""
        return self in (Termination.COST, Termination.GRADIENT, Termination.STEP)


@dataclass(frozen=True)
class BundleOptions:
    """Loss, stopping tests and linear solver.

    Raises:
        UsageError: a number is out of its range.
    """

    loss: Loss = SQUARED
    """Of reprojection errors; its scale is in standard deviations of the observation (pixels, where sigma is 1)."""
    depth_loss: Loss = SQUARED
    """Of measured depths; its scale is in their standard deviations."""
    max_iterations: int = 50
    """Linearisations after the first, rejected trials included."""
    relative_decrease: float = 1e-6
    """Stop when an accepted step lowers the cost by less than this fraction of it."""
    gradient: float = 1e-10
    """Stop when no gradient component, scaled by the square root of its curvature, exceeds this fraction of the square
    root of the cost."""
    max_seconds: float = float("inf")
    """Stop when so much time has passed; at least one iteration is made."""
    initial_damping: float = 1e-4
    """Damping relative to the diagonal of the normal equations."""
    linear_solver: LinearSolver = LinearSolver.AUTO
    dense_up_to: int = 600
    """Unknowns of poses and intrinsics up to which a dense factorisation is not questioned."""
    direct_up_to: int = 4000
    """Unknowns up to which a full system is still factorised."""
    cg_tolerance: float = 1e-2
    """Relative residual at which conjugate gradients stop."""
    cg_max_iterations: int = 200
    outlier_sigmas: float = 3.0
    """Errors above this many standard deviations are suggested as outliers (see `BundleResult.outliers`)."""
    threads: int | None = None
    """Threads of the kernels; None: one for up to 10,000 observations, above that two. Equal counts give equal bits."""

    def __post_init__(self) -> None:
        if self.max_iterations < 0 or not (0.0 < self.initial_damping < float("inf")) or not self.max_seconds > 0.0:
            raise UsageError("max_iterations must not be negative; initial_damping and max_seconds must be positive")
        if min(self.relative_decrease, self.gradient) < 0.0 or not 0.0 < self.cg_tolerance < 1.0:
            raise UsageError("relative_decrease and gradient must not be negative, cg_tolerance between 0 and 1")
        if (self.threads is not None and self.threads < 1) or not self.outlier_sigmas > 0.0:
            raise UsageError("threads and outlier_sigmas must be positive")
