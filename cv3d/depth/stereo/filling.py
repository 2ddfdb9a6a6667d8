"""Holes filled: what the right picture does not see belongs to the surface behind."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def filled(disparity: Floats) -> Floats:
    """Every hole with the lesser of the nearest disparities to its left and right, which is the farther surface.

    A row without any takes those of the nearest row that has some.

    Args:
        disparity: (h, w), 0 where there is none.

    Returns:
        (h, w); 0 only where there is no disparity at all.
    """
    found = disparity > 0.0
    before, after = _last_found(disparity, found), _last_found(disparity[:, ::-1], found[:, ::-1])[:, ::-1]
    nearest = np.where(before == 0.0, after, np.where(after == 0.0, before, np.minimum(before, after)))
    result = np.where(found, disparity, nearest)
    rows = np.flatnonzero(found.any(axis=1))
    if rows.size in (0, len(found)):
        return np.asarray(result, dtype=np.float32)
    every = np.arange(len(found))
    later = np.clip(np.searchsorted(rows, every), 0, rows.size - 1)
    earlier = np.maximum(later - 1, 0)
    source = np.where(np.abs(rows[earlier] - every) < np.abs(rows[later] - every), rows[earlier], rows[later])
    return np.asarray(result[source], dtype=np.float32)


def smoothed(disparity: Floats) -> Floats:
    """Medians of 3 x 3 pixels, holes counting as filled but remaining holes: single outliers go, edges stay."""
    medians = cv2.medianBlur(filled(disparity), 3)
    return np.where(disparity > 0.0, np.asarray(medians), np.float32(0.0)).astype(np.float32)


def _last_found(disparity: Floats, found: NDArray[np.bool_]) -> Floats:
    """Of every pixel the disparity of the last found one in its row up to it; 0 where there is none."""
    last = np.maximum.accumulate(np.where(found, np.arange(found.shape[1]), 0), axis=1)
    return np.take_along_axis(np.where(found, disparity, np.float32(0.0)), last, axis=1)
