"""Patches, and a picture resampled along an epipolar curve, so that the one can slide over the other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Pixels = NDArray[np.float32]
Image = NDArray[np.uint8]

SIDE = 8
"""Side of the patch that is compared, pixels of a level."""
_COUNT = SIDE * SIDE
_HALF = 0.5 * (SIDE - 1)
_FLAT = np.float32(_COUNT * 1.5**2)
"""Sum of squared deviations, grey levels squared: a flatter patch fits anything."""


@fused
def _sample_line(image: Image, x: float, y: float, dx: float, dy: float, out: Pixels) -> None:
    """Values at equal steps along a line, between pixels; the border continues outwards."""
    height, width = image.shape
    last = len(out) - 1
    ex, ey = x + last * dx, y + last * dy
    # Fixed point: 16 bits after the point for places, 6 for weights.
    fx, fy = int(x * 65536.0), int(y * 65536.0)
    gx, gy = int(dx * 65536.0), int(dy * 65536.0)
    is_inside = (
        min(x, ex) >= 1.0 and min(y, ey) >= 1.0 and max(x, ex) <= width - 3.0 and max(y, ey) <= height - 3.0
    )  # fmt: skip
    for k in range(len(out)):
        if not is_inside:
            fx = min(max(int((x + k * dx) * 65536.0), 0), (width - 1) * 65536 - 1)
            fy = min(max(int((y + k * dy) * 65536.0), 0), (height - 1) * 65536 - 1)
        # An unsigned index is taken as it is; a signed one would be looked at for counting from the end.
        ix, iy = np.uintp(fx >> 16), np.uintp(fy >> 16)
        jx, jy = np.uintp((fx >> 16) + 1), np.uintp((fy >> 16) + 1)
        wx, wy = (fx >> 10) & 63, (fy >> 10) & 63
        a, b = np.int64(image[iy, ix]), np.int64(image[iy, jx])
        c, d = np.int64(image[jy, ix]), np.int64(image[jy, jx])
        top = (a << 6) + (b - a) * wx
        low = (c << 6) + (d - c) * wx
        out[k] = np.float32((top << 6) + (low - top) * wy) * np.float32(1.0 / 4096.0)
        fx += gx
        fy += gy


@fused
def take_template(image: Image, x: float, y: float, inverse: Pixels, axes: Pixels, out: Pixels) -> float:
    """The patch as the other picture shows it on two axes, of mean 0 and length 1; its mean, -1: too flat."""
    ux = inverse[0, 0] * axes[0, 0] + inverse[0, 1] * axes[0, 1]
    uy = inverse[1, 0] * axes[0, 0] + inverse[1, 1] * axes[0, 1]
    vx = inverse[0, 0] * axes[1, 0] + inverse[0, 1] * axes[1, 1]
    vy = inverse[1, 0] * axes[1, 0] + inverse[1, 1] * axes[1, 1]
    total = np.float32(0.0)
    for r in range(SIDE):
        v = r - _HALF
        _sample_line(image, x + vx * v - ux * _HALF, y + vy * v - uy * _HALF, ux, uy, out[r])
        for c in range(SIDE):
            total += out[r, c]
    mean = total / np.float32(_COUNT)
    square = np.float32(0.0)
    for r in range(SIDE):
        for c in range(SIDE):
            out[r, c] -= mean
            square += out[r, c] * out[r, c]
    if square < _FLAT:
        return -1.0
    scale = np.float32(1.0 / math.sqrt(square))
    for r in range(SIDE):
        for c in range(SIDE):
            out[r, c] *= scale
    return float(mean)


@fused
def lay_strip(
    image: Image, nodes: Pixels, start: float, end: float, step: float, axes: Pixels,
    stations: Pixels, inside: Image, strip: Pixels,
) -> int:  # fmt: skip
    """Resample the picture along a curve.

    Args:
        image: the level.
        nodes: of the curve, finite between `start` and `end`.
        start: first station that a patch is compared at.
        end: last.
        step: pixels of the finest level for a pixel of this one.
        axes: see :func:`cv3d.odometry.epipolar_curves.set_axes`.
        stations: out, (m,) of the columns of the strip.
        inside: out, (m,) whether the place is in the picture.
        strip: out, (SIDE, m).

    Returns:
        How many places there are to compare; their patches begin at columns 0, 1, ...
    """
    main = 0 if abs(axes[0, 0]) >= abs(axes[0, 1]) else 1
    sign = 1.0 if axes[0, main] > 0.0 else -1.0
    node, last = min(int(start), len(nodes) - 2), max(math.ceil(end) - 1, int(start))
    begin = (nodes[node, main] + (start - node) * (nodes[node + 1, main] - nodes[node, main]) + 0.5) / step - 0.5
    if main == 0:
        across_end, main_end = image.shape[0], image.shape[1]
    else:
        across_end, main_end = image.shape[1], image.shape[0]
    pixel = math.floor(begin + 0.5) - int(sign) * (SIDE // 2 - 1)
    column = 0
    while column < len(stations):
        advance = (pixel + 0.5) * step - 0.5 - nodes[node, main]
        piece = nodes[node + 1, main] - nodes[node, main]
        while node < last and advance * sign > piece * sign:
            node += 1
            advance = (pixel + 0.5) * step - 0.5 - nodes[node, main]
            piece = nodes[node + 1, main] - nodes[node, main]
        if not piece * sign > 1e-3:
            # The curve turns round.
            break
        w = advance / piece
        place = (nodes[node, 1 - main] + w * (nodes[node + 1, 1 - main] - nodes[node, 1 - main]) + 0.5) / step - 0.5
        stations[column] = node + w
        inside[column] = pixel >= 0 and pixel < main_end and place >= 0.0 and place <= across_end - 1.0
        _sample_column(image, main, min(max(pixel, 0), main_end - 1), place - _HALF, strip, column)
        column += 1
        pixel += int(sign)
        if column >= SIDE and stations[column - SIDE // 2] >= end:
            break
    return max(column - SIDE + 1, 0)


@fused
def _sample_column(image: Image, main: int, pixel: int, place: float, strip: Pixels, column: int) -> None:
    """Values of one pixel column (or row) from a place on, one pixel apart; the border continues outwards."""
    whole = math.floor(place)
    w = np.float32(place - whole)
    # An unsigned index is taken as it is; a signed one would be looked at for counting from the end.
    k = np.uintp(pixel)
    if main == 0:
        most = image.shape[0] - 1
        before = np.float32(image[np.uintp(min(max(whole, 0), most)), k])
        for r in range(SIDE):
            after = np.float32(image[np.uintp(min(max(whole + r + 1, 0), most)), k])
            strip[r, column] = before + w * (after - before)
            before = after
    else:
        most = image.shape[1] - 1
        before = np.float32(image[k, np.uintp(min(max(whole, 0), most))])
        for r in range(SIDE):
            after = np.float32(image[k, np.uintp(min(max(whole + r + 1, 0), most))])
            strip[r, column] = before + w * (after - before)
            before = after


@fused
def slide(
    strip: Pixels, count: int, template: Pixels, base: float, sums: Pixels, inside: Image, scores: Pixels
) -> None:
    """Normalised correlations (count,) of a template with a strip; -1 outside the picture. `sums` is room, (2, m).

    `base` is some grey level of the strip: its removal keeps the digits of the variance.
    """
    columns = count + SIDE - 1
    sums[:, :columns] = np.float32(0.0)
    scores[:count] = np.float32(0.0)
    for r in range(SIDE):
        for s in range(columns):
            value = strip[r, s] - np.float32(base)
            sums[0, s] += value
            sums[1, s] += value * value
        for c in range(SIDE):
            weight = template[r, c]
            for s in range(count):
                scores[s] += weight * strip[r, s + c]
    for s in range(count):
        total, square = np.float32(0.0), np.float32(0.0)
        for c in range(SIDE):
            total += sums[0, s + c]
            square += sums[1, s + c]
        spread = square - total * total / np.float32(_COUNT)
        middle = s + SIDE // 2
        if spread < _FLAT or not (inside[middle] or inside[middle - 1]):
            scores[s] = -1.0
        else:
            scores[s] /= np.float32(math.sqrt(spread))
