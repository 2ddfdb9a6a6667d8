"""Dense disparity of a rectified pair."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.depth.stereo.choice import Choice
from cv3d.depth.stereo.engines import Gray, Matching, matching_for
from cv3d.depth.stereo.filling import filled, smoothed
from cv3d.depth.stereo.judging import judge
from cv3d.depth.stereo.options import StereoOptions
from cv3d.depth.stereo.refining import refined
from cv3d.depth.stereo.result import Disparity
from cv3d.depth.stereo.searching import find_range
from cv3d.errors import InputError

_MARGIN = 48
"""Rows that bands overlap by on either side: what a path from further away says is long forgotten."""
_BATCH = 16
"""The number of disparities is a multiple of it, which fills the processor's registers."""
_LEAST_SIDE = 16


def stereo_disparity(
    left: NDArray[np.uint8],
    right: NDArray[np.uint8],
    *,
    options: StereoOptions | None = None,
    compute: Compute | None = None,
) -> Disparity:
    """Disparity of every pixel of the left of two rectified pictures, by semi-global matching.

    A point at infinity has disparity 0, which reads as none.

    Args:
        left: (h, w) grey or (h, w, 3) RGB, uint8.
        right: the right picture, of the same size: a point has the same row as in the left one and no larger column.
        options: range, penalties, what is taken out.
        compute: where dense work runs; the best device of this machine by default.

    Returns:
        Disparities, with 0 where nothing is borne out. Without texture that is everywhere.

    Raises:
        InputError: the pictures are not uint8, too small or not of one size; or they are swapped, which is only seen
            where the range is looked for.
        EstimationError: no range was given, and the pair shows none.
    """
    options, compute = options or StereoOptions(), compute or Compute.choose()
    began = time.perf_counter()
    grays = as_gray(left, "left picture"), as_gray(right, "right picture")
    if grays[0].shape != grays[1].shape:
        sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in grays]
        raise InputError(f"the left picture is {sizes[0]}, the right one {sizes[1]}: a rectified pair has one size")
    matching = matching_for(compute)
    largest = options.max_disparity or find_range(*grays, matching, options)
    largest = min(largest, grays[0].shape[1] - 1)
    searched = time.perf_counter()
    choice = _in_bands(*grays, largest, matching, options)
    matched = time.perf_counter()
    disparity, confidence = judge(choice, options)
    disparity = smoothed(disparity)
    if options.is_subpixel:
        disparity = smoothed(refined(disparity, *grays))
    if options.is_filled:
        # What is confirmed but not sure says more of a hole than what lies around it.
        loose, _ = judge(choice, replace(options, min_confidence=0.0))
        disparity = filled(np.where(disparity > 0.0, disparity, smoothed(loose)))
    ended = time.perf_counter()
    seconds = {"range": searched - began, "match": matched - searched, "judge": ended - matched, "total": ended - began}
    return Disparity(disparity, confidence, largest, seconds, options.is_filled, compute.device.type)


def as_gray(picture: NDArray[np.uint8], name: str) -> Gray:
    """Grey pixels (h, w) of a picture, grey or RGB.

    Raises:
        InputError: it has another shape or type, or is too small to be matched.
    """
    if picture.dtype != np.uint8:
        raise InputError(f"the {name} has samples of type {picture.dtype}: dense matching takes 8 bits (uint8)")
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] not in (1, 3)):
        raise InputError(f"the {name} has the shape {picture.shape}: it has to be (h, w), or (h, w, 3) in RGB")
    if min(picture.shape[:2]) < _LEAST_SIDE:
        raise InputError(
            f"the {name} is {picture.shape[1]}x{picture.shape[0]}: dense matching needs {_LEAST_SIDE} pixels each way"
        )
    if picture.ndim == 3 and picture.shape[2] == 3:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return np.ascontiguousarray(picture.reshape(picture.shape[:2]))


def _in_bands(left: Gray, right: Gray, largest: int, matching: Matching, options: StereoOptions) -> Choice:
    """Match in as few bands of rows as memory allows."""
    height, width = left.shape
    count = min(-(-(largest + 1) // _BATCH) * _BATCH, -(-width // _BATCH) * _BATCH)
    rows = max(1, options.max_voxels // (width * count))
    if rows >= height:
        return matching(left, right, count, options)
    step = max(_MARGIN, rows - 2 * _MARGIN)
    parts = []
    for top in range(0, height, step):
        first, bottom = max(0, top - _MARGIN), min(height, top + step)
        band = slice(first, min(height, bottom + _MARGIN))
        one = matching(np.ascontiguousarray(left[band]), np.ascontiguousarray(right[band]), count, options)
        parts.append(one.rows(top - first, bottom - first))
    return Choice.joined(parts)
