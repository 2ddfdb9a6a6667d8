"""Search for the focal lengths that constraints agree on: along all of them first, then by Gauss and Newton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.global_poses.epipolar_pencils import EpipolarPencils

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GRID = 150
_SWEEPS = 3
_ROUNDS = 4
_MEDIAN = 1.1774
"""Median length of two Gaussian numbers, in standard deviations."""
_KNEE = 2.4
"""Where the robust loss leaves the square, standard deviations."""
_SINGULAR = 1e-9
_SMALL = 1e-7
_TWO_SIGMA = 4.0


@dataclass(frozen=True, eq=False)
class FoundFocals:
    """Where the search ended."""

    log_ratio: Floats
    """Logarithm of the focal lengths over the longer sides, (c,)."""
    deviation: Floats
    """Its standard deviation, (c,); infinite where it is open."""
    noise: float
    """Standard deviation of the residuals over the expected one, at least 1."""


class FocalSearch:
    """Minimises the robust sum (Cauchy) of constraints' squared residuals."""

    def __init__(self, pencils: EpipolarPencils, min_ratio: float, max_ratio: float, max_iterations: int) -> None:
        self._pencils = pencils
        self._grid = np.linspace(np.log(min_ratio), np.log(max_ratio), _GRID)
        self._max_iterations = max_iterations
        self._unknowns = len(np.unique(pencils.camera))

    def run(self) -> FoundFocals:
        """Common ratio of focal length to size first, then each camera beside the others, then all together."""
        pencils, grid = self._pencils, self._grid
        squared = self._along(pencils, np.zeros(pencils.cameras), np.arange(pencils.cameras))
        noise = _spread(squared[int(np.argmin(np.median(squared, axis=1)))], 1)
        best = 0
        for _ in range(_ROUNDS):
            best = int(np.argmin(_cost(squared, noise).sum(axis=1)))
            noise = _spread(squared[best], 1)
        log_ratio = np.full(pencils.cameras, grid[best])
        edges_of = [np.flatnonzero((pencils.camera == c).any(axis=1)) for c in range(pencils.cameras)]
        if pencils.cameras > 1:
            log_ratio, noise = self._swept(log_ratio, noise, edges_of)
        log_ratio, information = self._refined(log_ratio, noise)
        noise = _spread((pencils.residuals(log_ratio) ** 2).sum(axis=1), self._unknowns)
        log_ratio, information = self._refined(log_ratio, noise)
        deviation = _deviation(information)
        for c, edges in enumerate(edges_of):
            deviation[c] = max(deviation[c], self._width(log_ratio, c, edges, noise))
        return FoundFocals(log_ratio, deviation, noise)

    def _along(self, pencils: EpipolarPencils, log_ratio: Floats, cameras: Ints) -> Floats:
        """Squared residuals with some cameras at each ratio of the grid, (g, e)."""
        at = np.tile(log_ratio, (len(self._grid), 1))
        at[:, cameras] = self._grid[:, None]
        squared: Floats = (pencils.residuals(at) ** 2).sum(axis=-1)
        return squared

    def _swept(self, log_ratio: Floats, noise: float, edges_of: list[Ints]) -> tuple[Floats, float]:
        """Each camera in turn at its best ratio beside the others, those first that most is known of."""
        order = sorted(range(len(edges_of)), key=lambda c: -len(edges_of[c]))
        for _ in range(_SWEEPS):
            before = log_ratio.copy()
            for c in order:
                if len(edges_of[c]):
                    cost = _cost(self._along(self._pencils.only(edges_of[c]), log_ratio, np.array([c])), noise)
                    log_ratio[c] = self._grid[int(np.argmin(cost.sum(axis=1)))]
            noise = _spread((self._pencils.residuals(log_ratio) ** 2).sum(axis=1), self._unknowns)
            if (before == log_ratio).all():
                break
        return log_ratio, noise

    def _refined(self, log_ratio: Floats, noise: float) -> tuple[Floats, Floats]:
        """Levenberg and Marquardt on all focal lengths.

        Returns:
            The logarithms, and their information matrix, (c, c).
        """
        pencils, damping = self._pencils, 1e-3
        squared = (pencils.residuals(log_ratio) ** 2).sum(axis=1)
        cost = float(_cost(squared, noise).sum())
        information, gradient = self._normal(log_ratio, noise)
        for _ in range(self._max_iterations):
            diagonal = np.diag(information)
            damped = information + np.diag(damping * diagonal + _SINGULAR * max(diagonal.max(), 1.0))
            trial = np.clip(log_ratio - np.linalg.solve(damped, gradient), self._grid[0], self._grid[-1])
            trial_cost = float(_cost((pencils.residuals(trial) ** 2).sum(axis=1), noise).sum())
            if trial_cost > cost:
                damping *= 8.0
                if damping > 1e9:
                    break
                continue
            moved = float(np.abs(trial - log_ratio).max())
            log_ratio, cost, damping = trial, trial_cost, damping / 4.0
            information, gradient = self._normal(log_ratio, noise)
            if moved < _SMALL:
                break
        return log_ratio, information

    def _normal(self, log_ratio: Floats, noise: float) -> tuple[Floats, Floats]:
        pencils = self._pencils
        residuals, by = pencils.residuals(log_ratio), pencils.derivatives(log_ratio)
        weight = 1.0 / (noise**2 + (residuals**2).sum(axis=1) / _KNEE**2)
        information, gradient = np.zeros((pencils.cameras,) * 2), np.zeros(pencils.cameras)
        products = np.einsum("e,eki,ekj->eij", weight, by, by)
        camera = pencils.camera
        np.add.at(information, (camera[:, :, None], camera[:, None, :]), products)
        np.add.at(gradient, camera, np.einsum("e,eki,ek->ei", weight, by, residuals))
        return information, gradient

    def _width(self, log_ratio: Floats, camera: int, edges: Ints, noise: float) -> float:
        """Half of the range of a focal length that costs no more than one deviation does; infinite at the bounds.

        The curvature at one minimum says nothing of another that is as good.
        """
        if not len(edges):
            return np.inf
        pencils, grid = self._pencils.only(edges), self._grid
        cost = _cost(self._along(pencils, log_ratio, np.array([camera])), noise).sum(axis=1)
        at = (pencils.residuals(log_ratio) ** 2).sum(axis=1)
        above = cost - min(float(_cost(at, noise).sum()), float(cost.min()))
        if min(above[0], above[-1]) < _TWO_SIGMA:
            return np.inf
        off = np.abs(grid[above < 1.0] - log_ratio[camera])
        widest = float(off.max(initial=0.0))
        return widest if widest > 1.5 * (grid[1] - grid[0]) else 0.0


def _cost(squared: Floats, noise: float) -> Floats:
    """Cauchy's loss in squared standard deviations."""
    knee: float = _KNEE**2
    cost: Floats = knee * np.log1p(squared / (knee * noise**2))
    return cost


def _spread(squared: Floats, unknowns: int) -> float:
    """Standard deviation of residuals of which two make up each squared length, at least the expected one.

    Unknowns that were fitted to them have made them smaller.
    """
    residuals = 2.0 * len(squared)
    fitted = np.sqrt(residuals / max(residuals - unknowns, 1.0))
    return max(1.0, float(np.sqrt(np.median(squared)) * fitted) / _MEDIAN)


def _deviation(information: Floats) -> Floats:
    """Roots of the diagonal of the inverse, infinite where there is no information."""
    values, vectors = np.linalg.eigh(0.5 * (information + information.T))
    floor = _SINGULAR * max(float(values[-1]), 1.0)
    variance: Floats = (vectors**2 / np.maximum(values, floor)).sum(axis=1)
    return np.sqrt(variance)
