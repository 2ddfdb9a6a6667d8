"""Areas under recall curves: one figure for how many pairs are how good."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def area_under_recall(errors: Sequence[float] | NDArray[np.float64], threshold: float) -> float:
    """The mean recall over all errors from 0 to a threshold.

    Recall at an error is the share of all items with at most that error. It is taken as linear between the items'
    errors, beginning with no item at 0, and as constant from the last one below the threshold on: the convention of
    SuperGlue's evaluation (Sarlin et al. 2020, "SuperGlue: Learning feature matching with graph neural networks"), on
    which published figures rest.

    Args:
        errors: of all items, (n,), not negative; infinite (or NaN) where an item failed.
        threshold: largest error that counts, positive.

    Returns:
        Between 0 and 1; NaN without any item.
    """
    if not threshold > 0.0:
        raise ValueError(f"a threshold has to be positive, not {threshold}")
    values = np.asarray(errors, dtype=np.float64)
    if values.ndim != 1 or bool((values < 0.0).any()):
        raise ValueError("errors are one list of numbers that are not negative")
    if not len(values):
        return float("nan")
    below = np.sort(values[values < threshold])
    recall = np.arange(len(below) + 1) / len(values)
    at = np.concatenate([[0.0], below, [threshold]])
    heights = np.concatenate([recall, recall[-1:]])
    return float((np.diff(at) * 0.5 * (heights[1:] + heights[:-1])).sum()) / threshold
