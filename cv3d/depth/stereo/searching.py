"""The range of disparities of a pair, from the pair at reduced size."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.depth.stereo.engines import Gray, Matching
from cv3d.depth.stereo.judging import judge
from cv3d.depth.stereo.options import StereoOptions
from cv3d.errors import EstimationError, InputError

_WIDTH = 320
"""Columns of the reduced pictures."""
_REACH = 0.5
"""Largest disparity that is looked for, as a share of the width."""
_LEAST_SHARE, _GOOD_SHARE = 0.03, 0.3
"""Share of the pixels with a disparity below which a pair shows no range, and above which it does without doubt."""
_NEAREST_SHARE, _NEAREST_PIXELS = 0.0005, 12
"""As much of the picture, and as many reduced pixels, may be nearer than the range found."""


def find_range(left: Gray, right: Gray, matching: Matching, options: StereoOptions) -> int:
    """The largest disparity of a pair, pixels, with a margin.

    Raises:
        InputError: the pictures are swapped.
        EstimationError: hardly a pixel of one picture is found in the other.
    """
    factor = math.ceil(left.shape[1] / _WIDTH)
    small = [_reduced(one, factor) for one in (left, right)]
    found = _found(small[0], small[1], matching, options)
    share = found.size / small[0].size
    if share < _GOOD_SHARE:
        mirrored = _found(small[1], small[0], matching, options).size / small[0].size
        if mirrored > _GOOD_SHARE and mirrored > 2.0 * share:
            raise InputError(
                "the pictures seem to be swapped: points lie further right in the right picture than in the left one; "
                "give them the other way round"
            )
    if share < _LEAST_SHARE:
        raise EstimationError(
            f"only {share:.1%} of the left picture's pixels are found in the right one: the pictures show nothing in "
            "common on the same rows, or have no texture; a largest disparity given by hand matches them all the same"
        )
    beyond = max(_NEAREST_PIXELS, round(_NEAREST_SHARE * small[0].size))
    nearest = float(np.partition(found, -beyond)[-beyond])
    largest: int = math.ceil(factor * (nearest + 1.0)) + 1
    return largest


def _found(left: Gray, right: Gray, matching: Matching, options: StereoOptions) -> NDArray[np.float32]:
    """The disparities that are borne out, (n,), reduced pixels."""
    count = max(16, round(_REACH * left.shape[1] / 16) * 16)
    strict = replace(options, min_confidence=max(options.min_confidence, 0.5), speckle_area=20)
    disparity, _ = judge(matching(left, right, count, strict), strict)
    return disparity[disparity > 0.0]


def _reduced(gray: Gray, factor: int) -> Gray:
    size = max(1, gray.shape[1] // factor), max(1, gray.shape[0] // factor)
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
