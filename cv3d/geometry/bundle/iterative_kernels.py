"""Fused kernels of conjugate gradients on the implicit Schur complement; notation as in `schur_kernels`."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.bundle.structure import POSE
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]
Bools: TypeAlias = NDArray[np.bool_]


@fused
def multiply_points(
    first: int,
    last: int,
    free: Bools,
    slot_start: Ints,
    slots: Ints,
    coupling: Floats,
    factors: Floats,
    vector: Floats,
    out: Floats,
) -> None:
    """Subtract W^T V^-1 W `vector` of points from `out`, both (n,)."""
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
                x = vector[offset + i]
                w0 += coupling[at + i] * x
                w1 += coupling[at + width + i] * x
                w2 += coupling[at + 2 * width + i] * x
        y0 = w0 * i0
        y1 = (w1 - l10 * y0) * i1
        y2 = (w2 - l20 * y0 - l21 * y1) * i2
        x2 = y2 * i2
        x1 = (y1 - l21 * x2) * i1
        x0 = (y0 - l10 * x1 - l20 * x2) * i0
        for s in range(slot_start[p], slot_start[p + 1]):
            offset, width, at = slots[s, 0], slots[s, 1], slots[s, 2]
            for i in range(width):
                out[offset + i] -= (
                    coupling[at + i] * x0 + coupling[at + width + i] * x1 + coupling[at + 2 * width + i] * x2
                )


@fused
def diagonal_blocks(
    first: int,
    last: int,
    free: Bools,
    slot_start: Ints,
    slots: Ints,
    coupling: Floats,
    factors: Floats,
    solved: Floats,
    block_of: Ints,
    out: Floats,
    right: Floats,
) -> None:
    """Subtract what points take from the diagonal blocks, (B, widest, widest), and from the right side, (n,).

    Args:
        first: first point.
        last: the one behind the last.
        free: (M,).
        slot_start: (M + 1,).
        slots: (S, 3).
        coupling: the slots' numbers.
        factors: (M, 6).
        solved: (M, 3).
        block_of: number of the block that begins at each column, (n,).
        out: (B, widest, widest).
        right: (n,).
    """
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
        g0, g1, g2 = solved[p, 0], solved[p, 1], solved[p, 2]
        for s in range(slot_start[p], slot_start[p + 1]):
            offset, width, at = slots[s, 0], slots[s, 1], slots[s, 2]
            y = np.empty((width, 3))
            for i in range(width):
                y[i, 0] = coupling[at + i] * i0
                y[i, 1] = (coupling[at + width + i] - l10 * y[i, 0]) * i1
                y[i, 2] = (coupling[at + 2 * width + i] - l20 * y[i, 0] - l21 * y[i, 1]) * i2
                right[offset + i] -= y[i, 0] * g0 + y[i, 1] * g1 + y[i, 2] * g2
            block = out[block_of[offset]]
            for i in range(width):
                for j in range(width):
                    block[i, j] -= y[i, 0] * y[j, 0] + y[i, 1] * y[j, 1] + y[i, 2] * y[j, 2]


@fused
def multiply_views(of_views: Floats, blocks: Ints, vector: Floats, out: Floats) -> None:
    """Add the product of the views' own normal equations with `vector` to `out`, both (n,)."""
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
            for j in range(i):
                column = place[j]
                if column >= 0:
                    out[row] += of_views[v, i, j] * vector[column]
                    out[column] += of_views[v, i, j] * vector[row]
            out[row] += of_views[v, i, i] * vector[row]


@fused
def scatter_diagonal_blocks(of_views: Floats, blocks: Ints, block_of: Ints, out: Floats) -> None:
    """Add the views' own normal equations to full diagonal blocks, (B, widest, widest)."""
    for v in range(len(of_views)):
        for which in range(2):
            offset, width = blocks[v, 2 * which], blocks[v, 2 * which + 1]
            if width == 0:
                continue
            block, shift = out[block_of[offset]], POSE * which
            for i in range(width):
                for j in range(width):
                    high, low = max(i, j), min(i, j)
                    block[i, j] += of_views[v, shift + high, shift + low]
