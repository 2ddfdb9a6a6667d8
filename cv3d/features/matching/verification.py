"""Whether matches belong to one geometry: the verification of one pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.features.matching.options import MatchOptions, is_learned
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import TwoView, TwoViewOptions, estimate_two_view, locally_consistent

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairSetting:
    """What is known of two pictures before they are matched."""

    scale: float
    """How many pixels of the pictures, on average, one pixel is in which they are matched."""
    camera0: Camera | None = None
    """Of the first picture, where it is known."""
    camera1: Camera | None = None
    """Of the second."""


def verify(
    points0: Floats,
    points1: Floats,
    setting: PairSetting,
    options: MatchOptions,
    *,
    matcher: str,
    is_quick: bool = False,
    sigma0: Floats | None = None,
    sigma1: Floats | None = None,
) -> TwoView:
    """The geometry of matched keypoints.

    Args:
        points0: (n, 2), pixels of the first picture.
        points1: (n, 2), pixels of the second.
        setting: scale and cameras.
        options: thresholds and seed.
        matcher: who found the matches; a learned one's wrong matches agree more than chance, so more is asked of them.
        is_quick: give up on pictures that are unrelated beyond doubt, after few samples.
        sigma0: noise of one coordinate of each first keypoint, (n,), pixels; None: all alike.
        sigma1: the same of the second keypoints.
    """
    quick = options.cascade.quick_samples
    usual = TwoViewOptions().max_false_alarms
    settings = TwoViewOptions(
        max_error=options.max_error * setting.scale,
        max_samples=min(quick, options.max_samples) if is_quick else options.max_samples,
        max_false_alarms=options.cascade.learned_false_alarms if is_learned(matcher) else usual,
        give_up_above=options.cascade.hopeless if is_quick else np.inf,
        seed=options.seed,
    )
    likely = locally_consistent(points0, points1)
    return estimate_two_view(
        points0, points1, setting.camera0, setting.camera1, settings, sigma0=sigma0, sigma1=sigma1, likely=likely
    )


def is_thick(geometry: TwoView, options: MatchOptions) -> bool:
    """Whether a pair's support leaves no doubt, so that a better matcher would be wasted on it."""
    return geometry.verified and geometry.inlier_count >= options.cascade.thick_support


def is_better(second: TwoView, first: TwoView | None) -> bool:
    """Whether a second opinion on a pair is to take the place of the first: chance explains it less."""
    if not second.verified:
        return False
    return first is None or not first.verified or second.log10_false_alarms < first.log10_false_alarms
