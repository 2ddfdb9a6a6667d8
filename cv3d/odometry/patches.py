"""Reference patches of points, and where they are in a new frame: sparse direct alignment.

Every point keeps the surroundings of the place where it was found, on every level of a pyramid. In a new frame its
patch is warped as the predicted motion tells, and its place is where the warped patch fits, found from coarse to fine
by the inverse compositional Gauss-Newton (Baker and Matthews, "Lucas-Kanade 20 years on", 2004). Brightness is
normalised patch by patch, so a change of exposure does not matter. The warp stays as predicted, as in Forster et al.,
"SVO: fast semi-direct monocular visual odometry", 2014.

`align_kernel` is the fused twin, for the CPU, of :func:`align_reference`, the torch expression that runs everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

RADIUS = 5
"""Half the side of the patch that is compared, less half a pixel, on every level."""
STORED = 9
"""Half the side of what is kept of the reference, less half a pixel: room for a warp."""
LEVELS = 4
"""Levels of the pyramid, each of half the size of the one before."""
_SIDE = 2 * STORED + 1
_ITERATIONS = 8
_CONVERGED = 0.03
"""A step of less ends a level, pixels of that level."""
_LEAST_NOISE = 2.0
"""Grey levels by which the pixels of a patch and of its reference differ at least."""
_CORRELATED = 4.0
"""Neighbouring pixels that err alike: what the variance of a place is larger by than of independent ones."""

_GUESS_SIGMA = 1000.0
"""Deviation of the guess, pixels of a level: where an edge tells nothing, the place stays at the guess."""
_MODEL_VARIANCE = 0.5**2
"""Of a place, for what warp, lens and shutter leave unexplained, pixels squared."""
_LEAST_DEVIATION = 1.5
"""Grey levels: a flatter patch has nothing to align."""


@dataclass(frozen=True)
class Aligned:
    """Where patches were found."""

    pixels: Floats
    """(n, 2) places, pixels."""
    ncc: Floats
    """(n,) normalised cross-correlation of the finest level; -1: left the picture, or no texture."""
    covariance: Floats
    """(n, 3) of the place (xx, xy, yy), pixels squared: along an edge it is large."""


def build_levels(image: Image, levels: int = LEVELS) -> tuple[Image, ...]:
    """Pyramid of a picture (H, W), finest first."""
    stack = [np.ascontiguousarray(image)]
    for _ in range(levels - 1):
        if min(stack[-1].shape) < 4 * RADIUS:
            break
        height, width = stack[-1].shape
        stack.append(cv2.resize(stack[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    return tuple(stack)


@fused
def take_kernel(level: Image, pixels: Floats, scale: float, out: Image) -> None:
    """Copy surroundings (n, S, S) of places, by bilinear interpolation; the border continues outwards."""
    height, width = level.shape
    side = out.shape[1]
    half = side // 2
    for i in range(len(pixels)):
        x0 = (pixels[i, 0] + 0.5) * scale - 0.5 - half
        y0 = (pixels[i, 1] + 0.5) * scale - 0.5 - half
        fx, fy = math.floor(x0), math.floor(y0)
        wx, wy = x0 - fx, y0 - fy
        ix, iy = int(fx), int(fy)
        for r in range(side):
            ya = min(max(iy + r, 0), height - 1)
            yb = min(max(iy + r + 1, 0), height - 1)
            for c in range(side):
                xa = min(max(ix + c, 0), width - 1)
                xb = min(max(ix + c + 1, 0), width - 1)
                top = level[ya, xa] * (1.0 - wx) + level[ya, xb] * wx
                low = level[yb, xa] * (1.0 - wx) + level[yb, xb] * wx
                out[i, r, c] = np.uint8(top * (1.0 - wy) + low * wy + 0.5)


@fused
def _template(patch: Image, a00: float, a01: float, a10: float, a11: float, out: Floats) -> bool:
    """The patch as the warp shows it, one pixel larger on each side than what is compared."""
    side = patch.shape[0]
    half = side // 2
    wide = out.shape[0]
    reach = wide // 2
    limit = side - 1.001
    for r in range(wide):
        v = r - reach
        for c in range(wide):
            u = c - reach
            x = half + a00 * u + a01 * v
            y = half + a10 * u + a11 * v
            if x < 0.0 or y < 0.0 or x > limit or y > limit:
                x = min(max(x, 0.0), limit)
                y = min(max(y, 0.0), limit)
            ix, iy = int(x), int(y)
            wx, wy = x - ix, y - iy
            top = patch[iy, ix] + (np.float32(patch[iy, ix + 1]) - patch[iy, ix]) * wx
            low = patch[iy + 1, ix] + (np.float32(patch[iy + 1, ix + 1]) - patch[iy + 1, ix]) * wx
            out[r, c] = top + (low - top) * wy
    return True


@fused
def align_kernel(  # noqa: PLR0912, PLR0915
    levels: tuple[Image, ...],
    patches: Image,
    rows: NDArray[np.int64],
    inverse_warps: Floats,
    guess: Floats,
    coarsest: int,
    finest: int,
    out: Floats,
) -> None:
    """Align patches; see :func:`align_reference`. `out` is (n, 6): x, y, correlation, covariance."""
    wide = 2 * RADIUS + 3
    side = 2 * RADIUS + 1
    count = side * side
    template = np.empty((wide, wide), np.float32)
    tx = np.empty((side, side), np.float32)
    ty = np.empty((side, side), np.float32)
    t = np.empty((side, side), np.float32)
    now = np.empty((side, side), np.float32)
    for i in range(len(rows)):
        x, y = guess[i, 0], guess[i, 1]
        ncc = np.float32(-1.0)
        vxx = vxy = vyy = np.float32(1e6)
        lost = False
        for step_level in range(coarsest - finest + 1):
            level = coarsest - step_level
            image = levels[level]
            height, width = image.shape
            scale = 1.0 / (1 << level)
            _template(
                patches[rows[i], level],
                inverse_warps[i, 0, 0],
                inverse_warps[i, 0, 1],
                inverse_warps[i, 1, 0],
                inverse_warps[i, 1, 1],
                template,
            )
            mean = np.float32(0.0)
            for r in range(side):
                for c in range(side):
                    mean += template[r + 1, c + 1]
            mean /= count
            energy = np.float32(0.0)
            xx = np.float32(0.0)
            xy = np.float32(0.0)
            yy = np.float32(0.0)
            mx = np.float32(0.0)
            my = np.float32(0.0)
            for r in range(side):
                for c in range(side):
                    value = template[r + 1, c + 1] - mean
                    gx = np.float32(0.5) * (template[r + 1, c + 2] - template[r + 1, c])
                    gy = np.float32(0.5) * (template[r + 2, c + 1] - template[r, c + 1])
                    t[r, c] = value
                    tx[r, c] = gx
                    ty[r, c] = gy
                    energy += value * value
                    mx += gx
                    my += gy
                    xx += gx * gx
                    xy += gx * gy
                    yy += gy * gy
            deviation = math.sqrt(energy / count)
            # The mean of the present patch is taken out, which takes the mean gradient out of the normal equations.
            xx -= mx * mx / count
            xy -= mx * my / count
            yy -= my * my / count
            hold = np.float32(count * (_LEAST_NOISE / _GUESS_SIGMA) ** 2)
            hxx, hyy = xx + hold, yy + hold
            det = hxx * hyy - xy * xy
            if deviation < _LEAST_DEVIATION:
                if level == finest:
                    lost = True
                continue
            px = (x + 0.5) * scale - 0.5
            py = (y + 0.5) * scale - 0.5
            qx, qy = px, py
            ncc = np.float32(-1.0)
            for _ in range(_ITERATIONS):
                cx = px - RADIUS
                cy = py - RADIUS
                if not (cx >= 0.0 and cy >= 0.0 and cx < width - side - 1 and cy < height - side - 1):
                    ncc = np.float32(-1.0)
                    break
                ix, iy = int(cx), int(cy)
                wx, wy = np.float32(cx - ix), np.float32(cy - iy)
                w00 = (1 - wx) * (1 - wy)
                w01 = wx * (1 - wy)
                w10 = (1 - wx) * wy
                w11 = wx * wy
                total = np.float32(0.0)
                square = np.float32(0.0)
                for r in range(side):
                    for c in range(side):
                        value = (
                            w00 * image[iy + r, ix + c]
                            + w01 * image[iy + r, ix + c + 1]
                            + w10 * image[iy + r + 1, ix + c]
                            + w11 * image[iy + r + 1, ix + c + 1]
                        )
                        now[r, c] = value
                        total += value
                total /= count
                bx = np.float32(0.0)
                by = np.float32(0.0)
                cross = np.float32(0.0)
                tbx = np.float32(0.0)
                tby = np.float32(0.0)
                for r in range(side):
                    for c in range(side):
                        value = now[r, c] - total
                        square += value * value
                        cross += value * t[r, c]
                        bx += value * tx[r, c]
                        by += value * ty[r, c]
                        tbx += t[r, c] * tx[r, c]
                        tby += t[r, c] * ty[r, c]
                if square < count * _LEAST_DEVIATION * _LEAST_DEVIATION:
                    ncc = np.float32(-1.0)
                    break
                gain = math.sqrt(energy / square)
                ncc = cross * gain / energy
                ex = gain * bx - tbx + hold * (px - qx)
                ey = gain * by - tby + hold * (py - qy)
                dx = (hyy * ex - xy * ey) / det
                dy = (hxx * ey - xy * ex) / det
                size = dx * dx + dy * dy
                if size > 4.0:
                    shrink = 2.0 / math.sqrt(size)
                    dx *= shrink
                    dy *= shrink
                px -= dx
                py -= dy
                if size < _CONVERGED * _CONVERGED:
                    break
            x = (px + 0.5) / scale - 0.5
            y = (py + 0.5) / scale - 0.5
            if level == finest:
                misfit = max(energy / count * (1.0 - ncc * ncc), _LEAST_NOISE * _LEAST_NOISE) * _CORRELATED
                bare = max(xx * yy - xy * xy, 1e-6 * (xx + yy) * (xx + yy))
                grow = np.float32(1 << level) ** 2
                vxx = grow * misfit * yy / bare + _MODEL_VARIANCE
                vyy = grow * misfit * xx / bare + _MODEL_VARIANCE
                vxy = -grow * misfit * xy / bare
        out[i, 0] = x
        out[i, 1] = y
        out[i, 2] = -1.0 if lost else ncc
        out[i, 3], out[i, 4], out[i, 5] = vxx, vxy, vyy
