"""OpenCV's pyramidal Lucas-Kanade: the twin of :mod:`cv3d.features.tracks.lucas_kanade` on the CPU."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.features.tracks.lucas_kanade import FlowOptions

Floats = NDArray[np.float32]


def follow_opencv(
    first: NDArray[np.uint8], second: NDArray[np.uint8], points: Floats, guess: Floats, options: FlowOptions
) -> tuple[Floats, NDArray[np.bool_]]:
    """As :func:`cv3d.features.tracks.lucas_kanade.follow`, of frames (H, W) as they are."""
    side = 2 * options.radius + 1
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        first,
        second,
        np.ascontiguousarray(points, np.float32).reshape(-1, 1, 2),
        np.array(guess, np.float32, order="C").reshape(-1, 1, 2),
        winSize=(side, side),
        maxLevel=options.levels - 1,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, options.iterations, options.min_step),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        minEigThreshold=options.min_eigenvalue,
    )
    places = np.asarray(found, np.float32).reshape(-1, 2)
    limit = np.array(second.shape[::-1], np.float32) - 1.0
    is_inside = (places >= 0.0).all(1) & (places <= limit).all(1)
    return places, np.asarray(status.reshape(-1) > 0) & is_inside
