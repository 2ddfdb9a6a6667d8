"""New places to follow: corners where none is followed yet, spread over the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats = NDArray[np.float32]

_LEAST_STRENGTH = 6e-5
"""Smaller eigenvalue of the structure tensor that sensor noise reaches, in OpenCV's unit for a picture in [0, 1]."""
_RELATIVE = 0.002
"""Least strength over that of the picture's strong corners."""
_MARGIN = 10.0
"""Nearest to the border, pixels."""


def find_corners(levels: tuple[NDArray[np.uint8], ...], taken: Floats, count: int, distance: float) -> Floats:
    """Strong corners away from those that there are.

    Args:
        levels: pyramid of the picture, finest first; corners are looked for on its second level.
        taken: (n, 2) places followed already, pixels.
        count: most corners.
        distance: least distance from each other and from those taken, pixels.

    Returns:
        (m, 2) places, pixels, strongest first.
    """
    level = 1 if len(levels) > 1 else 0
    image = levels[level]
    factor = float(1 << level)
    strength = cv2.cornerMinEigenVal(image, 3, ksize=3)
    top = cv2.dilate(strength, np.ones((3, 3), np.uint8))
    some = strength.ravel()[::7]
    rank = max(len(some) // 500, 1)
    threshold = max(_LEAST_STRENGTH, _RELATIVE * float(np.partition(some, -rank)[-rank]))
    ys, xs = np.nonzero((strength == top) & (strength > threshold))
    order = np.argsort(-strength[ys, xs], kind="stable")
    places = np.stack([xs[order], ys[order]], axis=1).astype(np.float32)
    places = (places + np.float32(0.5)) * np.float32(factor) - np.float32(0.5)
    height, width = levels[0].shape
    out = np.empty((max(count, 0), 2), np.float32)
    found = _spread(places, np.ascontiguousarray(taken, np.float32), float(distance), width, height, out)
    return out[:found]


@fused
def _spread(places: Floats, taken: Floats, distance: float, width: int, height: int, out: Floats) -> int:
    """Greedily take places that keep their distance, over a grid of buckets; how many."""
    cell = distance
    columns, rows = int(width / cell) + 3, int(height / cell) + 3
    head = np.full(columns * rows, -1, np.int64)
    following = np.empty(len(taken) + len(out), np.int64)
    kept = np.empty((len(taken) + len(out), 2), np.float32)
    total = 0
    found = 0
    for i in range(len(taken) + len(places)):
        is_taken = i < len(taken)
        if is_taken:
            x, y = taken[i, 0], taken[i, 1]
        else:
            if found == len(out):
                break
            x, y = places[i - len(taken), 0], places[i - len(taken), 1]
            if x < _MARGIN or y < _MARGIN or x > width - 1 - _MARGIN or y > height - 1 - _MARGIN:
                continue
        gx = min(max(int(x / cell) + 1, 1), columns - 2)
        gy = min(max(int(y / cell) + 1, 1), rows - 2)
        free = True
        if not is_taken:
            for cy in range(gy - 1, gy + 2):
                for cx in range(gx - 1, gx + 2):
                    j = head[cy * columns + cx]
                    while j >= 0:
                        dx, dy = kept[j, 0] - x, kept[j, 1] - y
                        if dx * dx + dy * dy < distance * distance:
                            free = False
                        j = following[j]
        if not free:
            continue
        kept[total, 0], kept[total, 1] = x, y
        following[total] = head[gy * columns + gx]
        head[gy * columns + gx] = total
        total += 1
        if not is_taken:
            out[found, 0], out[found, 1] = x, y
            found += 1
    return found
