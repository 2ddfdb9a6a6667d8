"""The colours of a texture, triangle by triangle."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]

MARGIN = 5
"""Pixels of a cell that belong to no triangle: two triangles share it, each with a pixel around for interpolation."""


@fused
def _add(view: Bytes, m: Floats, affine: Floats, x: float, y: float, z: float, w: float, total: Floats) -> float:
    """Add what a view shows of a point to the colours; the weight it was added with, 0 where it is not in view."""
    depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
    if depth <= 0.0:
        return 0.0
    u = affine[0] * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) / depth + affine[2]
    v = affine[1] * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) / depth + affine[3]
    i, j = int(np.floor(v)), int(np.floor(u))
    if i < 0 or j < 0 or i + 1 >= view.shape[0] or j + 1 >= view.shape[1]:
        return 0.0
    fy, fx = v - i, u - j
    for n in range(3):
        upper = (1.0 - fx) * view[i, j, n] + fx * view[i, j + 1, n]
        lower = (1.0 - fx) * view[i + 1, j, n] + fx * view[i + 1, j + 1, n]
        total[n] += w * ((1.0 - fy) * upper + fy * lower)
    return w


@fused
def _list_views(a: Floats, b: Floats, c: Floats, seeing: NDArray[np.int32]) -> int:
    """List the views with a weight at any corner: of dozens a few see a triangle. How many they are."""
    count = 0
    for k in range(len(a)):
        if a[k] > 0.0 or b[k] > 0.0 or c[k] > 0.0:
            seeing[count] = k
            count += 1
    return count


@fused
def fill_cells(
    first: int,
    end: int,
    picture: Bytes,
    cell: int,
    across: int,
    vertices: Floats,
    triangles: NDArray[np.int32],
    colors: Bytes,
    weights: Floats,
    views: Bytes,
    motions: Floats,
    affine: Floats,
) -> None:
    """Fill the cells of a texture; a cell has one triangle above its diagonal and one below.

    Args:
        first: first triangle.
        end: the one behind the last.
        picture: (H, W, 3), filled.
        cell: side of a cell, pixels.
        across: cells in a row.
        vertices: (n, 3).
        triangles: (m, 3).
        colors: (n, 3) for what no view sees.
        weights: (n, k) of each view at each vertex.
        views: (k, h, w, 3).
        motions: (k, 3, 4) cam_from_world.
        affine: (k, 4): fx, fy, cx, cy.
    """
    last = cell - 1
    per_side = 1.0 / (last - 4)
    total = np.empty(3, np.float32)
    seeing = np.empty(len(views), np.int32)
    for t in range(first, end):
        top, left = t // 2 // across * cell, t // 2 % across * cell
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        count = _list_views(weights[a], weights[b], weights[c], seeing)
        for y in range(cell):
            for x in range(cell):
                if t % 2 == 0:
                    if x + y >= last:
                        continue
                    of_b, of_c = (x - 1) * per_side, (y - 1) * per_side
                else:
                    if x + y < last:
                        continue
                    of_b, of_c = (last - 1 - x) * per_side, (last - 1 - y) * per_side
                of_a = 1.0 - of_b - of_c
                px = of_a * vertices[a, 0] + of_b * vertices[b, 0] + of_c * vertices[c, 0]
                py = of_a * vertices[a, 1] + of_b * vertices[b, 1] + of_c * vertices[c, 1]
                pz = of_a * vertices[a, 2] + of_b * vertices[b, 2] + of_c * vertices[c, 2]
                total[:] = 0.0
                weight = 0.0
                for k in seeing[:count]:
                    w = of_a * weights[a, k] + of_b * weights[b, k] + of_c * weights[c, k]
                    if w > 0.0:
                        weight += _add(views[k], motions[k], affine[k], px, py, pz, w, total)
                for n in range(3):
                    if weight > 0.0:
                        value = total[n] / weight
                    else:
                        value = of_a * colors[a, n] + of_b * colors[b, n] + of_c * colors[c, n]
                    picture[top + y, left + x, n] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
