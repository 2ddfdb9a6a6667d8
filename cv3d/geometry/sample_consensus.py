"""Sample consensus with local optimisation, for the models that no library estimates robustly on rays.

PoseLib's own estimators work on the image plane and so end at 90 degrees off the axis; its minimal solvers take rays of
any direction, and this loop runs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from cv3d.geometry.robust_fit import Model, Problem, gate_sigmas, robust_fit

_SUCCESS = 0.9999
_TRIALS_OVER_THEORY = 3.0
"""Samples drawn over what noise-free theory asks for: a sample of inliers only is not always a good one."""
_LEAST_SAMPLES = 100


def sample_consensus(
    problem: Problem[Model],
    solve: Callable[[NDArray[np.intp]], Sequence[Model]],
    sample_size: int,
    count: int,
    max_error: float,
    seed: int,
    max_samples: int,
) -> Model | None:
    """The model with the least truncated squared error (MSAC, Torr and Zisserman 2000), locally optimised.

    Every new best model is refined on its inliers before it sets the mark (Chum et al. 2003, "Locally optimized
    RANSAC").

    Args:
        problem: the measurements.
        solve: models through a minimal sample given by indices, (sample_size,).
        sample_size: measurements per sample.
        count: number of measurements.
        max_error: error at which a measurement counts as an outlier, pixels, for residuals of one component.
        seed: of the samples drawn.
        max_samples: samples to draw at most.

    Returns:
        The best model, or None where no sample gave one.
    """
    if count < sample_size:
        return None
    rng = np.random.default_rng(seed)
    largest = max_error * gate_sigmas(problem.dims) / gate_sigmas(1)
    best: Model | None = None
    best_cost, needed, drawn = math.inf, float(max_samples), 0
    while drawn < min(needed, max_samples):
        drawn += 1
        for candidate in solve(rng.choice(count, sample_size, replace=False)):
            errors = problem.errors(candidate)
            cost = _truncated(errors, largest)
            if cost >= best_cost:
                continue
            inliers = errors <= largest
            if int(inliers.sum()) > sample_size:
                refined = robust_fit(problem, candidate, inliers, largest, max_iterations=5)
                refined_errors = problem.errors(refined)
                refined_cost = _truncated(refined_errors, largest)
                if refined_cost < cost:
                    candidate, errors, cost = refined, refined_errors, refined_cost  # noqa: PLW2901
            best, best_cost = candidate, cost
            share = float((errors <= largest).mean())
            needed = max(_LEAST_SAMPLES, _TRIALS_OVER_THEORY * samples_needed(share, sample_size))
    return best


def samples_needed(inlier_share: float, sample_size: int) -> float:
    """Samples after which one without outliers was drawn with probability 0.9999."""
    clean = inlier_share**sample_size
    if clean >= 1.0:
        return 1.0
    return math.log(1.0 - _SUCCESS) / math.log1p(-clean) if clean > 0.0 else math.inf


def log10_false_alarms(inliers: int, count: int, sample_size: int, probability: float, models: int = 1) -> float:
    """Logarithm of the number of models with as many inliers to expect among matches made at random.

    Moisan and Stival 2004, "A probabilistic criterion to detect rigid point matches", eq. 5: as many tests as there
    are samples and numbers of inliers, times the binomial tail's bound. Below 0 means less than one.

    Args:
        inliers: matches that the model explains.
        count: all matches.
        sample_size: matches that determine the model.
        probability: that a random match is explained.
        models: models per sample.
    """
    if inliers <= sample_size:
        return math.inf
    tests = math.log10(models * max(count - sample_size, 1)) + _log10_binomial(count, inliers)
    tests += _log10_binomial(inliers, sample_size)
    return tests + (inliers - sample_size) * math.log10(max(probability, 1e-300))


def _truncated(errors: NDArray[np.float64], largest: float) -> float:
    return float(np.minimum(errors**2, largest**2).sum())


def _log10_binomial(total: int, chosen: int) -> float:
    if not 0 < chosen < total:
        return 0.0
    parts = gammaln([total + 1, chosen + 1, total - chosen + 1])
    return float(parts[0] - parts[1] - parts[2]) / math.log(10.0)
