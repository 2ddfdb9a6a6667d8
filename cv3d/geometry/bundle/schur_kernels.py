"""Fused kernels that eliminate points: the Schur complement, and back-substitution.

With V = L L^T the damped 3 x 3 block of a point, W its coupling (3 rows) and Y = L^-1 W, the point takes Y^T Y from the
reduced system and Y^T L^-1 g from its right side.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.structure import POSE
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]

_0, _1, _2, _3, _4 = (np.uintp(i) for i in range(5))
FLOOR = 1e-9
"""Least damping of a coordinate over that of the point's largest one."""
_SINGULAR = 1e-14
"""What is left of a diagonal entry, as a fraction of it, when a point counts as not determined."""


@fused
def factor_points(
    first: int,
    last: int,
    free: Bools,
    of_points: Floats,
    point_gradients: Floats,
    damping: float,
    factors: Floats,
    solved: Floats,
) -> None:
    """Cholesky factors of the damped blocks of points, and L^-1 g.

    A point that its observations do not determine gets zeros: it stays where it is and takes nothing from the system.

    Args:
        first: first point.
        last: the one behind the last.
        free: (M,).
        of_points: xx yx yy zx zy zz, (M, 6).
        point_gradients: (M, 3).
        damping: relative to the diagonal.
        factors: filled with 1/l00 l10 1/l11 l20 l21 1/l22, (M, 6).
        solved: filled with L^-1 g, (M, 3).
    """
    for p in range(first, last):
        for i in range(6):
            factors[p, i] = 0.0
        for i in range(3):
            solved[p, i] = 0.0
        if not free[p]:
            continue
        h = of_points[p]
        least = FLOOR * max(h[0], h[2], h[5])
        d0 = h[0] + damping * max(h[0], least)
        d1 = h[2] + damping * max(h[2], least)
        d2 = h[5] + damping * max(h[5], least)
        if not d0 > 0.0:
            continue
        i0 = 1.0 / math.sqrt(d0)
        l10, l20 = h[1] * i0, h[3] * i0
        s1 = d1 - l10 * l10
        if not s1 > _SINGULAR * d1:
            continue
        i1 = 1.0 / math.sqrt(s1)
        l21 = (h[4] - l20 * l10) * i1
        s2 = d2 - l20 * l20 - l21 * l21
        if not s2 > _SINGULAR * d2:
            continue
        i2 = 1.0 / math.sqrt(s2)
        factors[p, 0], factors[p, 1], factors[p, 2] = i0, l10, i1
        factors[p, 3], factors[p, 4], factors[p, 5] = l20, l21, i2
        y0 = point_gradients[p, 0] * i0
        y1 = (point_gradients[p, 1] - l10 * y0) * i1
        solved[p, 0], solved[p, 1] = y0, y1
        solved[p, 2] = (point_gradients[p, 2] - l20 * y0 - l21 * y1) * i2


@fused
def _subtract(scratch: Floats, y: int, width: int, z: int, other: int, band: Floats, at: int, stride: int) -> None:
    """Subtract Y^T Z, Y (3, width) and Z (3, other), from the block whose columns begin at `at + j * stride`.

    Four rows at a time stay in registers while the columns pass by: blocks are too narrow for the compiler to do that.
    Indices are unsigned, because numba tests signed ones for counting from the end.
    """
    rows, columns, step = np.uintp(width), np.uintp(other), np.uintp(stride)
    first, left, right = np.uintp(at), np.uintp(y), np.uintp(z)
    i = _0
    while i + _3 < rows:
        m = left + i
        a0, a1, a2, a3 = scratch[m], scratch[m + _1], scratch[m + _2], scratch[m + _3]
        m += rows
        b0, b1, b2, b3 = scratch[m], scratch[m + _1], scratch[m + _2], scratch[m + _3]
        m += rows
        c0, c1, c2, c3 = scratch[m], scratch[m + _1], scratch[m + _2], scratch[m + _3]
        to, n = first + i, right
        for _ in range(other):
            z0, z1, z2 = scratch[n], scratch[n + columns], scratch[n + columns + columns]
            t0 = band[to] - (a0 * z0 + b0 * z1 + c0 * z2)
            t1 = band[to + _1] - (a1 * z0 + b1 * z1 + c1 * z2)
            t2 = band[to + _2] - (a2 * z0 + b2 * z1 + c2 * z2)
            t3 = band[to + _3] - (a3 * z0 + b3 * z1 + c3 * z2)
            band[to], band[to + _1], band[to + _2], band[to + _3] = t0, t1, t2, t3
            to += step
            n += _1
        i += _4
    if i + _1 < rows:
        m = left + i
        a0, a1 = scratch[m], scratch[m + _1]
        m += rows
        b0, b1 = scratch[m], scratch[m + _1]
        m += rows
        c0, c1 = scratch[m], scratch[m + _1]
        to, n = first + i, right
        for _ in range(other):
            z0, z1, z2 = scratch[n], scratch[n + columns], scratch[n + columns + columns]
            t0 = band[to] - (a0 * z0 + b0 * z1 + c0 * z2)
            t1 = band[to + _1] - (a1 * z0 + b1 * z1 + c1 * z2)
            band[to], band[to + _1] = t0, t1
            to += step
            n += _1
        i += _2
    if i < rows:
        m = left + i
        a0, b0, c0 = scratch[m], scratch[m + rows], scratch[m + rows + rows]
        to, n = first + i, right
        for _ in range(other):
            band[to] -= a0 * scratch[n] + b0 * scratch[n + columns] + c0 * scratch[n + columns + columns]
            to += step
            n += _1


@fused
def eliminate(  # noqa: PLR0912
    first: int,
    last: int,
    free: Bools,
    slot_start: Ints,
    slots: Ints,
    coupling: Floats,
    factors: Floats,
    solved: Floats,
    stride: int,
    border: int,
    band: Floats,
    side: Floats,
    corner: Floats,
    right: Floats,
) -> None:
    """Subtract what points take from the reduced system.

    Entry (i, j), i >= j, both before `border`, is `band[j * stride + i]`: with stride n that is a dense matrix by
    columns, with stride b the lower band of LAPACK with b subdiagonals.

    Args:
        first: first point.
        last: the one behind the last.
        free: (M,).
        slot_start: (M + 1,), `slots` (S, 3) and `coupling`: see `Structure`.
        slots: (S, 3).
        coupling: the slots' numbers.
        factors: (M, 6), of :func:`factor_points`, and `solved` (M, 3).
        solved: (M, 3).
        stride: of `band`.
        border: first column of the border, m of them.
        band: the reduced system before the border.
        side: entries of the border's rows by the columns before it, (border, m).
        corner: the border's own entries, lower triangle, (m, m).
        right: L^-1-eliminated gradient, (n,).
    """
    widest = 0
    for p in range(first, last):
        if slot_start[p + 1] > slot_start[p]:
            begin = slots[slot_start[p], 2]
            final = slot_start[p + 1] - 1
            widest = max(widest, slots[final, 2] + 3 * slots[final, 1] - begin)
    scratch = np.empty(widest)
    # In a dense matrix what is written above the diagonal is never read; in a band it would be another entry.
    dense = stride == border
    for p in range(first, last):
        if not free[p] or slot_start[p + 1] == slot_start[p]:
            continue
        i0, l10, i1, l20, l21, i2 = (
            factors[p, 0],
            factors[p, 1],
            factors[p, 2],
            factors[p, 3],
            factors[p, 4],
            factors[p, 5],
        )
        g0, g1, g2 = solved[p, 0], solved[p, 1], solved[p, 2]
        begin = slots[slot_start[p], 2]
        for s in range(slot_start[p], slot_start[p + 1]):
            offset, width, at = slots[s, 0], slots[s, 1], slots[s, 2]
            y = at - begin
            for i in range(width):
                y0 = coupling[at + i] * i0
                y1 = (coupling[at + width + i] - l10 * y0) * i1
                y2 = (coupling[at + 2 * width + i] - l20 * y0 - l21 * y1) * i2
                scratch[y + i], scratch[y + width + i], scratch[y + 2 * width + i] = y0, y1, y2
                right[offset + i] -= y0 * g0 + y1 * g1 + y2 * g2
            for t in range(slot_start[p], s + 1):
                of, other, from_ = slots[t, 0], slots[t, 1], slots[t, 2]
                z = from_ - begin
                if offset < border and (s > t or dense):
                    _subtract(scratch, y, width, z, other, band, of * stride + offset, stride)
                    continue
                for j in range(other):
                    z0, z1, z2 = scratch[z + j], scratch[z + other + j], scratch[z + 2 * other + j]
                    for i in range(j if s == t else 0, width):
                        taken = scratch[y + i] * z0 + scratch[y + width + i] * z1 + scratch[y + 2 * width + i] * z2
                        if offset < border:
                            band[(of + j) * stride + offset + i] -= taken
                        elif of < border:
                            side[of + j, offset - border + i] -= taken
                        else:
                            corner[of - border + j, offset - border + i] -= taken


@fused
def back_substitute(
    first: int,
    last: int,
    free: Bools,
    slot_start: Ints,
    slots: Ints,
    coupling: Floats,
    factors: Floats,
    solved: Floats,
    step: Floats,
    point_steps: Floats,
) -> None:
    """Steps of points, (M, 3), given those of the columns, (n,)."""
    for p in range(first, last):
        if not free[p]:
            continue
        i0, l10, i1, l20, l21, i2 = (
            factors[p, 0],
            factors[p, 1],
            factors[p, 2],
            factors[p, 3],
            factors[p, 4],
            factors[p, 5],
        )
        w0 = w1 = w2 = 0.0
        for s in range(slot_start[p], slot_start[p + 1]):
            offset, width, at = slots[s, 0], slots[s, 1], slots[s, 2]
            for i in range(width):
                x = step[offset + i]
                w0 += coupling[at + i] * x
                w1 += coupling[at + width + i] * x
                w2 += coupling[at + 2 * width + i] * x
        y0 = w0 * i0
        y1 = (w1 - l10 * y0) * i1
        y2 = (w2 - l20 * y0 - l21 * y1) * i2
        y0, y1, y2 = y0 + solved[p, 0], y1 + solved[p, 1], y2 + solved[p, 2]
        x2 = y2 * i2
        x1 = (y1 - l21 * x2) * i1
        x0 = (y0 - l10 * x1 - l20 * x2) * i0
        point_steps[p, 0], point_steps[p, 1], point_steps[p, 2] = -x0, -x1, -x2


@fused
def scatter_views(
    of_views: Floats,
    view_gradients: Floats,
    blocks: Ints,
    stride: int,
    border: int,
    band: Floats,
    side: Floats,
    corner: Floats,
    gradient: Floats,
) -> None:
    """Add the views' own normal equations to the system of :func:`eliminate`, and to its gradient (n,)."""
    place = np.empty(of_views.shape[1], np.intp)
    for v in range(len(of_views)):
        offset, width, own_offset, own_width = blocks[v, 0], blocks[v, 1], blocks[v, 2], blocks[v, 3]
        for i in range(len(place)):
            place[i] = -1
        for i in range(width):
            place[i] = offset + i
        for i in range(own_width):
            place[POSE + i] = own_offset + i
        for i in range(of_views.shape[1]):
            row = place[i]
            if row < 0:
                continue
            gradient[row] += view_gradients[v, i]
            for j in range(i + 1):
                column = place[j]
                if column < 0:
                    continue
                if row < border:
                    band[column * stride + row] += of_views[v, i, j]
                elif column < border:
                    side[column, row - border] += of_views[v, i, j]
                else:
                    corner[column - border, row - border] += of_views[v, i, j]


@fused
def mark_neighbours(slot_start: Ints, slots: Ints, block_of: Ints, touching: Bools) -> None:
    """Set which blocks a point joins, (B, B), lower triangle."""
    for p in range(len(slot_start) - 1):
        for s in range(slot_start[p], slot_start[p + 1]):
            row = block_of[slots[s, 0]]
            for t in range(slot_start[p], s + 1):
                touching[row, block_of[slots[t, 0]]] = True
