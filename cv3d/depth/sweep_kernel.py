"""The fused twin of a half-sweep, see :mod:`cv3d.depth.sweep_reference`: the same steps, pixel by pixel."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Number: TypeAlias = Any
"""A float32 scalar."""
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]
"""Four neighbouring grey values each: of a pixel, of that to its right, and of the two below them."""

INFINITE = np.float32(np.inf)
ABOVE = np.float32(1.00001)
"""Room for rounding."""
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
NEAREST = np.float32(1e-6)
INSIDE = np.float32(1e-3)
BYTE = np.uint32(255)
LESS = np.float32(1e-6)
"""By how much a better plane has to cost less: rounding decides nothing."""
SAMPLES = 32
"""Of a window. The number is known to the compiler, and is that of four vectors."""
WORST = np.float32(2.0)
"""Cost of what a source cannot see."""


@fused
def _matching_cost(
    w: Number,
    a: Number,
    b: Number,
    u: Number,
    v: Number,
    s: int,
    lenses: Floats,
    images: Words,
    stride: int,
    sizes: Ints,
    offsets: Floats,
    values: Floats,
    shares: Floats,
    mean: Number,
    spread: Number,
    floor: Number,
    words: Words,
    parts: Floats,
) -> Number:
    """One minus the weighted correlation of the window with one source under a plane of inverse depth.

    Three loops, of which the compiler makes vector instructions, but for the one that looks up the pixels. Arrays are
    not sliced here: each slice would be counted, and threads would wait for each other's counts.
    """
    x0 = lenses[s, 0] * u + lenses[s, 1] * v + lenses[s, 2] + w * lenses[s, 9]
    y0 = lenses[s, 3] * u + lenses[s, 4] * v + lenses[s, 5] + w * lenses[s, 10]
    z0 = lenses[s, 6] * u + lenses[s, 7] * v + lenses[s, 8] + w * lenses[s, 11]
    if z0 < NEAREST:
        return WORST
    right, bottom = np.float32(sizes[s, 1] - 1), np.float32(sizes[s, 0] - 1)
    if not (x0 >= ZERO and y0 >= ZERO and x0 <= right * z0 and y0 <= bottom * z0):
        return WORST
    xu, yu, zu = lenses[s, 0] + a * lenses[s, 9], lenses[s, 3] + a * lenses[s, 10], lenses[s, 6] + a * lenses[s, 11]
    xv, yv, zv = lenses[s, 1] + b * lenses[s, 9], lenses[s, 4] + b * lenses[s, 10], lenses[s, 7] + b * lenses[s, 11]
    right -= INSIDE
    bottom -= INSIDE
    first = s * stride * (len(images) // (stride * len(sizes)))
    for k in range(SAMPLES):
        du, dv = offsets[0, k], offsets[1, k]
        inverse = ONE / max(z0 + du * zu + dv * zv, NEAREST)
        x = min(max((x0 + du * xu + dv * xv) * inverse, ZERO), right)
        y = min(max((y0 + du * yu + dv * yv) * inverse, ZERO), bottom)
        i, j = np.int32(x), np.int32(y)
        parts[0, k] = x - np.float32(i)
        parts[1, k] = y - np.float32(j)
        words[k] = np.uint32(first + j * stride + i)
    for k in range(SAMPLES):
        words[k] = images[words[k]]
    total = ZERO
    squares = ZERO
    products = ZERO
    for k in range(SAMPLES):
        word = words[k]
        one = np.float32(np.int32(word & BYTE))
        two = np.float32(np.int32((word >> np.uint32(8)) & BYTE))
        three = np.float32(np.int32((word >> np.uint32(16)) & BYTE))
        four = np.float32(np.int32(word >> np.uint32(24)))
        top = one + parts[0, k] * (two - one)
        low = three + parts[0, k] * (four - three)
        seen = top + parts[1, k] * (low - top)
        part = shares[k] * seen
        total += part
        squares += part * seen
        products += part * values[k]
    other = max(squares - total * total, ZERO)
    return ONE - (products - total * mean) / np.sqrt((spread + floor) * (other + floor))


@fused
def _geometric_cost(
    w: Number, u: Number, v: Number, s: int, lenses: Floats, backs: Floats, inverses: Floats, sizes: Ints, limit: Number
) -> Number:
    """How far a pixel comes out of its place when it goes to a source and back by the source's depth, in pixels."""
    z = lenses[s, 6] * u + lenses[s, 7] * v + lenses[s, 8] + w * lenses[s, 11]
    if z < NEAREST:
        return limit
    x = (lenses[s, 0] * u + lenses[s, 1] * v + lenses[s, 2] + w * lenses[s, 9]) / z
    y = (lenses[s, 3] * u + lenses[s, 4] * v + lenses[s, 5] + w * lenses[s, 10]) / z
    i, j = np.int32(np.floor(x + HALF)), np.int32(np.floor(y + HALF))
    if i < 0 or j < 0 or i >= sizes[s, 1] or j >= sizes[s, 0]:
        return limit
    there = inverses[s, j, i]
    if there <= ZERO:
        return limit
    z = backs[s, 6] * x + backs[s, 7] * y + backs[s, 8] + there * backs[s, 11]
    if z < NEAREST:
        return limit
    du = (backs[s, 0] * x + backs[s, 1] * y + backs[s, 2] + there * backs[s, 9]) / z - u
    dv = (backs[s, 3] * x + backs[s, 4] * y + backs[s, 5] + there * backs[s, 10]) / z - v
    return min(np.sqrt(du * du + dv * dv), limit)


@fused
def _cost(
    most: Number,
    w: Number,
    a: Number,
    b: Number,
    u: Number,
    v: Number,
    lenses: Floats,
    backs: Floats,
    images: Words,
    stride: int,
    inverses: Floats,
    sizes: Ints,
    offsets: Floats,
    values: Floats,
    shares: Floats,
    mean: Number,
    spread: Number,
    scalars: Floats,
    best: int,
    asked: Ints,
    count: int,
    ordered: Floats,
    apart: Floats,
    words: Words,
    parts: Floats,
) -> Number:
    """Mean of the best costs in the first `count` of the sources that are asked; `asked` is put in their order.

    What comes to more than `most` is not asked to the end. How far a plane is from what the sources have found is told
    by one look into each, the windows by 32: so that comes first.
    """
    limit = most * np.float32(best) * ABOVE
    still = ZERO
    for n in range(count):
        apart[n] = ZERO
        if scalars[1] > ZERO:
            apart[n] = scalars[1] * _geometric_cost(w, u, v, asked[n], lenses, backs, inverses, sizes, scalars[2])
        still += apart[n]
    if count == best and still > limit:
        return INFINITE
    for n in range(count):
        s = asked[n]
        cost = min(
            _matching_cost(
                w, a, b, u, v, s, lenses, images, stride, sizes, offsets, values, shares, mean, spread, scalars[0],
                words, parts,
            ),
            scalars[9],
        ) + apart[n]  # fmt: skip
        still -= apart[n]
        k = n
        while k > 0 and ordered[k - 1] > cost:
            ordered[k] = ordered[k - 1]
            asked[k] = asked[k - 1]
            k -= 1
        ordered[k] = cost
        asked[k] = s
        # Those not asked yet may all be among the best; where all count, each costs what it is apart at least.
        least = still if count == best else ZERO
        for k in range(best - (count - 1 - n)):
            least += ordered[k]
        if least > limit:
            return INFINITE
    total = ZERO
    for n in range(best):
        total += ordered[n]
    return total / np.float32(best)


@fused
def _is_plane(w: Number, a: Number, b: Number, u: Number, v: Number, camera: Floats, scalars: Floats) -> Number:
    """Whether a plane lies inside the range at its pixel and is not seen too grazingly."""
    if w < scalars[3] or w > scalars[4]:
        return False
    x, y = (u - camera[2]) / camera[0], (v - camera[3]) / camera[1]
    nx, ny = a * camera[0], b * camera[1]
    nz = w - nx * x - ny * y
    return w * w >= scalars[5] * (nx * nx + ny * ny + nz * nz) * (x * x + y * y + ONE)


@fused
def fill_windows(
    u: int, v: int, reference: Bytes, offsets: Floats, near: Floats, tone: Number, values: Floats, shares: Floats
) -> tuple[Number, Number]:
    """The window around a pixel and the share of each of its samples; its mean and variance."""
    height, width = reference.shape
    middle = np.float32(reference[v, u])
    total = ZERO
    for k in range(SAMPLES):
        i, j = min(max(u + np.int32(offsets[0, k]), 0), width - 1), min(max(v + np.int32(offsets[1, k]), 0), height - 1)
        value = np.float32(reference[j, i])
        difference = value - middle
        share = near[k] * np.exp(-difference * difference * tone)
        values[k], shares[k] = value, share
        total += share
    mean = ZERO
    square = ZERO
    for k in range(SAMPLES):
        shares[k] /= total
        mean += shares[k] * values[k]
        square += shares[k] * values[k] * values[k]
    return mean, max(square - mean * mean, ZERO)


@fused
def evaluate_rows(
    first: int,
    last: int,
    planes: Floats,
    costs: Floats,
    reference: Bytes,
    camera: Floats,
    lenses: Floats,
    backs: Floats,
    images: Words,
    stride: int,
    inverses: Floats,
    sizes: Ints,
    offsets: Floats,
    near: Floats,
    scalars: Floats,
    best: int,
) -> None:
    """The cost of every pixel's own plane, rows `first` to `last`."""
    values, shares = np.empty(SAMPLES, np.float32), np.empty(SAMPLES, np.float32)
    ordered, asked = np.empty(len(lenses), np.float32), np.arange(len(lenses)).astype(np.int32)
    apart = np.empty(len(lenses), np.float32)
    words, parts = np.empty(SAMPLES, np.uint32), np.empty((2, SAMPLES), np.float32)
    for v in range(first, last):
        for u in range(reference.shape[1]):
            mean, spread = fill_windows(u, v, reference, offsets, near, scalars[6], values, shares)
            asking = len(lenses)
            costs[v, u] = _cost(
                INFINITE, planes[0, v, u], planes[1, v, u], planes[2, v, u], np.float32(u), np.float32(v),
                lenses, backs, images, stride, inverses, sizes, offsets, values, shares, mean, spread, scalars,
                best, asked, asking, ordered, apart, words, parts,
            )  # fmt: skip


@fused
def sweep_rows(
    first: int,
    last: int,
    parity: int,
    planes: Floats,
    costs: Floats,
    regions: Ints,
    chances: Floats,
    tries: Floats,
    reference: Bytes,
    camera: Floats,
    lenses: Floats,
    backs: Floats,
    images: Words,
    stride: int,
    inverses: Floats,
    sizes: Ints,
    offsets: Floats,
    near: Floats,
    scalars: Floats,
    best: int,
    narrow: int,
) -> None:
    """Better planes for the pixels of one colour of the checkerboard, rows `first` to `last`."""
    height, width = reference.shape
    values, shares = np.empty(SAMPLES, np.float32), np.empty(SAMPLES, np.float32)
    ordered, asked = np.empty(len(lenses), np.float32), np.arange(len(lenses)).astype(np.int32)
    apart = np.empty(len(lenses), np.float32)
    words, parts = np.empty(SAMPLES, np.uint32), np.empty((2, SAMPLES), np.float32)
    tried = len(regions) + len(tries)
    for v in range(first, last):
        for u in range((v + parity) % 2, width, 2):
            mean, spread = fill_windows(u, v, reference, offsets, near, scalars[6], values, shares)
            w, a, b, cost = planes[0, v, u], planes[1, v, u], planes[2, v, u], costs[v, u]
            asking = len(lenses)
            if narrow > 0:
                for k in range(asking):
                    asked[k] = k
                cost = _cost(
                    INFINITE, w, a, b, np.float32(u), np.float32(v), lenses, backs, images, stride, inverses, sizes,
                    offsets, values, shares, mean, spread, scalars, best, asked, asking, ordered, apart, words, parts,
                )  # fmt: skip
                asking = best
            for k in range(tried):
                if k < len(regions):
                    least, at_u, at_v = np.float32(np.inf), -1, -1
                    for m in range(regions.shape[1]):
                        i, j = u + regions[k, m, 0], v + regions[k, m, 1]
                        if i >= 0 and j >= 0 and i < width and j < height and costs[j, i] < least:
                            least, at_u, at_v = costs[j, i], i, j
                    if at_u < 0:
                        continue
                    a2, b2 = planes[1, at_v, at_u], planes[2, at_v, at_u]
                    w2 = planes[0, at_v, at_u] + a2 * np.float32(u - at_u) + b2 * np.float32(v - at_v)
                else:
                    t = k - len(regions)
                    w2 = tries[t, 0] * w + tries[t, 1] + tries[t, 2] * chances[3 * t, v, u]
                    slant = tries[t, 3] + tries[t, 4] * w2
                    a2 = tries[t, 0] * a + slant * chances[3 * t + 1, v, u]
                    b2 = tries[t, 0] * b + slant * chances[3 * t + 2, v, u]
                change = abs(w2 - w) + scalars[8] * (abs(a2 - a) + abs(b2 - b))
                if change < scalars[7] or not _is_plane(w2, a2, b2, np.float32(u), np.float32(v), camera, scalars):
                    continue
                other = _cost(
                    cost, w2, a2, b2, np.float32(u), np.float32(v), lenses, backs, images, stride, inverses, sizes,
                    offsets, values, shares, mean, spread, scalars, best, asked, asking, ordered, apart, words, parts,
                )  # fmt: skip
                if other < cost - LESS:
                    w, a, b, cost = w2, a2, b2, other
            planes[0, v, u], planes[1, v, u], planes[2, v, u] = w, a, b
            costs[v, u] = cost
