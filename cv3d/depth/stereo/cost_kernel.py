"""The matching cost in fused loops: the twin of `cost.py`, equal to the last bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.stereo.cost import (
    BRIGHTNESS_WEIGHT,
    CENSUS_RADIUS,
    CENSUS_WEIGHT,
    GRADIENT_WEIGHT,
    MOST_BRIGHTNESS,
    MOST_GRADIENT,
)
from cv3d.geometry.fused import fused

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

_R = CENSUS_RADIUS
_PAIRS, _FOURS, _EIGHTS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
_1, _2, _4, _8, _16, _32 = (np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(8), np.uint64(16), np.uint64(32))
_LAST = np.uint64(0x3F)


@fused
def describe_rows(padded: Bytes, first: int, last: int, planes: Bytes, census: Words) -> None:
    """Describe rows first to last of a picture.

    Args:
        padded: the picture with `CENSUS_RADIUS` copies of its border around, (h + 6, w + 6).
        first: first row.
        last: row after the last one.
        planes: (5, h, w) written: brightness, lowest, highest, derivatives along and across the row.
        census: (h, w) written: bits of the neighbours that are darker.
    """
    width = census.shape[1]
    low, high, middle = np.int32(-127), np.int32(127), np.int32(128)
    for y in range(first, last):
        above, row, below = padded[y + _R - 1], padded[y + _R], padded[y + _R + 1]
        for x in range(width):
            p = x + _R
            gray = np.int32(row[p])
            before, after = (gray + row[p - 1]) >> 1, (gray + row[p + 1]) >> 1
            planes[0, y, x] = gray
            planes[1, y, x] = min(before, after, gray)
            planes[2, y, x] = max(before, after, gray)
            west = np.int32(above[p - 1]) + 2 * np.int32(row[p - 1]) + np.int32(below[p - 1])
            east = np.int32(above[p + 1]) + 2 * np.int32(row[p + 1]) + np.int32(below[p + 1])
            north = np.int32(above[p - 1]) + 2 * np.int32(above[p]) + np.int32(above[p + 1])
            south = np.int32(below[p - 1]) + 2 * np.int32(below[p]) + np.int32(below[p + 1])
            along, across = np.int32(east - west + 2) >> 2, np.int32(south - north + 2) >> 2
            planes[3, y, x] = min(max(along, low), high) + middle
            planes[4, y, x] = min(max(across, low), high) + middle
        bits = census[y]
        bits[:] = 0
        for dy in range(2 * _R + 1):
            for dx in range(2 * _R + 1):
                if dy != _R or dx != _R:
                    near, centre = padded[y + dy, dx : dx + width], row[_R : _R + width]
                    for x in range(width):
                        bits[x] = (bits[x] << _1) | np.uint64(near[x] < centre[x])


@fused
def cost_rows(
    left: Bytes, right: Bytes, left_census: Words, right_census: Words, first: int, last: int, volume: Bytes
) -> None:
    """Costs of rows first to last.

    Args:
        left: (5, h, w) what `describe_rows` wrote of the left picture.
        right: (5, h, w + count - 1) that of the right one, its columns reversed, the last of them repeated.
        left_census: (h, w).
        right_census: (h, w + count - 1).
        first: first row.
        last: row after the last one.
        volume: (h, w, count) written.
    """
    _, width, count = volume.shape
    for y in range(first, last):
        for x in range(width):
            start = width - 1 - x
            bits = left_census[y, x]
            gray, along, across = np.int16(left[0, y, x]), np.int16(left[3, y, x]), np.int16(left[4, y, x])
            others = right_census[y, start : start + count]
            lowest, highest = right[1, y, start : start + count], right[2, y, start : start + count]
            alongs, acrosses = right[3, y, start : start + count], right[4, y, start : start + count]
            costs = volume[y, x]
            for d in range(count):
                word = bits ^ others[d]
                word = word - ((word >> _1) & _PAIRS)
                word = (word & _FOURS) + ((word >> _2) & _FOURS)
                word = (word + (word >> _4)) & _EIGHTS
                word = word + (word >> _32)
                word = word + (word >> _16)
                costs[d] = np.uint8((word + (word >> _8)) & _LAST)
            for d in range(count):
                brightness = max(np.int16(gray - np.int16(highest[d])), np.int16(np.int16(lowest[d]) - gray))
                brightness = min(max(brightness, np.int16(0)), np.int16(MOST_BRIGHTNESS))
                gradient = np.int16(
                    abs(np.int16(along - np.int16(alongs[d]))) + abs(np.int16(across - np.int16(acrosses[d])))
                )
                gradient = min(gradient, np.int16(MOST_GRADIENT))
                total = np.int16(
                    CENSUS_WEIGHT * np.int16(costs[d]) + BRIGHTNESS_WEIGHT * brightness + GRADIENT_WEIGHT * gradient
                )
                costs[d] = np.uint8(total >> 2)
