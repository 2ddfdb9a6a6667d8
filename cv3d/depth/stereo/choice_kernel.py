"""The best disparities in fused loops: the twin of `choice.py`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Shorts = NDArray[np.int16]
Ints = NDArray[np.int32]

_BITS, _LOW = np.int32(16), np.int32(65535)


@fused
def choose_rows(
    forwards: Shorts,
    backwards: Shorts,
    first: int,
    last: int,
    whole: Ints,
    fraction: NDArray[np.float32],
    right: Ints,
    best: Ints,
    second: Ints,
) -> None:
    """Choose in rows first to last, from the sums of both sweeps; what is written is described in `Choice`."""
    _, width, count = forwards.shape
    sums = np.empty(count, np.int16)
    reversed_right = np.empty(width + count, np.int32)
    for y in range(first, last):
        reversed_right[:] = np.int32(2147483647)
        for x in range(width):
            one, other = forwards[y, x], backwards[y, x]
            start = width - 1 - x
            place = reversed_right[start : start + count]
            least = np.int32(2147483647)
            for d in range(count):
                total = np.int16(one[d] + other[d])
                sums[d] = total
                key = np.int32(np.int32(total) << _BITS) | np.int32(d)
                place[d] = min(place[d], key)
                least = min(least, key)
            chosen = least & _LOW
            lowest = np.int16(least >> _BITS)
            next_best = np.int16(32767)
            for d in range(0, chosen - 1):
                next_best = min(next_best, sums[d])
            for d in range(chosen + 2, count):
                next_best = min(next_best, sums[d])
            whole[y, x], best[y, x], second[y, x] = chosen, lowest, next_best
            fraction[y, x] = np.float32(0.0)
            if 0 < chosen < count - 1:
                below = np.int32(sums[chosen - 1]) - np.int32(lowest)
                above = np.int32(sums[chosen + 1]) - np.int32(lowest)
                steeper = max(below, above, np.int32(1))
                fraction[y, x] = np.float32(0.5) * np.float32(below - above) / np.float32(steeper)
        for x in range(width):
            right[y, width - 1 - x] = reversed_right[x] & _LOW
