"""Points that contradict the geometry of two key frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.features.tracks.options import TrackOptions
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import ModelKind, TwoViewOptions, estimate_two_view

_FEWEST = 30
_LEAST_MOTION = 2.0
"""Median displacement below which no geometry can be told from noise, pixels."""
_SEARCHED = 2000
"""Random samples at most: tracks are mostly right, so a model is found early or there is none."""


def contradicting(
    pixels0: NDArray[np.float32], pixels1: NDArray[np.float32], camera: Camera | None, options: TrackOptions
) -> NDArray[np.bool_]:
    """(n,) where points are no inliers of the epipolar geometry that the others agree on.

    Only an epipolar geometry is held against a point. A homography fits where the scene is flat or the camera only
    turns, and what stands out from it may be right.

    Args:
        pixels0: (n, 2) in the last key frame; NaN for points that it did not observe.
        pixels1: (n, 2) in the present one.
        camera: of both, where it is known.
        options: the largest error.
    """
    wrong = np.zeros(len(pixels0), bool)
    both = np.flatnonzero(np.isfinite(pixels0).all(1))
    if len(both) < _FEWEST:
        return wrong
    if float(np.median(np.linalg.norm(pixels1[both] - pixels0[both], axis=1))) < _LEAST_MOTION:
        return wrong
    view = estimate_two_view(
        pixels0[both].astype(np.float64),
        pixels1[both].astype(np.float64),
        camera,
        camera,
        TwoViewOptions(max_error=options.max_epipolar_error, seed=options.seed, max_samples=_SEARCHED),
    )
    if view.verified and view.model in (ModelKind.ESSENTIAL, ModelKind.FUNDAMENTAL):
        wrong[both] = ~view.inliers
    return wrong
