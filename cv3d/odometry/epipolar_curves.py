"""Epipolar curves as polylines: where the viewing ray of a pixel of one picture is in another.

The nodes of a curve are places for equal steps of the inverse distance along the ray, from infinity on, so that any
lens will do; they are NaN where the other camera does not see. A place of a curve is a station: a number of its nodes'
steps, with fractions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Pixels = NDArray[np.float32]

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
def speed(nodes: Pixels, at: float) -> float:
    """Pixels of the finest level for one step of the nodes; NaN where a node is."""
    node = min(max(int(at), 0), len(nodes) - 2)
    return math.hypot(nodes[node + 1, 0] - nodes[node, 0], nodes[node + 1, 1] - nodes[node, 1])


@fused
def set_axes(nodes: Pixels, start: float, end: float, axes: Pixels) -> bool:
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
def clip(nodes: Pixels, start: float, end: float, clipped: Pixels) -> float:
    """The part (2,) of a range of stations where the nodes are numbers, and its length, pixels; -1: there is none."""
    last = len(nodes) - 1
    node = max(int(start), 0)
    while node < last and not speed(nodes, node) < 1e6:
        node += 1
    if node >= last:
        return -1.0
    clipped[0] = max(start, float(node))
    length = 0.0
    while node < last and node < end and speed(nodes, node) < 1e6:
        length += speed(nodes, node) * max(min(node + 1.0, end) - max(float(node), clipped[0]), 0.0)
        node += 1
    clipped[1] = min(end, float(node))
    return length if clipped[1] >= clipped[0] else -1.0
