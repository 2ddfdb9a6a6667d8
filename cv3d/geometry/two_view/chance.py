"""Whether support could be chance, and whether a simpler model says as much."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from cv3d.geometry.robust_fit import Movable, Support, gate_sigmas
from cv3d.geometry.sample_consensus import log10_false_alarms
from cv3d.geometry.two_view.parameters import TwoViewModel

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_REJECTED_AT = 1e-3
_TOLERATED_EXCESS = 1.25
"""Variance ratio that a residual lens error or heavy tails may cause and that no test should take for relief."""
_FAR_OFF = 2.0
"""Errors over the gate from which on a match is off the simpler model, not in the tail of its noise."""
_COMPARABLE = 0.6
"""Share of the general model's inliers that the simpler one needs; a band along a line takes in more by chance."""
_GATES = (1.0, 0.5, 0.25)
"""Gates over the inliers' own at which support is weighed against chance."""
_BESIDE = (2.0, 6.0)
"""Errors over the gate between which the density of wrong matches is measured: beyond the tail of true ones."""
_PLACE = np.array([1.0, 1.0j])
_KEYPOINT_NOISE_FLOOR = 0.02
"""Noise over the largest error below which no keypoint is trusted, so that rounding decides nothing."""


def extents_of(points0: Floats, points1: Floats) -> Floats:
    """Width and height of the boxes around points of either picture, (2, 2), pixels."""
    return np.stack([np.ptp(points0, axis=0), np.ptp(points1, axis=0)])


def chance_of_inlier(gate: float, dims: int, extents: Floats) -> float:
    """Probability that points paired at random agree with a model within `gate`.

    The gate is on the four-dimensional distance; with both points sharing it evenly each is off by 1 / sqrt(2) of it,
    and one of them alone would be off by sqrt(2). Points are taken as uniform in their bounding box.

    Args:
        gate: pixels.
        dims: components of the model's residual: 1 for a band along a line, 2 for a disc.
        extents: of the points of either picture, (2, 2), pixels; see :func:`extents_of`.
    """
    largest = 0.0
    for extent in extents.tolist():
        width, height = (max(side, 2.0 * gate) for side in extent)
        reach = math.sqrt(2.0) * gate
        area = 2.0 * reach * math.hypot(width, height) if dims == 1 else math.pi * reach**2
        largest = max(largest, area / (width * height))
    return min(largest, 1.0)


def distinct_matches(points0: Floats, points1: Floats, gate: float) -> int:
    """How many matches say something of their own: the fewest distinct places in either picture.

    Keypoints that repeat a place, and many keypoints matched to one, are one observation. The latter even agree with
    every motion along that one ray, so that counted singly they pass for support.

    Args:
        points0: (n, 2), pixels.
        points1: (n, 2), pixels.
        gate: largest error of an inlier, pixels; places closer than twice that are one.
    """
    # As complex numbers places are sorted as they are, not as rows of an array.
    cells = [np.sort(np.floor(points / (2.0 * gate)) @ _PLACE) for points in (points0, points1)]
    return min(len(cell) and 1 + int(np.count_nonzero(cell[1:] != cell[:-1])) for cell in cells)


def support_false_alarms(
    support: Support[Movable], points0: Floats, points1: Floats, sample_size: int, models: int
) -> float:
    """Logarithm of the number of equally good models to expect among wrong matches.

    The gate that makes it least is taken, of the inliers' own and tighter ones, and the number of gates tried paid for.

    Wrong matches are not spread evenly: things that look alike lie at similar places of upright pictures, and a model
    that follows such a trend has many matches near it that were never true. So the chance of one to agree is at least
    what the density of matches beside the gate says. On 136 pairs of a phone's frames at 270 × 480 pixels, 23 of the
    115 pairs that pass without this have inliers that mostly contradict the true epipolar geometry; with it, 1 of 84.

    Args:
        support: the model and its inliers.
        points0: all matches, (n, 2), pixels.
        points1: (n, 2), pixels.
        sample_size: matches that determine the model.
        models: models per sample.
    """
    best, extents = math.inf, extents_of(points0, points1)
    for factor in _GATES:
        gate = factor * support.gate
        agreeing = support.inliers & (support.errors <= gate)
        count = distinct_matches(points0[agreeing], points1[agreeing], support.gate)
        evenly = chance_of_inlier(gate, support.dims, extents)
        probability = max(evenly, _chance_beside(support, gate))
        best = min(best, log10_false_alarms(count, len(points0), sample_size, probability, models))
    return best + math.log10(len(_GATES))


def _chance_beside(support: Support[Movable], gate: float) -> float:
    """Chance of a match to fall within `gate` of the model, by the density of matches a little further off."""
    inner, outer = (factor * support.gate for factor in _BESIDE)
    beside = float(((support.errors > inner) & (support.errors <= outer)).mean())
    dims = support.dims
    return min(beside * gate**dims / (outer**dims - inner**dims), 1.0)


def is_explained(
    simple: Support[TwoViewModel] | None,
    general: Support[TwoViewModel],
    max_error: float,
    probability: float,
) -> bool:
    """Whether the simpler of two models explains what the more general one does.

    It does not where matches far off it agree with the general model in a number that chance does not explain (plane
    and parallax, as in Chum et al. 2005, "Two-view geometry estimation unaffected by a dominant plane"), nor where its
    residuals on the rest are larger than noise by Fisher's test.

    Args:
        simple: a homography or a rotation.
        general: an epipolar model.
        max_error: largest error of an inlier, pixels.
        probability: that a random match agrees with the general model.
    """
    if simple is None or simple.count < _COMPARABLE * general.count:
        return False
    floor = _KEYPOINT_NOISE_FLOOR * max_error
    noise = max(general.noise, floor)
    far = simple.errors > _FAR_OFF * min(gate_sigmas(2) * noise, max_error * gate_sigmas(2) / gate_sigmas(1))
    beyond, agreeing = int(far.sum()), int((far & general.inliers).sum())
    if agreeing > 2 and log10_false_alarms(agreeing, beyond, 2, probability) < math.log10(_REJECTED_AT):
        return False
    return not _has_relief(simple, general, general.inliers & ~far, floor)


def _has_relief(simple: Support[TwoViewModel], general: Support[TwoViewModel], near: Bools, floor: float) -> bool:
    count = int(near.sum())
    simple_freedom = 2 * count - simple.model.unknowns
    general_freedom = count - general.model.unknowns
    if min(simple_freedom, general_freedom) <= 0:
        return False
    simple_variance = float((simple.errors[near] ** 2).sum()) / simple_freedom + floor**2
    general_variance = float((general.errors[near] ** 2).sum()) / general_freedom + floor**2
    limit = float(fdtri(simple_freedom, general_freedom, 1.0 - _REJECTED_AT))
    return simple_variance / general_variance > max(limit, _TOLERATED_EXCESS)
