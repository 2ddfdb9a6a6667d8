"""Disparities held to ground truth, as the Middlebury benchmark does.

Scharstein and Szeliski, "A taxonomy and evaluation of dense two-frame stereo correspondence algorithms", 2002.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class StereoScore:
    """How far disparities are from the truth. A pixel without disparity is a bad one."""

    bad_1: float
    """Share of the judged pixels that are off by more than 1 pixel or have no disparity."""
    bad_2: float
    """Share of those off by more than 2 pixels or without disparity."""
    mean_error: float
    """Mean absolute error of those that have a disparity, pixels; NaN where none has."""
    coverage: float
    """Share of the judged pixels that have a disparity."""
    pixels: int
    """Judged pixels."""


def score(disparity: Floats, truth: Floats, mask: Bools | None = None) -> StereoScore:
    """Hold disparities to the truth.

    Args:
        disparity: (h, w) pixels; 0 where there is none.
        truth: (h, w) pixels; 0 or not finite where it is not known.
        mask: (h, w) pixels to judge, such as those of :func:`visible_in_both`; None: all whose truth is known.

    Raises:
        InputError: the shapes differ, or no pixel is to be judged.
    """
    if disparity.shape != truth.shape or (mask is not None and mask.shape != truth.shape):
        raise InputError(f"the disparity is {disparity.shape}, its truth {truth.shape}: they have to be of one shape")
    judged = is_known(truth) if mask is None else mask & is_known(truth)
    count = int(judged.sum())
    if not count:
        raise InputError("there is no pixel whose true disparity is known")
    found = disparity[judged] > 0.0
    error = np.abs(disparity[judged].astype(np.float64) - truth[judged])
    return StereoScore(
        bad_1=float((~found | (error > 1.0)).mean()),
        bad_2=float((~found | (error > 2.0)).mean()),
        mean_error=float(error[found].mean()) if found.any() else float("nan"),
        coverage=float(found.mean()),
        pixels=count,
    )


def is_known(truth: Floats) -> Bools:
    """Where true disparities are known."""
    known: Bools = np.isfinite(truth) & (truth > 0.0)
    return known


def visible_in_both(left: Floats, right: Floats, tolerance_px: float = 1.0) -> Bools:
    """Pixels of the left picture whose point the right one sees: where the truths of both sides agree.

    Args:
        left: (h, w) true disparity of the left picture, pixels; 0 or not finite where it is not known.
        right: that of the right picture, positive too.
        tolerance_px: most by which they may differ.

    Raises:
        InputError: the shapes differ.
    """
    if left.shape != right.shape:
        raise InputError(f"the true disparities of both sides are {left.shape} and {right.shape}")
    known = is_known(left)
    rows, columns = np.indices(left.shape)
    target = np.rint(columns - np.where(known, left, 0.0)).astype(np.intp)
    inside = known & (target >= 0)
    seen = right[rows, np.where(inside, target, 0)]
    return np.asarray(inside & is_known(seen) & (np.abs(np.where(is_known(seen), seen, 0.0) - left) <= tolerance_px))
