"""Semi-global matching in fused loops: the twin of `paths.py`, equal to the last bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.stereo.paths import BARRED
from cv3d.geometry.fused import fused

Bytes = NDArray[np.uint8]
Shorts = NDArray[np.int16]


@fused
def sweep(volume: Bytes, gray: Bytes, small_step: int, large: Shorts, backwards: bool, sums: Shorts) -> None:
    """Costs summed along the four paths that come from earlier pixels, in reading order or from the end backwards.

    Args:
        volume: costs, (h, w, count).
        gray: the left picture, (h, w).
        small_step: penalty of one step of disparity.
        large: (256,) penalties of larger ones by change of brightness.
        backwards: whether pixels are taken from the last to the first.
        sums: (h, w, count) written.
    """
    height, width, count = volume.shape
    step = np.int16(small_step)
    # Beside the picture and before its first row stand zeros: a path that begins there pays nothing.
    before, now = np.zeros((3, width + 2, count + 2), np.int16), np.zeros((3, width + 2, count + 2), np.int16)
    row = np.zeros((2, count + 2), np.int16)
    for barred in (0, count + 1):
        before[:, :, barred], now[:, :, barred], row[:, barred] = BARRED, BARRED, BARRED
    least_before, least_now = np.zeros((3, width + 2), np.int16), np.zeros((3, width + 2), np.int16)
    sense = -1 if backwards else 1
    y, first = (height - 1, width - 1) if backwards else (0, 0)
    for i in range(height):
        x, least_row = first, np.int16(0)
        row[:, 1:-1] = 0
        for j in range(width):
            costs, total = volume[y, x], sums[y, x]
            here = np.int32(gray[y, x])
            change = abs(here - np.int32(gray[y, x - sense])) if j else 0
            came, going = row[j & 1], row[(j + 1) & 1]
            far, lowest = np.int16(least_row + large[change]), np.int16(BARRED)
            for d in range(count):
                value = min(came[d + 1], far, np.int16(min(came[d], came[d + 2]) + step))
                value = np.int16(np.int16(value - least_row) + np.int16(costs[d]))
                going[d + 1], total[d] = value, value
                lowest = min(lowest, value)
            least_row = lowest
            for k in range(3):
                q = j + k - 1
                change = abs(here - np.int32(gray[y - sense, first + q * sense])) if i and 0 <= q < width else 0
                came, going = before[k, q + 1], now[k, j + 1]
                least = least_before[k, q + 1]
                far, lowest = np.int16(least + large[change]), np.int16(BARRED)
                for d in range(count):
                    value = min(came[d + 1], far, np.int16(min(came[d], came[d + 2]) + step))
                    value = np.int16(np.int16(value - least) + np.int16(costs[d]))
                    going[d + 1] = value
                    total[d] = np.int16(total[d] + value)
                    lowest = min(lowest, value)
                least_now[k, j + 1] = lowest
            x += sense
        before, now, least_before, least_now = now, before, least_now, least_before
        y += sense
