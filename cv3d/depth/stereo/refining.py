"""Disparities refined between whole pixels by the brightness itself.

What is read off sums of costs leans towards whole pixels where the texture is soft, by up to 0.2 pixels. Here each
pixel's window is aligned once: Lucas and Kanade, "An iterative image registration technique with an application to
stereo vision", 1981, with a gain and an offset between the pictures. Every pixel of the window is taken to the right
picture by its own disparity, so that the window may lie across an edge of depth; what is solved for is a correction.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_WINDOW = 9
"""Side of the window, pixels."""
_NOISE = np.float32(20.0)
"""Variance that gradient and brightness are weighed against, grey values squared: less of either moves nothing."""
_MOST = np.float32(0.6)
"""Most by which a disparity is corrected, pixels."""
_CENTRAL = np.array([[-0.5, 0.0, 0.5]], np.float32)


def refined(disparity: Floats, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Floats:
    """Disparities (h, w), 0 where there is none, corrected by up to 0.6 pixels.

    With e = left - warped = (gain - 1) warped + offset - gradient * correction over a window, the least squares of all
    three unknowns; the offset by taking the means away, the gain by elimination.

    Args:
        disparity: (h, w).
        left: (h, w) grey.
        right: (h, w) grey.
    """
    height, width = disparity.shape
    found = disparity > 0.0
    here, there = left.astype(np.float32), right.astype(np.float32)
    rows = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    columns = np.arange(width, dtype=np.float32) - disparity
    warped = cv2.remap(there, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    slopes = [cv2.filter2D(one, -1, _CENTRAL, borderType=cv2.BORDER_REPLICATE) for one in (here, there)]
    slope = cv2.remap(slopes[1], columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = found.astype(np.float32)
    w, g, e = warped * seen, 0.5 * (slopes[0] + slope) * seen, (here - warped) * seen
    # As channels of one picture, which all windows are summed of at once.
    channels = cv2.merge([seen, w, g, e, w * w, w * g, w * e, g * g, g * e])
    size = (_WINDOW, _WINDOW)
    count, *sums = cv2.split(cv2.boxFilter(channels, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT))
    share = 1.0 / np.maximum(np.asarray(count), np.float32(1.0))
    mean = [np.asarray(one) * share for one in sums]
    w, g, e = mean[:3]
    of_warped = mean[3] - w * w + _NOISE
    by_gain = (mean[4] - w * g) / of_warped
    own = mean[6] - g * g - by_gain * (mean[4] - w * g)
    shared = mean[7] - g * e - by_gain * (mean[5] - w * e)
    correction = np.clip(-shared / (own + _NOISE), -_MOST, _MOST)
    # What is found stays found.
    return np.where(found, np.maximum(disparity + correction, np.float32(1e-3)), np.float32(0.0)).astype(np.float32)
