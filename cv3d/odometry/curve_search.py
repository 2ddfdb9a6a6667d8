"""Where along its epipolar curves a patch fits best: correlation from a coarse level of the pyramid to the finest.

The picture along a curve is resampled once as a strip, over which the patch slides. The coarse level sees every peak;
the best of them are followed to the finest level, where they compete.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused
from cv3d.odometry.epipolar_curves import clip, invert, locate, set_axes, speed
from cv3d.odometry.epipolar_strips import SIDE, lay_strip, slide, take_template

Pixels = NDArray[np.float32]
Image = NDArray[np.uint8]
Levels = tuple[Image, ...]

_PEAKS = 4
"""Peaks of the coarse level that are followed."""
_WORTHWHILE = 0.3
"""Correlation by which a peak may be below the highest and still be followed."""
_MOST_SAMPLES = 512
_FINER = 2
"""Pixels of the finer level by which a peak of the coarser one may be off."""
_APART = 3.0
"""Pixels of the finest level: nearer peaks are one."""


@fused
def _tallest(scores: Pixels, stations: Pixels, count: int, peaks: Pixels, heights: Pixels) -> int:
    """The tallest local maxima; how many."""
    found = 0
    for s in range(count):
        here = scores[s]
        if here <= 0.0 or (s > 0 and scores[s - 1] > here) or (s < count - 1 and scores[s + 1] >= here):
            continue
        slot = found
        if found == len(peaks):
            slot = 0
            for p in range(1, len(peaks)):
                if heights[p] < heights[slot]:
                    slot = p
            if heights[slot] >= here:
                continue
        else:
            found += 1
        middle = s + SIDE // 2
        peaks[slot], heights[slot] = 0.5 * (stations[middle - 1] + stations[middle]), here
    return found


@fused
def search_kernel(  # noqa: PLR0912, PLR0915
    left: Levels,
    right: Levels,
    table: Pixels,
    size: Pixels,
    pixels: Pixels,
    bounds: Pixels,
    most_steps: int,
    out: Pixels,
) -> None:
    """Find the places that fit best.

    Args:
        left: pyramid of the picture.
        right: pyramid of the other.
        table: see :func:`cv3d.odometry.epipolar_curves.locate`.
        size: see :func:`cv3d.odometry.epipolar_curves.locate`.
        pixels: (n, 2) in the picture.
        bounds: (n, 2) first and last station that is looked at.
        most_steps: places of a curve; the finest level that does with as many is searched.
        out: (n, 9) the best station, its correlation, that of the next best peak (-1: none), its pixel, and the inverse
            warp there. A station of -1: nothing.
    """
    count = table.shape[2]
    nodes = np.empty((count, 2), np.float32)
    gradient = np.empty((count, 2, 2), np.float32)
    inverse, axes, clipped = np.empty((2, 2), np.float32), np.empty((2, 2), np.float32), np.empty(2, np.float32)
    template = np.empty((SIDE, SIDE), np.float32)
    stations, scores = np.empty(_MOST_SAMPLES, np.float32), np.empty(_MOST_SAMPLES, np.float32)
    strip, sums = np.empty((SIDE, _MOST_SAMPLES), np.float32), np.empty((2, _MOST_SAMPLES), np.float32)
    inside = np.empty(_MOST_SAMPLES, np.uint8)
    peaks, heights = np.empty(_PEAKS, np.float32), np.empty(_PEAKS, np.float32)
    for i in range(len(pixels)):
        out[i, :3] = -1.0
        out[i, 3:] = 0.0
        x, y = pixels[i, 0], pixels[i, 1]
        locate(table, size, x, y, nodes, gradient)
        length = clip(nodes, bounds[i, 0], bounds[i, 1], clipped)
        if length < 0.0:
            continue
        start, end = clipped[0], clipped[1]
        if not invert(gradient, 0.5 * (start + end), inverse) or not set_axes(nodes, start, end, axes):
            continue
        level = 0
        while level < min(len(left), len(right)) - 1 and length / (1 << level) > most_steps:
            level += 1
        step = float(1 << level)
        base = take_template(left[level], (x + 0.5) / step - 0.5, (y + 0.5) / step - 0.5, inverse, axes, template)
        if base < 0.0:
            continue
        places = lay_strip(right[level], nodes, start, end, step, axes, stations, inside, strip)
        slide(strip, places, template, base, sums, inside, scores)
        found = _tallest(scores, stations, places, peaks, heights)
        highest = np.float32(0.0)
        for p in range(found):
            highest = max(highest, heights[p])
        for p in range(found):
            if heights[p] < highest - _WORTHWHILE:
                heights[p] = -1.0
                continue
            for down in range(1, level + 1):
                step = float(1 << (level - down))
                base = -1.0
                if invert(gradient, peaks[p], inverse) and set_axes(nodes, peaks[p], peaks[p], axes):
                    base = take_template(
                        left[level - down], (x + 0.5) / step - 0.5, (y + 0.5) / step - 0.5, inverse, axes, template
                    )
                if base < 0.0:
                    # What the coarse level found must show on the finest.
                    heights[p] = -1.0
                    break
                reach = _FINER * step / max(speed(nodes, peaks[p]), 1e-3)
                first, last = max(peaks[p] - reach, start), min(peaks[p] + reach, end)
                places = lay_strip(right[level - down], nodes, first, last, step, axes, stations, inside, strip)
                slide(strip, places, template, base, sums, inside, scores)
                heights[p] = -1.0
                for s in range(places):
                    if scores[s] > heights[p]:
                        middle = s + SIDE // 2
                        peaks[p], heights[p] = 0.5 * (stations[middle - 1] + stations[middle]), scores[s]
                if heights[p] <= 0.0:
                    break
        best = -1
        for p in range(found):
            if heights[p] > 0.0 and (best < 0 or heights[p] > heights[best]):
                best = p
        if best < 0 or not invert(gradient, peaks[best], inverse):
            continue
        apart = _APART / max(speed(nodes, peaks[best]), 1e-3)
        for p in range(found):
            if abs(peaks[p] - peaks[best]) > apart and heights[p] > out[i, 2]:
                out[i, 2] = heights[p]
        node = min(max(int(peaks[best]), 0), count - 2)
        w = peaks[best] - node
        out[i, 0], out[i, 1] = max(peaks[best], 0.0), heights[best]
        out[i, 3] = nodes[node, 0] * (1.0 - w) + nodes[node + 1, 0] * w
        out[i, 4] = nodes[node, 1] * (1.0 - w) + nodes[node + 1, 1] * w
        out[i, 5], out[i, 6], out[i, 7], out[i, 8] = inverse[0, 0], inverse[0, 1], inverse[1, 0], inverse[1, 1]
