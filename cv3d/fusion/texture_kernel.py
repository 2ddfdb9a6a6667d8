"""The colours of a texture, triangle by triangle."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]

_0, _1, _HALF, _MOST = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(255.0)

MARGIN = 5
"""Pixels of a cell that belong to no triangle: two triangles share it, each with a pixel around for interpolation."""


@fused
def _place(m: Floats, affine: Floats, point: Floats, into: Floats) -> None:
    """Where a point lies in a view, in homogeneous pixels: u z, v z, z. They are linear over a triangle."""
    x = m[0, 0] * point[0] + m[0, 1] * point[1] + m[0, 2] * point[2] + m[0, 3]
    y = m[1, 0] * point[0] + m[1, 1] * point[1] + m[1, 2] * point[2] + m[1, 3]
    z = m[2, 0] * point[0] + m[2, 1] * point[1] + m[2, 2] * point[2] + m[2, 3]
    into[0], into[1], into[2] = affine[0] * x + affine[2] * z, affine[1] * y + affine[3] * z, z


@fused
def _add_view(
    pixels: Bytes, base: int, height: int, width: int, corners: Floats, cell: int, is_upper: bool, sums: Floats
) -> None:
    """Add what a view shows of a triangle to the sums of its part of a cell.

    Args:
        pixels: of all views, one after the other.
        base: where the view begins.
        height: of the view.
        width: likewise.
        corners: (3, 4) where a, b and c lie in the view, and the view's weight there.
        cell: side of a cell, pixels.
        is_upper: whether the triangle is the one above the diagonal.
        sums: (cell, cell, 4) red, green, blue and weight.
    """
    last = cell - 1
    per_side = _1 / np.float32(last - 4)
    for y in range(cell):
        first, end = (0, max(last - y, 0)) if is_upper else (max(last - y, 0), cell)
        of_c = np.float32(y - 1 if is_upper else last - 1 - y) * per_side
        for x in range(first, end):
            of_b = np.float32(x - 1 if is_upper else last - 1 - x) * per_side
            of_a = _1 - of_b - of_c
            w = of_a * corners[0, 3] + of_b * corners[1, 3] + of_c * corners[2, 3]
            z = of_a * corners[0, 2] + of_b * corners[1, 2] + of_c * corners[2, 2]
            if w <= _0 or z <= _0:
                continue
            per_z = _1 / z
            u = (of_a * corners[0, 0] + of_b * corners[1, 0] + of_c * corners[2, 0]) * per_z
            v = (of_a * corners[0, 1] + of_b * corners[1, 1] + of_c * corners[2, 1]) * per_z
            i, j = int(np.floor(v)), int(np.floor(u))
            if i < 0 or j < 0 or i + 1 >= height or j + 1 >= width:
                continue
            fy, fx = v - np.float32(i), u - np.float32(j)
            at = base + 3 * (i * width + j)
            below = at + 3 * width
            for n in range(3):
                p, q = np.float32(pixels[at + n]), np.float32(pixels[below + n])
                upper = p + fx * (np.float32(pixels[at + 3 + n]) - p)
                lower = q + fx * (np.float32(pixels[below + 3 + n]) - q)
                sums[y, x, n] += w * (upper + fy * (lower - upper))
            sums[y, x, 3] += w


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
    per_side = _1 / np.float32(last - 4)
    sums = np.empty((cell, cell, 4), np.float32)
    corners = np.empty((3, 4), np.float32)
    seeing = np.empty(len(views), np.int32)
    pixels, height, width = views.reshape(-1), views.shape[1], views.shape[2]
    for t in range(first, end):
        top, left = t // 2 // across * cell, t // 2 % across * cell
        is_upper = t % 2 == 0
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        sums[:] = _0
        for number in range(_list_views(weights[a], weights[b], weights[c], seeing)):
            k = seeing[number]
            for n in range(3):
                _place(motions[k], affine[k], vertices[triangles[t, n]], corners[n])
                corners[n, 3] = weights[triangles[t, n], k]
            _add_view(pixels, k * height * width * 3, height, width, corners, cell, is_upper, sums)
        for y in range(cell):
            begin, stop = (0, max(last - y, 0)) if is_upper else (max(last - y, 0), cell)
            of_c = np.float32(y - 1 if is_upper else last - 1 - y) * per_side
            for x in range(begin, stop):
                of_b = np.float32(x - 1 if is_upper else last - 1 - x) * per_side
                weight = sums[y, x, 3]
                for n in range(3):
                    if weight > _0:
                        value = sums[y, x, n] / weight
                    else:
                        value = (_1 - of_b - of_c) * colors[a, n] + of_b * colors[b, n] + of_c * colors[c, n]
                    picture[top + y, left + x, n] = np.uint8(min(max(value + _HALF, _0), _MOST))
