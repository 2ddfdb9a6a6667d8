"""Pictures halved and patches read by fused kernels: the twins, on the CPU, of what a pyramid does."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cv3d.features.refinement.pyramid import PULL
from cv3d.geometry.fused import fused

Plane = NDArray[np.float32]
Flat = NDArray[np.float32]
Floats = NDArray[np.float64]

STRETCH = 4
"""A patch is read where it reaches over at most so many times its side, and a few pixels, of its level."""
_SLACK = 3
"""Pixels loaded beyond a patch on each side, so that a patch that moves a little finds its pixels loaded already."""
_FARTHEST = 1e7

_HALF, _ONE = np.float32(0.5), np.float32(1.0)
_EIGHTH, _THREE_EIGHTHS = np.float32(0.125), np.float32(0.375)
# sin(2 pi z) = z (1 - 4 z²) (s0 + s1 z² + s2 z⁴) for |z| ≤ 1/2, to 4e-4: 2e-5 pixels where it is used.
_S0, _S1, _S2 = np.float32(6.27900), np.float32(-15.98825), np.float32(14.04134)
_FOUR, _PULL = np.float32(4.0), np.float32(PULL)
_SHARP = np.float32(-0.75)
_SHARP2, _SHARP3 = np.float32(1.25), np.float32(2.25)


class Window(NamedTuple):
    """Part of a picture's level in single precision."""

    image: Plane
    """The level."""
    shrink: float
    """Its pixels by one of the picture."""
    loaded: NDArray[np.int64]
    """The part: its first pixel, width and height."""
    pixels: Flat
    """Row by row."""
    warp: Flat
    """(4,), pixels of the level by samples."""


@fused
def halve(image: Plane) -> Plane:
    """Half the size; the weights are those of :class:`cv3d.features.refinement.pyramid.Pyramid`."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    bottom, right = image.shape[0] - 1, image.shape[1] - 1
    out = np.empty((height, width), np.float32)
    column = np.empty(2 * width + 2, np.float32)
    for r in range(height):
        a, b = image[max(2 * r - 1, 0)], image[2 * r]
        c, d = image[2 * r + 1], image[min(2 * r + 2, bottom)]
        for k in range(min(2 * width + 1, right + 1)):
            column[k + 1] = (a[k] + d[k]) * _EIGHTH + (b[k] + c[k]) * _THREE_EIGHTHS
        column[0] = column[1]
        if 2 * width > right:
            column[2 * width + 1] = column[2 * width]
        for k in range(width):
            out[r, k] = (column[2 * k] + column[2 * k + 3]) * _EIGHTH + (
                column[2 * k + 1] + column[2 * k + 2]
            ) * _THREE_EIGHTHS
    return out


@fused
def _load(
    image: Plane, x: float, y: float, reach_x: float, reach_y: float, loaded: NDArray[np.int64], window: Flat
) -> bool:
    """Have the pixels about a place in the window, beyond the border those of the border.

    Args:
        image: the level.
        x: the place, pixels of the level.
        y: the same.
        reach_x: how far a patch goes to each side.
        reach_y: the same.
        loaded: what the window holds: its first pixel, width and height. Written to.
        window: rows one after the other.

    Returns:
        Whether the patch fits into the window.
    """
    if not (abs(x) < _FARTHEST and abs(y) < _FARTHEST and reach_x < _FARTHEST and reach_y < _FARTHEST):
        return False
    # Cubic interpolation takes one pixel before and two behind, and single precision may round up to one more.
    left, top = math.floor(x - reach_x) - 2, math.floor(y - reach_y) - 2
    width, height = math.floor(x + reach_x) + 4 - left, math.floor(y + reach_y) + 4 - top
    ox, oy, across, down = loaded[0], loaded[1], loaded[2], loaded[3]
    if left >= ox and top >= oy and left + width <= ox + across and top + height <= oy + down:
        return True
    left, top, width, height = left - _SLACK, top - _SLACK, width + 2 * _SLACK, height + 2 * _SLACK
    if width * height > len(window):
        return False
    last_row, last = image.shape[0] - 1, image.shape[1] - 1
    for r in range(height):
        row = image[min(max(top + r, 0), last_row)]
        for c in range(width):
            window[r * width + c] = row[min(max(left + c, 0), last)]
    loaded[0], loaded[1], loaded[2], loaded[3] = left, top, width, height
    return True


@fused
def _sample(
    window: Flat,
    loaded: NDArray[np.int64],
    x: float,
    y: float,
    warp: NDArray[np.float32],
    across: Flat,
    down: Flat,
    out: Flat,
) -> None:
    """Read a patch at place + warp · offsets; see :meth:`cv3d.features.refinement.pyramid.Pyramid.sample`.

    Args:
        window: pixels, see :func:`_load`.
        loaded: where they are.
        x: the place, pixels of the level.
        y: the same.
        warp: (4,), pixels of the level per unit of the offsets, row by row.
        across: (n,), x of the offsets.
        down: (n,), y of them.
        out: (n,).
    """
    x0, y0 = np.float32(x - loaded[0]), np.float32(y - loaded[1])
    xx, xy, yx, yy = warp[0], warp[1], warp[2], warp[3]
    pitch = np.uint32(loaded[2])
    one, two, three = np.uint32(1), np.uint32(2), np.uint32(3)
    for k in range(len(out)):
        px = x0 + xx * across[k] + xy * down[k]
        py = y0 + yx * across[k] + yy * down[k]
        ix, iy = np.int32(px), np.int32(py)
        ax, bx, cx, dx = _weights(px - np.float32(ix))
        ay, by, cy, dy = _weights(py - np.float32(iy))
        i = np.uint32(iy - np.int32(1)) * pitch + np.uint32(ix - np.int32(1))
        j = i + pitch
        u = j + pitch
        v = u + pitch
        first = ax * window[i] + bx * window[i + one] + cx * window[i + two] + dx * window[i + three]
        second = ax * window[j] + bx * window[j + one] + cx * window[j + two] + dx * window[j + three]
        third = ax * window[u] + bx * window[u + one] + cx * window[u + two] + dx * window[u + three]
        fourth = ax * window[v] + bx * window[v + one] + cx * window[v + two] + dx * window[v + three]
        out[k] = ay * first + by * second + cy * third + dy * fourth


@fused
def _weights(t: np.float32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Of the four pixels about a place t behind the second, pulled as :data:`cv3d.features.refinement.pyramid.PULL`."""
    z = t - _HALF
    w = z * z
    # sin(2 pi t) is -sin(2 pi z).
    t = t + _PULL * z * (_ONE - _FOUR * w) * (_S0 + w * (_S1 + w * _S2))
    s = _ONE - t
    before = _SHARP * t * s * s
    behind = _SHARP * s * t * t
    here = (_SHARP2 * t - _SHARP3) * t * t + _ONE
    after = (_SHARP2 * s - _SHARP3) * s * s + _ONE
    return before, here, after, behind


@fused
def open_window(image: Plane, shrink: float, side: int) -> Window:
    """A level in which patches of `side` samples are to be read."""
    room = STRETCH * side + 16
    return Window(image, shrink, np.zeros(4, np.int64), np.empty(room * room, np.float32), np.empty(4, np.float32))


@fused
def forget(window: Window) -> None:
    """Load anew for the next patch: where a patch is in the window must not depend on those before."""
    for k in range(4):
        window.loaded[k] = 0


@fused
def read_patch(
    window: Window, place: Floats, warp: Floats, reach: np.float32, across: Flat, down: Flat, out: Flat
) -> bool:
    """Read a patch that goes `reach` samples to each side; whether that can be done."""
    shrink = window.shrink
    x, y = (place[0] + 0.5) * shrink - 0.5, (place[1] + 0.5) * shrink - 0.5
    xx, xy, yx, yy = warp[0, 0] * shrink, warp[0, 1] * shrink, warp[1, 0] * shrink, warp[1, 1] * shrink
    reach_x, reach_y = (abs(xx) + abs(xy)) * float(reach), (abs(yx) + abs(yy)) * float(reach)
    if not _load(window.image, x, y, reach_x, reach_y, window.loaded, window.pixels):
        return False
    window.warp[0], window.warp[1], window.warp[2], window.warp[3] = xx, xy, yx, yy
    _sample(window.pixels, window.loaded, x, y, window.warp, across, down, out)
    return True
