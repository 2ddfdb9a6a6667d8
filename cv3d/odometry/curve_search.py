"""Where along its epipolar curves a patch fits best: correlation from a coarse level of the pyramid to the finest.

A curve is a polyline of places in the other picture for equal steps of the inverse distance, so any lens will do. The
picture along it is resampled once as a strip, over which the patch slides. The coarse level sees every peak; the best
of them are followed to the finest level, where they compete.

A place of a curve is a station: a number of its nodes' steps, with fractions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Pixels = NDArray[np.float32]
Image = NDArray[np.uint8]
Levels = tuple[Image, ...]

SIDE = 8
"""Side of the patch that is compared, pixels of a level."""
_COUNT = SIDE * SIDE
_HALF = 0.5 * (SIDE - 1)
_PEAKS = 4
"""Peaks of the coarse level that are followed."""
_FLAT = np.float32(_COUNT * 1.5**2)
"""Sum of squared deviations, grey levels squared: a flatter patch fits anything."""
_WORTHWHILE = 0.3
"""Correlation by which a peak may be below the highest and still be followed."""
_MOST_SAMPLES = 512
_FINER = 2
"""Pixels of the finer level by which a peak of the coarser one may be off."""
_APART = 3.0
"""Pixels of the finest level: nearer peaks are one."""
_SMALLEST = 0.2
"""Smallest change of area at which a patch is compared; the largest is its inverse."""


@fused
def locate(table: Pixels, size: Pixels, x: float, y: float, nodes: Pixels, gradient: Pixels) -> None:
    """Read the curve of a pixel, and by what it moves with the pixel.

    Args:
        table: (rows, columns, nodes, 2) places, pixels, on a grid over the picture.
        size: (2,) pixels between columns, and between rows.
        x: of the pixel.
        y: of the pixel.
        nodes: out, (nodes, 2).
        gradient: out, (nodes, 2, 2) from offsets in the picture to offsets in the other.
    """
    rows, columns, count = table.shape[0], table.shape[1], table.shape[2]
    gx, gy = x / size[0], y / size[1]
    ix, iy = min(max(int(gx), 0), columns - 2), min(max(int(gy), 0), rows - 2)
    wx, wy = gx - ix, gy - iy
    for k in range(count):
        for c in range(2):
            a, b = table[iy, ix, k, c], table[iy, ix + 1, k, c]
            d, e = table[iy + 1, ix, k, c], table[iy + 1, ix + 1, k, c]
            nodes[k, c] = (a * (1.0 - wx) + b * wx) * (1.0 - wy) + (d * (1.0 - wx) + e * wx) * wy
            gradient[k, c, 0] = ((b - a) * (1.0 - wy) + (e - d) * wy) / size[0]
            gradient[k, c, 1] = ((d - a) * (1.0 - wx) + (e - b) * wx) / size[1]


@fused
def invert(gradient: Pixels, at: float, inverse: Pixels) -> bool:
    """The inverse warp (2, 2) at a place of the curve, in steps of its nodes; False: not to be compared."""
    node = min(int(at + 0.5), len(gradient) - 1)
    a, b, c, d = gradient[node, 0, 0], gradient[node, 0, 1], gradient[node, 1, 0], gradient[node, 1, 1]
    det = a * d - b * c
    if not (det > _SMALLEST and det < 1.0 / _SMALLEST):
        return False
    inverse[0, 0], inverse[0, 1] = d / det, -b / det
    inverse[1, 0], inverse[1, 1] = -c / det, a / det
    return True


@fused
def _sample_line(image: Image, x: float, y: float, dx: float, dy: float, out: Pixels) -> None:
    """Values at equal steps along a line, between pixels; the border continues outwards."""
    height, width = image.shape
    last = len(out) - 1
    ex, ey = x + last * dx, y + last * dy
    # Fixed point: 16 bits after the point for places, 6 for weights. It takes half the time of floating point.
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
def _template(image: Image, x: float, y: float, inverse: Pixels, axes: Pixels, out: Pixels) -> float:
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
def _speed(nodes: Pixels, at: float) -> float:
    """Pixels of the finest level for one step of the nodes; NaN where a node is."""
    node = min(max(int(at), 0), len(nodes) - 2)
    return math.hypot(nodes[node + 1, 0] - nodes[node, 0], nodes[node + 1, 1] - nodes[node, 1])


@fused
def _set_axes(nodes: Pixels, start: float, end: float, axes: Pixels) -> bool:
    """Axes of patches between two stations; False: the curve is a point.

    Columns follow the curve, one pixel apart in its main direction, which is across or down; rows go the other way.
    Sampling then takes two pixels, not four.
    """
    first = min(max(int(start), 0), len(nodes) - 2)
    last = max(min(math.ceil(end), len(nodes) - 1), first + 1)
    dx, dy = nodes[last, 0] - nodes[first, 0], nodes[last, 1] - nodes[first, 1]
    longer = max(abs(dx), abs(dy))
    if not longer > 1e-3:
        return False
    axes[0, 0], axes[0, 1] = dx / longer, dy / longer
    is_steep = abs(dy) > abs(dx)
    axes[1, 0], axes[1, 1] = (1.0, 0.0) if is_steep else (0.0, 1.0)
    return True


@fused
def _lay_strip(
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
        axes: see :func:`_set_axes`.
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
def _slide(
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
def _clip(nodes: Pixels, start: float, end: float, clipped: Pixels) -> float:
    """The part (2,) of a range of stations where the nodes are numbers, and its length, pixels; -1: there is none."""
    last = len(nodes) - 1
    node = max(int(start), 0)
    while node < last and not _speed(nodes, node) < 1e6:
        node += 1
    if node >= last:
        return -1.0
    clipped[0] = max(start, float(node))
    length = 0.0
    while node < last and node < end and _speed(nodes, node) < 1e6:
        length += _speed(nodes, node) * max(min(node + 1.0, end) - max(float(node), clipped[0]), 0.0)
        node += 1
    clipped[1] = min(end, float(node))
    return length if clipped[1] >= clipped[0] else -1.0


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
        table: see :func:`locate`.
        size: see :func:`locate`.
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
        length = _clip(nodes, bounds[i, 0], bounds[i, 1], clipped)
        if length < 0.0:
            continue
        start, end = clipped[0], clipped[1]
        if not invert(gradient, 0.5 * (start + end), inverse) or not _set_axes(nodes, start, end, axes):
            continue
        level = 0
        while level < min(len(left), len(right)) - 1 and length / (1 << level) > most_steps:
            level += 1
        step = float(1 << level)
        base = _template(left[level], (x + 0.5) / step - 0.5, (y + 0.5) / step - 0.5, inverse, axes, template)
        if base < 0.0:
            continue
        places = _lay_strip(right[level], nodes, start, end, step, axes, stations, inside, strip)
        _slide(strip, places, template, base, sums, inside, scores)
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
                if invert(gradient, peaks[p], inverse) and _set_axes(nodes, peaks[p], peaks[p], axes):
                    base = _template(
                        left[level - down], (x + 0.5) / step - 0.5, (y + 0.5) / step - 0.5, inverse, axes, template
                    )
                if base < 0.0:
                    # What the coarse level found must show on the finest.
                    heights[p] = -1.0
                    break
                reach = _FINER * step / max(_speed(nodes, peaks[p]), 1e-3)
                first, last = max(peaks[p] - reach, start), min(peaks[p] + reach, end)
                places = _lay_strip(right[level - down], nodes, first, last, step, axes, stations, inside, strip)
                _slide(strip, places, template, base, sums, inside, scores)
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
        apart = _APART / max(_speed(nodes, peaks[best]), 1e-3)
        for p in range(found):
            if abs(peaks[p] - peaks[best]) > apart and heights[p] > out[i, 2]:
                out[i, 2] = heights[p]
        node = min(max(int(peaks[best]), 0), count - 2)
        w = peaks[best] - node
        out[i, 0], out[i, 1] = max(peaks[best], 0.0), heights[best]
        out[i, 3] = nodes[node, 0] * (1.0 - w) + nodes[node + 1, 0] * w
        out[i, 4] = nodes[node, 1] * (1.0 - w) + nodes[node + 1, 1] * w
        out[i, 5], out[i, 6], out[i, 7], out[i, 8] = inverse[0, 0], inverse[0, 1], inverse[1, 0], inverse[1, 1]
