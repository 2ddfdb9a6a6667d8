"""How much of the reference's time an estimate covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv3d.geometry.trajectory import Trajectory

_USUAL_STEPS = 2.0
"""Steps of the estimate's usual length that bridge between two of its poses without one of them missing."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Coverage:
    """Where an estimate has poses."""

    tracked_fraction: float
    """Share of the reference's stamps that are covered, 0 to 1."""
    longest_gap_s: float
    """Longest stretch of the reference's time without a pose, its ends included, seconds; frames where not timed."""


def coverage(estimate: Trajectory, reference: Trajectory, max_diff_s: float, offset_s: float = 0.0) -> Coverage:
    """How much of the reference an estimate covers.

    A stamp is covered where the estimate has a pose of that moment, or two that enclose it and are not further apart
    than twice the median step of the estimate: a reference at 100 Hz is covered by poses at 30 Hz, and where tracking
    was lost it is not.

    Args:
        estimate: one pose at least.
        reference: one pose at least.
        max_diff_s: how far apart two stamps of one moment may be, seconds.
        offset_s: added to the stamps of the estimate, seconds.
    """
    own = estimate.times + offset_s
    steps = np.diff(own)
    bridge = _USUAL_STEPS * float(np.median(steps)) * (1.0 + _ROUNDING) if len(steps) and estimate.is_timed else 0.0
    after = np.searchsorted(own, reference.times, side="left")
    next_, last = np.minimum(after, len(own) - 1), np.maximum(after - 1, 0)
    nearest = np.minimum(np.abs(own[next_] - reference.times), np.abs(own[last] - reference.times))
    enclosed = (after > 0) & (after < len(own)) & (own[next_] - own[last] <= bridge)
    start, stop = reference.times[0], reference.times[-1]
    inside = own[(own >= start) & (own <= stop)]
    gaps = np.diff(np.concatenate([[start], inside, [stop]]))
    return Coverage(float(((nearest <= max_diff_s) | enclosed).mean()), float(gaps.max()))
