"""Whether a pair is rectified: do sparse counterparts lie on one row, and to the left in the right picture?"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.depth.stereo.engines import Gray
from cv3d.depth.stereo.result import RowCheck
from cv3d.errors import InputError
from cv3d.features.extractors.sift import Sift, SiftOptions
from cv3d.features.matchers.ratio import RatioOptions, RatioTest

Floats = NDArray[np.float64]

_LONGEST = 1280
"""Larger pictures are reduced to this side."""
_KEYPOINTS = 1500
_RATIO = 0.7
_LEAST = 20
"""Matches below which nothing is said."""
_OFF_PX, _ODD_PX = 2.0, 0.6
"""Median row offset, and spread, from which a pair is refused, and from which it is told."""
_REACH_PX = 3.0
"""Farthest from the median row offset that a match may lie to be believed."""
_BEHIND_PX = -1.0
_SWAPPED, _MIXED = 0.8, 0.05
"""Shares of matches that lie further right in the right picture: of a swapped pair, and of one worth a word."""


def check_rows(left: Gray, right: Gray) -> RowCheck:
    """Match keypoints of two pictures of one size and compare their rows and columns."""
    factor = max(1.0, max(left.shape) / _LONGEST)
    compute = Compute(torch.device("cpu"), torch.float32)
    sift = Sift(compute, SiftOptions(max_keypoints=_KEYPOINTS))
    features = [sift.extract(torch.from_numpy(_reduced(one, factor))[None, None]) for one in (left, right)]
    matches = RatioTest(RatioOptions(_RATIO)).match(features[0], features[1])
    here, there = (one.numpy().astype(np.float64) for one in matches.points_of_pair(0, features[0], features[1]))
    if len(here) < _LEAST:
        return RowCheck(0, math.nan, math.nan, (math.nan, math.nan), 0.0)
    down = factor * (there[:, 1] - here[:, 1])
    offset = float(np.median(down))
    spread = float(np.median(np.abs(down - offset)))
    agree = np.abs(down - offset) <= max(_REACH_PX * factor, 3.0 * spread)
    columns = factor * (here[agree, 0] - there[agree, 0])
    low, high = np.percentile(columns, (5.0, 95.0))
    behind = float((columns < _BEHIND_PX).mean())
    return RowCheck(int(agree.sum()), offset, spread, (float(low), float(high)), behind)


def judge_rows(rows: RowCheck, is_rectified_here: bool) -> tuple[str, ...]:
    """What is odd about a pair.

    Args:
        rows: of its pictures as they are matched.
        is_rectified_here: whether they have been rectified with a rig's calibration; else they came so.

    Raises:
        InputError: the pair is swapped, or counterparts are not on the same rows.
    """
    if rows.matches == 0:
        return ("too few sparse matches to tell whether the pair is rectified",)
    if max(abs(rows.offset_px), rows.spread_px) > _OFF_PX:
        cure = (
            "the calibration is not of these pictures, or the cameras have moved since"
            if is_rectified_here
            else "give the pair's calibration to have it rectified"
        )
        raise InputError(
            f"counterparts are not on the same rows: {rows.matches} sparse matches lie {_down(rows.offset_px)} "
            f"in the right picture in the median, with a spread of {rows.spread_px:.1f} px; {cure}"
        )
    low, high = rows.columns_px
    if rows.behind > _SWAPPED:
        raise InputError(
            f"the pictures are swapped: disparities would be {low:.0f} to {high:.0f} px; give the left one first"
        )
    notes = []
    if max(abs(rows.offset_px), rows.spread_px) > _ODD_PX:
        notes.append(
            f"counterparts lie {_down(rows.offset_px)} in the right picture, with a spread of "
            f"{rows.spread_px:.2f} px: the rectification is not exact, and disparities suffer"
        )
    if rows.behind > _MIXED:
        notes.append(
            f"{rows.behind:.0%} of the sparse matches have negative disparities ({low:.0f} to {high:.0f} px in all): "
            "the pair is rectified for axes that meet, and what lies behind is not found"
        )
    return tuple(notes)


def _down(offset: float) -> str:
    return f"{abs(offset):.1f} px {'lower' if offset > 0.0 else 'higher'}"


def _reduced(gray: Gray, factor: float) -> Gray:
    if factor == 1.0:
        return gray
    size = round(gray.shape[1] / factor), round(gray.shape[0] / factor)
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
