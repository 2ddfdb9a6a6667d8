"""Observations as the kernels take them."""

from __future__ import annotations

import itertools
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.problem import BundleProblem, is_measured

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]


def whitening(problem: BundleProblem, order: Ints) -> Floats:
    """u00, u01, u11 of the upper triangular root of each inverse covariance, (N, 3), in an order (N,)."""
    seen = problem.observations
    result = np.zeros((len(order), 3))
    if seen.covariance is None:
        weight = 1.0 / np.broadcast_to(np.asarray(seen.sigma, np.float64), (len(order),))[order]
        result[:, 0] = result[:, 2] = weight
        return result
    covariance = np.asarray(seen.covariance, np.float64)[order]
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    determinant = a * c - b * b
    result[:, 0] = np.sqrt(c / determinant)
    result[:, 1] = -b / determinant / result[:, 0]
    result[:, 2] = 1.0 / np.sqrt(c)
    return result


def depth_weights(problem: BundleProblem, order: Ints) -> Floats:
    """Measured depths and one over their deviations, (N, 2), the latter 0 where there is none; (0, 2) without any."""
    seen = problem.observations
    if seen.depth is None:
        return np.zeros((0, 2))
    depth = np.asarray(seen.depth, np.float64)[order]
    sigma = np.broadcast_to(np.asarray(seen.depth_sigma, np.float64), (len(order),))[order]
    measured = is_measured(depth)
    return np.stack([np.where(measured, depth, 0.0), np.where(measured, 1.0 / sigma, 0.0)], axis=1)


def chunks(start: Ints, threads: int) -> list[tuple[int, int]]:
    """Ranges of points with about as many observations each."""
    points = len(start) - 1
    cuts = np.searchsorted(start, np.linspace(0, start[-1], threads + 1)[1:-1])
    edges = [0, *(int(cut) for cut in cuts), points]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a] or [(0, points)]
