"""Patches taken and aligned by fused kernels: the twins, on the CPU, of :mod:`cv3d.odometry.patches_reference`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused
from cv3d.odometry.patches import (
    CONVERGED,
    CORRELATED,
    COUNT,
    GRADIENT_NOISE,
    ITERATIONS,
    LEAST_NOISE,
    LEAST_SQUARE,
    LONGEST_STEP,
    MODEL_VARIANCE,
    RADIUS,
    SIDE,
    UNKNOWN,
    Image,
    Levels,
)
from cv3d.odometry.structure_tensor import spread_inverse, step_inverse

Floats = NDArray[np.float32]
Indices = NDArray[np.uint32]

# Arrays of one row after another, all of this pitch: loops over them have no rows, and become vector instructions.
_MARGIN = 2
_PITCH = SIDE + 1 + 2 * _MARGIN
_SPAN = SIDE * _PITCH
_TEMPLATE = (SIDE + 2) * _PITCH
_WINDOW = (_PITCH + 2) * _PITCH

_COUNT, _LEAST_SQUARE = np.float32(COUNT), np.float32(LEAST_SQUARE)
_LONGEST, _CONVERGED2 = np.float32(LONGEST_STEP), np.float32(CONVERGED**2)
_HALF = np.float32(0.5)


@fused
def take_kernel(level: Image, pixels: Floats, scale: float, out: Image) -> None:
    """Copy surroundings (n, S, S) of places, by bilinear interpolation; the border continues outwards."""
    height, width = level.shape
    side = out.shape[1]
    half = side // 2
    around = np.empty((side + 1, side + 1), np.float32)
    for i in range(len(pixels)):
        x0 = (pixels[i, 0] + 0.5) * scale - 0.5 - half
        y0 = (pixels[i, 1] + 0.5) * scale - 0.5 - half
        ix, iy = math.floor(x0), math.floor(y0)
        wx, wy = np.float32(x0 - ix), np.float32(y0 - iy)
        for r in range(side + 1):
            row = level[min(max(iy + r, 0), height - 1)]
            for c in range(side + 1):
                around[r, c] = row[min(max(ix + c, 0), width - 1)]
        for r in range(side):
            for c in range(side):
                top = around[r, c] + (around[r, c + 1] - around[r, c]) * wx
                low = around[r + 1, c] + (around[r + 1, c + 1] - around[r + 1, c]) * wx
                out[i, r, c] = np.uint8(top + (low - top) * wy + _HALF)


@fused
def align_kernel(
    levels: Levels,
    patches: Image,
    rows: NDArray[np.int64],
    inverse_warps: Floats,
    guess: Floats,
    coarsest: int,
    finest: int,
    out: Floats,
) -> None:
    """Align patches; see :func:`cv3d.odometry.patches_reference.align_reference`. `out` (n, 6) is its result."""
    side = patches.shape[2]
    at = np.empty(_TEMPLATE, np.uint32)
    wx, wy = np.empty(_TEMPLATE, np.float32), np.empty(_TEMPLATE, np.float32)
    stored = np.empty(side * side, np.float32)
    template = np.zeros(_TEMPLATE + _PITCH, np.float32)
    fields = np.zeros((3, _SPAN), np.float32)
    window = np.zeros(_WINDOW, np.float32)
    mask = np.zeros(_SPAN, np.float32)
    for r in range(SIDE):
        mask[r * _PITCH : r * _PITCH + SIDE] = 1.0
    for i in range(len(rows)):
        x, y = guess[i, 0], guess[i, 1]
        ncc = np.float32(-1.0)
        out[i, 3], out[i, 4], out[i, 5] = UNKNOWN, UNKNOWN, UNKNOWN
        _plan_warp(inverse_warps[i], side, at, wx, wy)
        for level in range(coarsest, finest - 1, -1):
            _warp(patches[rows[i], level].reshape(-1), side, at, wx, wy, stored, template)
            middle = stored[side * side // 2]
            known = _moments(template, mask, middle, fields[0], fields[1], fields[2])
            if known[3] < _LEAST_SQUARE:
                if level == finest:
                    ncc = np.float32(-1.0)
                continue
            scale = np.float32(1 << level)
            x, y, ncc = _descend(levels[level], x, y, scale, middle, known, mask, fields, window)
            if level == finest:
                misfit = max(float(known[3]) * (1.0 - float(ncc) ** 2) / COUNT, LEAST_NOISE * LEAST_NOISE)
                # Half of what the fit leaves over is the reference's noise, and half of that is in each derivative.
                xx, xy, yy = spread_inverse(known[4], known[5], known[6], max(0.25 * COUNT * misfit, GRADIENT_NOISE))
                grow = scale * scale * misfit * CORRELATED
                out[i, 3], out[i, 4], out[i, 5] = grow * xx + MODEL_VARIANCE, grow * xy, grow * yy + MODEL_VARIANCE
        out[i, 0], out[i, 1], out[i, 2] = x, y, ncc


@fused
def _plan_warp(warp: Floats, side: int, at: Indices, wx: Floats, wy: Floats) -> None:
    """Where in a stored patch the pixels of the template lie, the same on every level: first of four, and weights."""
    half, reach = np.float32(side // 2), np.float32(RADIUS + 1)
    zero, limit = np.float32(0.0), np.float32(side - 1.001)
    for r in range(SIDE + 2):
        v = np.float32(r) - reach
        x0 = half + warp[0, 1] * v - warp[0, 0] * reach
        y0 = half + warp[1, 1] * v - warp[1, 0] * reach
        for c in range(_PITCH):
            k = r * _PITCH + c
            x = min(max(zero, x0 + warp[0, 0] * np.float32(c)), limit)
            y = min(max(zero, y0 + warp[1, 0] * np.float32(c)), limit)
            ix, iy = np.int32(x), np.int32(y)
            at[k] = np.uint32(iy * np.int32(side) + ix)
            wx[k], wy[k] = x - np.float32(ix), y - np.float32(iy)


@fused
def _warp(patch: Image, side: int, at: Indices, wx: Floats, wy: Floats, stored: Floats, out: Floats) -> None:
    """The patch as the warp shows it, one pixel larger on each side than what is compared."""
    for k in range(len(stored)):
        stored[k] = np.float32(patch[k])
    right, below, both = np.uint32(1), np.uint32(side), np.uint32(side + 1)
    for r in range(SIDE + 2):
        for c in range(SIDE + 2):
            k = r * _PITCH + c
            j = at[k]
            top = stored[j] + (stored[j + right] - stored[j]) * wx[k]
            low = stored[j + below] + (stored[j + both] - stored[j + below]) * wx[k]
            out[k] = top + (low - top) * wy[k]


@fused
def _moments(
    template: Floats, mask: Floats, middle: np.float32, t: Floats, tx: Floats, ty: Floats
) -> tuple[np.float32, ...]:
    """Fields of a template, less the grey of its middle, and derivatives, 0 between rows; their sums and products.

    The mean of the present patch is taken out of it, which takes the means of these fields out of the products.
    """
    left = template[_PITCH : _PITCH + _SPAN]
    here = template[_PITCH + 1 : _PITCH + 1 + _SPAN]
    right = template[_PITCH + 2 : _PITCH + 2 + _SPAN]
    above = template[1 : 1 + _SPAN]
    below = template[2 * _PITCH + 1 : 2 * _PITCH + 1 + _SPAN]
    s = sx = sy = e = xx = xy = yy = ex = ey = np.float32(0.0)
    for k in range(_SPAN):
        value = mask[k] * (here[k] - middle)
        gx = mask[k] * _HALF * (right[k] - left[k])
        gy = mask[k] * _HALF * (below[k] - above[k])
        t[k], tx[k], ty[k] = value, gx, gy
        s += value
        sx += gx
        sy += gy
        e += value * value
        xx += gx * gx
        xy += gx * gy
        yy += gy * gy
        ex += value * gx
        ey += value * gy
    e -= s * s / _COUNT
    xx -= sx * sx / _COUNT
    xy -= sx * sy / _COUNT
    yy -= sy * sy / _COUNT
    ex -= s * sx / _COUNT
    ey -= s * sy / _COUNT
    return s, sx, sy, e, xx, xy, yy, ex, ey


@fused
def _descend(
    image: Image,
    x: np.float32,
    y: np.float32,
    scale: np.float32,
    middle: np.float32,
    known: tuple[np.float32, ...],
    mask: Floats,
    fields: Floats,
    window: Floats,
) -> tuple[np.float32, np.float32, np.float32]:
    """Gauss-Newton on one level: the place reached, from one in the picture, and the correlation before the last step.

    The correlation is -1 where the patch left the picture, or where what is there is flat.
    """
    s, sx, sy, energy, xx, xy, yy, tbx, tby = known
    hxx, hxy, hyy = step_inverse(xx, xy, yy, GRADIENT_NOISE)
    height, width = image.shape
    radius = np.float32(RADIUS)
    px, py = (x + _HALF) / scale - _HALF, (y + _HALF) / scale - _HALF
    ncc = np.float32(-1.0)
    ox = oy = -_PITCH
    for _ in range(ITERATIONS):
        cx, cy = px - radius, py - radius
        if not (cx >= 0.0 and cy >= 0.0 and cx < width - SIDE - 1 and cy < height - SIDE - 1):
            ncc = np.float32(-1.0)
            break
        ix, iy = int(cx), int(cy)
        if not (ox <= ix <= ox + 2 * _MARGIN and oy <= iy <= oy + 2 * _MARGIN):
            ox = max(min(ix - _MARGIN, width - _PITCH), 0)
            oy = max(min(iy - _MARGIN, height - _PITCH), 0)
            _load(image, ox, oy, window)
        start = (iy - oy) * _PITCH + ix - ox
        total, square, cross, bx, by = _correlate(
            window[start:], cx - np.float32(ix), cy - np.float32(iy), middle, mask, fields[0], fields[1], fields[2]
        )
        mean = total / _COUNT
        square -= mean * total
        if square < _LEAST_SQUARE:
            ncc = np.float32(-1.0)
            break
        gain = np.sqrt(energy / square)
        ncc = (cross - mean * s) * gain / energy
        ex = gain * (bx - mean * sx) - tbx
        ey = gain * (by - mean * sy) - tby
        dx = hxx * ex + hxy * ey
        dy = hxy * ex + hyy * ey
        size = dx * dx + dy * dy
        if size > _LONGEST * _LONGEST:
            shrink = _LONGEST / np.sqrt(size)
            dx *= shrink
            dy *= shrink
        px -= dx
        py -= dy
        if size < _CONVERGED2:
            break
    return (px + _HALF) * scale - _HALF, (py + _HALF) * scale - _HALF, ncc


@fused
def _load(image: Image, ox: int, oy: int, window: Floats) -> None:
    """Part of a picture, from pixel (ox, oy) on."""
    columns = min(image.shape[1] - ox, _PITCH)
    for r in range(min(image.shape[0] - oy, _PITCH)):
        row = image[oy + r, ox : ox + columns]
        out = window[r * _PITCH : r * _PITCH + columns]
        for c in range(columns):
            out[c] = np.float32(row[c])


@fused
def _correlate(
    window: Floats, wx: np.float32, wy: np.float32, middle: np.float32, mask: Floats, t: Floats, tx: Floats, ty: Floats
) -> tuple[np.float32, np.float32, np.float32, np.float32, np.float32]:
    """Sum, sum of squares and products with the fields, of the pixels at a place of the window, less `middle`."""
    here, right = window[:_SPAN], window[1 : 1 + _SPAN]
    below, both = window[_PITCH : _PITCH + _SPAN], window[_PITCH + 1 : _PITCH + 1 + _SPAN]
    total = square = cross = bx = by = np.float32(0.0)
    for k in range(_SPAN):
        top = here[k] + wx * (right[k] - here[k])
        low = below[k] + wx * (both[k] - below[k])
        value = top + wy * (low - top) - middle
        inside = mask[k] * value
        total += inside
        square += inside * value
        cross += value * t[k]
        bx += value * tx[k]
        by += value * ty[k]
    return total, square, cross, bx, by
