"""What a bundle adjustment found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.options import BundleOptions, LinearSolver, Termination
from cv3d.geometry.bundle.problem import BundleProblem
from cv3d.geometry.cameras import Camera

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class BundleTimes:
    """Where the time went, seconds."""

    structure: float = 0.0
    """Sorting the observations and laying out the unknowns."""
    linearization: float = 0.0
    """Residuals, derivatives and normal equations."""
    solution: float = 0.0
    """Eliminating points, factorising, substituting back."""
    total: float = 0.0


@dataclass(frozen=True, eq=False)
class BundleResult:
    """Refined poses, points and cameras, and how they were reached."""

    poses: Floats
    """rig_from_world, (P, 4, 4); the held ones bit for bit as given."""
    points: Floats
    """In the world, (M, 3); the held ones bit for bit as given."""
    cameras: tuple[Camera, ...]
    """The held ones as given."""
    initial_cost: float
    """Half the sum of rho(|r|^2), r in standard deviations, priors included."""
    final_cost: float
    iterations: int
    """Linearisations after the first, rejected trials included."""
    accepted: int
    """Steps that lowered the cost."""
    termination: Termination
    solver: LinearSolver
    """How the reduced system was solved."""
    errors: Floats
    """Projected minus measured, (N, 2), pixels."""
    depth_errors: Floats | None
    """Depth of the point minus the measured one, (N,); NaN where none was measured. None without depths."""
    normalized_errors: Floats
    """Length of each pixel error in its standard deviations, (N,)."""
    used: Bools
    """Observations that counted, (N,): the others began behind their camera or beyond the fold of its lens."""
    visible: Bools
    """Whether the refined point lies ahead of the camera and inside the fold of its lens, (N,)."""
    noise: float
    """Robust estimate of the deviation of one coordinate over the sigma given: 1 where the sigmas are right."""
    outliers: Bools
    """Observations best left out, (N,): not visible, or with a pixel error of more than `outlier_sigmas`, or a depth
    error of more than as many deviations of the depth; pixels count with their noise where that exceeds the sigma."""
    costs: tuple[float, ...]
    """The cost at the start and after each accepted step."""
    times: BundleTimes
    problem: BundleProblem = field(repr=False)
    """The problem as it was given."""
    options: BundleOptions = field(repr=False)

    @property
    def rms_px(self) -> float:
        """Root mean square length of the pixel errors that counted, pixels; NaN without any."""
        errors = self.errors[self.used]
        return float(np.sqrt((errors**2).sum(axis=1).mean())) if len(errors) else float("nan")

    def __str__(self) -> str:
        return (
            f"cost {self.initial_cost:.6g} -> {self.final_cost:.6g}, {self.rms_px:.3f} px; "
            f"{self.iterations} iterations ({self.termination}, {self.solver}), {self.times.total:.3f} s; "
            f"{int(self.outliers.sum())} of {len(self.outliers)} observations suggested as outliers"
        )

    def as_problem(self) -> BundleProblem:
        """The problem at its solution, to go on from."""
        return replace(self.problem, poses=self.poses, points=self.points, cameras=self.cameras)
