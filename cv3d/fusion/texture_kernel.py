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

_SEVERAL = 4
"""Views that colour a place at most: more blur it."""


@fused
def score_vertices(
    vertices: Floats, normals: Floats, motion: Floats, affine: Floats, shown: Floats, limits: Floats, scores: Floats
) -> None:
    """How well a view sees each vertex; 0 for those that it does not see.

    Args:
        vertices: (n, 3).
        normals: (n, 3), or (0, 3) where there are none.
        motion: (3, 4) cam_from_world.
        affine: fx, fy, cx, cy.
        shown: (h, w) depth of the surface in the view; 0 where there is none.
        limits: how far behind it a vertex may lie, metres; the least cosine of the incidence; and the pixels over which
            the picture's border fades.
        scores: (n,), filled.
    """
    height, width = shown.shape
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    for n in range(len(vertices)):
        px, py, pz = vertices[n, 0], vertices[n, 1], vertices[n, 2]
        x = motion[0, 0] * px + motion[0, 1] * py + motion[0, 2] * pz + motion[0, 3]
        y = motion[1, 0] * px + motion[1, 1] * py + motion[1, 2] * pz + motion[1, 3]
        z = motion[2, 0] * px + motion[2, 1] * py + motion[2, 2] * pz + motion[2, 3]
        scores[n] = _0
        if z <= _0:
            continue
        u, v = affine[0] * x / z + affine[2], affine[1] * y / z + affine[3]
        border = min(u, right - u, v, bottom - v)
        if border <= _0:
            continue
        seen = shown[int(v + _HALF), int(u + _HALF)]
        if seen <= _0 or z > seen + limits[0]:
            continue
        cosine = _1
        if len(normals):
            a, b, c = normals[n, 0], normals[n, 1], normals[n, 2]
            side = motion[0, 0] * a + motion[0, 1] * b + motion[0, 2] * c
            down = motion[1, 0] * a + motion[1, 1] * b + motion[1, 2] * c
            ahead = motion[2, 0] * a + motion[2, 1] * b + motion[2, 2] * c
            cosine = -(side * x + down * y + ahead * z) / np.sqrt(x * x + y * y + z * z)
        if cosine > limits[1]:
            scores[n] = cosine * min(border / limits[2], _1) / (z * z)


@fused
def weigh_views(first: int, end: int, scores: Floats, about_best: float, weights: Floats) -> None:
    """Weigh the views of some vertices by how much better they are than what is not good enough.

    That is a share of the best view's score, or the score of the fifth: so no weight jumps from vertex to vertex.

    Args:
        first: first vertex.
        end: the one behind the last.
        scores: (k, n).
        about_best: that share.
        weights: (n, k), filled.
    """
    best = np.empty(_SEVERAL + 1, np.float32)
    for n in range(first, end):
        best[:] = _0
        for k in range(len(scores)):
            score = scores[k, n]
            place = _SEVERAL
            if score <= best[place]:
                continue
            while place > 0 and best[place - 1] < score:
                best[place] = best[place - 1]
                place -= 1
            best[place] = score
        least = max(np.float32(about_best) * best[0], best[_SEVERAL])
        # Of as many that are equally good all count alike.
        least = least if least < best[0] else np.float32(about_best) * best[0]
        for k in range(len(scores)):
            over = (scores[k, n] - least) / best[0] if best[0] > _0 else _0
            weights[n, k] = over * over if over > _0 else _0


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
