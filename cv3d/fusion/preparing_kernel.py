"""The twin on the CPU of :func:`cv3d.fusion.prepared.prepare`: row by row, in loops without branches.

Such loops become vector instructions. Inverse depth has a margin of zeros, so that no neighbour is outside.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.layout import WEIGHT_STEPS, Number
from cv3d.fusion.prepared import (
    DEPTH_STEPS,
    GRADIENT_STEP_M,
    MAX_BASELINE,
    NORMAL_NOISE,
    SIDE_JUMP,
    SLOPE_STEPS,
)
from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float32]

MARGIN = MAX_BASELINE
_STEPS = np.float32(1.0 / GRADIENT_STEP_M)
_METRES = np.float32(DEPTH_STEPS)
_FAR = np.float32(np.inf)
_JUMP = np.float32(SIDE_JUMP)
_0, _1, _2, _HALF = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(0.5)
_BY_NOISE = np.float32(1.0 / (np.sqrt(2.0) * NORMAL_NOISE))
_LONGEST = np.float32(MAX_BASELINE)
_MOST = np.float32(32767.0)
_NEVER = np.float32(1e-4)
_WEIGHTS, _SLOPES = np.float32(WEIGHT_STEPS), np.float32(SLOPE_STEPS)
_PIECE = 512
"""Pixels of a row at a time. What passes between loops lies in one array at fixed distances: of separate ones the
compiler would have to fear that they overlap."""
_LOW, _8, _16 = np.int32(0xFFFF), np.int32(8), np.int32(16)


@fused
def invert(depth: Floats, low: Number, high: Number, inverse: Floats) -> None:
    """Fill the inside of `inverse` (h + 24, w + 24) with 1 / depth (h, w) inside the range, 0 elsewhere."""
    for v in range(depth.shape[0]):
        row, into = depth[v], inverse[v + MARGIN]
        for u in range(depth.shape[1]):
            d = row[u]
            into[u + MARGIN] = _1 / d if (d >= low) & (d <= high) else _0


@fused
def _gradient(here: Number, before: Number, after: Number, limit: Number) -> Number:
    """Change of the inverse depth over one baseline."""
    is_line = (before > _0) & (after > _0) & (abs(before + after - _2 * here) <= limit)
    back = abs(here - before) if before > _0 else _FAR
    ahead = abs(after - here) if after > _0 else _FAR
    one = after - here if ahead <= back else here - before
    one = one if min(ahead, back) <= _JUMP * limit else _0
    return _HALF * (after - before) if is_line else one


@fused
def judge(
    inverse: Floats, camera: Floats, judging: Floats, color: NDArray[np.uint8], records: NDArray[np.int32]
) -> Number:
    """Judge the pixels of a picture.

    Args:
        inverse: (h + 24, w + 24) inverse depth, 0 where there is none.
        camera: fx, fy, cx, cy.
        judging: base, quadratic, least cosine, sigmas of an edge, error that weights have in common.
        color: (h, 3 w), or (0, 0).
        records: (h, 4 w), filled.

    Returns:
        How many count.
    """
    height, width = records.shape[0], records.shape[1] // 4
    far, lengths = np.empty(4 * _PIECE, np.float32), np.empty(_PIECE, np.int32)
    flat = inverse.reshape(-1)
    count: Number = 0
    for v in range(height):
        for u in range(0, width, _PIECE):
            some = min(_PIECE, width - u)
            above, row, below = inverse[v + MARGIN - 1], inverse[v + MARGIN], inverse[v + MARGIN + 1]
            measure_baselines(row[u + MARGIN :], some, camera, judging, lengths)
            look_around(flat, (v + MARGIN) * inverse.shape[1] + u + MARGIN, inverse.shape[1], some, lengths, far)
            judge_piece(above[u:], row[u:], below[u:], v, u, some, lengths, far, camera, judging, records[v, 4 * u :])
        count += how_many(records[v], width)
        if color.size:
            paint(color[v], records[v], width)
    return count


@fused
def measure_baselines(row: Floats, some: int, camera: Floats, judging: Floats, lengths: NDArray[np.int32]) -> None:
    """Fill `lengths` with the baselines of `some` pixels, whose inverse depth `row` begins with."""
    base, quadratic, by_noise = judging[0], judging[1], max(camera[0], camera[1]) * _BY_NOISE
    for i in range(some):
        lengths[i] = np.int32(_baseline(row[i], base, quadratic, by_noise))


@fused
def look_around(flat: Floats, first: int, stride: int, some: int, lengths: NDArray[np.int32], far: Floats) -> None:
    """Fetch the inverse depth one baseline to the west, east, north and south of `some` pixels from `first` on."""
    for i in range(some):
        length, at = np.uint64(lengths[i]), np.uint64(first + i)
        down = np.uint64(stride) * length
        # Indices without a sign: they need not be looked at for counting from the end.
        far[i] = flat[at - length]
        far[_PIECE + i] = flat[at + length]
        far[2 * _PIECE + i] = flat[at - down]
        far[3 * _PIECE + i] = flat[at + down]


@fused
def _baseline(here: Number, base: Number, quadratic: Number, by_noise: Number) -> Number:
    """Whole pixels to the neighbours that the inclination comes from."""
    d = _1 / max(here, _NEVER)
    growing = quadratic * d * d
    return np.floor(min(max(np.sqrt(base * base + growing * growing) * here * by_noise, _1), _LONGEST))


@fused
def judge_piece(
    above: Floats,
    row: Floats,
    below: Floats,
    v: int,
    first: int,
    some: int,
    lengths: NDArray[np.int32],
    far: Floats,
    camera: Floats,
    judging: Floats,
    record: NDArray[np.int32],
) -> None:
    """Judge `some` pixels of row `v` from column `first` on.

    Args:
        above: inverse depth of the row above, from 12 columns before the first on; likewise
        row: and
        below: it.
        v: row of the picture.
        first: column of the picture.
        some: how many pixels.
        lengths: as :func:`measure_baselines` and
        far: as :func:`look_around` fill them.
        camera: fx, fy, cx, cy.
        judging: base, quadratic, least cosine, sigmas of an edge, error that weights have in common.
        record: (4 some,), filled.
    """
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    base, quadratic, least, sigmas = judging[0], judging[1], judging[2], judging[3]
    y = (np.float32(v) - cy) / fy
    start = np.float32(first) - cx
    shared = judging[4] * judging[4]
    for i in range(some):
        here = row[i + MARGIN]
        west, east, north, south = row[i + MARGIN - 1], row[i + MARGIN + 1], above[i + MARGIN], below[i + MARGIN]
        d = _1 / max(here, _NEVER)
        growing = quadratic * d * d
        variance = base * base + growing * growing
        limit = sigmas * np.sqrt(variance) * here * here
        across, down = abs(west + east - _2 * here), abs(north + south - _2 * here)
        keeps = (here > _0) & ((west > _0) | (east > _0)) & ((north > _0) | (south > _0))
        keeps = keeps & ((across <= limit) | (west <= _0) | (east <= _0))
        keeps = keeps & ((down <= limit) | (north <= _0) | (south <= _0))
        scale = -d * d / np.float32(lengths[i])
        gx = _gradient(here, far[i], far[_PIECE + i], limit) * scale
        gy = _gradient(here, far[2 * _PIECE + i], far[3 * _PIECE + i], limit) * scale
        x = (np.float32(i) + start) / fx
        ax, ay = gx * fx, gy * fy
        forward = d + ax * x + ay * y
        slope = d / np.sqrt(ax * ax + ay * ay + forward * forward)
        cosine = slope / np.sqrt(x * x + y * y + _1)
        keeps = keeps & (cosine >= least)
        weight = min(max(np.floor(_WEIGHTS * shared * cosine / (shared + growing * growing) + _HALF), _1), _WEIGHTS)
        slant = min(np.floor(slope * _SLOPES + _HALF), _SLOPES)
        right = min(max(np.floor(gx * _STEPS + _HALF), -_MOST), _MOST)
        ahead = min(max(np.floor(gy * _STEPS + _HALF), -_MOST), _MOST)
        record[4 * i] = np.int32(np.floor(d * _METRES + _HALF) if keeps else _0)
        record[4 * i + 1] = np.int32(weight if keeps else _0) << _16 | np.int32(slant if keeps else _0)
        record[4 * i + 2] = np.int32(right if keeps else _0) << _16 | (np.int32(ahead if keeps else _0) & _LOW)
        record[4 * i + 3] = np.int32(0)


@fused
def how_many(record: NDArray[np.int32], width: int) -> Number:
    """Pixels of a row that count."""
    count = np.int32(0)
    for u in range(width):
        count += np.int32(record[4 * u] > 0)
    return count


@fused
def paint(color: NDArray[np.uint8], record: NDArray[np.int32], width: int) -> None:
    """Add the colour (3 w,) to the records of a row's pixels that count."""
    for u in range(width):
        rgb = np.int32(color[3 * u]) | np.int32(color[3 * u + 1]) << _8 | np.int32(color[3 * u + 2]) << _16
        record[4 * u + 3] = rgb if record[4 * u] > 0 else np.int32(0)


@fused
def weigh(given: Floats, records: NDArray[np.int32]) -> None:
    """Scale the weights in the records (h, 4 w) of the pixels that count by those that a frame brings, (h, w)."""
    for v in range(given.shape[0]):
        row, record = given[v], records[v]
        for u in range(given.shape[1]):
            word = record[4 * u + 1]
            weight = min(max(np.floor(np.float32(word >> _16) * row[u] + _HALF), _1), _WEIGHTS)
            record[4 * u + 1] = np.int32(weight) << _16 | (word & _LOW) if word > 0 else np.int32(0)
