"""What patches tell of their motion: the fused twins, on the CPU, of :mod:`cv3d.features.refinement.template`.

Patches are kept in rows of two samples more than they have, which weigh nothing: loops over a patch have no rows then,
and become vector instructions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.features.refinement.template import CORRELATED, FREEDOMS, LEAST_GAIN, TINY
from cv3d.geometry.fused import fused

Flat = NDArray[np.float32]
Fields = NDArray[np.float32]
Matrix = NDArray[np.float64]

PAD = 2
"""Samples that weigh nothing at the end of each row."""
_HALF, _ZERO = np.float32(0.5), np.float32(0.0)
_TINY, _LEAST_GAIN = np.float32(TINY), np.float32(LEAST_GAIN)


@fused
def differentiate(patch: Flat, side: int, weights: Flat, values: Flat, fields: Fields) -> np.float32:
    """The middle of a patch less its weighted mean, and its derivatives by x and y.

    Args:
        patch: ((side + 2)²,), as read.
        side: samples along a side of what is aligned.
        weights: (n,) of the samples.
        values: (n,) written to.
        fields: (2 …, n) written to, the derivatives.

    Returns:
        The weighted mean square of the values.
    """
    pitch, count = side + PAD, len(values)
    here, above, below = patch[pitch + 1 :], patch[1:], patch[2 * pitch + 1 :]
    left, right = patch[pitch:], patch[pitch + 2 :]
    by_x, by_y = fields[0], fields[1]
    mean = energy = _ZERO
    for k in range(count):
        mean += weights[k] * here[k]
    for k in range(count):
        values[k] = here[k] - mean
        by_x[k] = _HALF * (right[k] - left[k])
        by_y[k] = _HALF * (below[k] - above[k])
        energy += weights[k] * values[k] * values[k]
    return max(energy, _TINY)


@fused
def multiply(fields: Fields, across: Flat, down: Flat) -> None:
    """Make fields 2 … 5 the derivatives by the entries of an affinity: fields 0 and 1 times the offsets."""
    for i in range(2):
        by, by_across, by_down = fields[i], fields[2 + 2 * i], fields[3 + 2 * i]
        for k in range(len(across)):
            by_across[k] = by[k] * across[k]
            by_down[k] = by[k] * down[k]


@fused
def net(field: Flat, values: Flat, weights: Flat, energy: np.float32, weighted: Flat) -> None:
    """Take out of a field what a gain and a bias explain, and weigh it; see :meth:`Template.net`."""
    mean = share = _ZERO
    for k in range(len(field)):
        mean += weights[k] * field[k]
        share += weights[k] * values[k] * field[k]
    share /= energy
    for k in range(len(field)):
        field[k] = field[k] - mean - share * values[k]
        weighted[k] = weights[k] * field[k]


@fused
def product(one: Flat, two: Flat) -> np.float32:
    """Inner product."""
    total = _ZERO
    for k in range(len(one)):
        total += one[k] * two[k]
    return total


@fused
def leave(
    patch: Flat, values: Flat, weights: Flat, is_sample: Flat, energy: np.float32, out: Flat
) -> tuple[float, float]:
    """Residuals of a patch, 0 where there is no sample; see :meth:`Template.residuals`.

    Returns:
        The correlation, and the residuals' sum of squares.
    """
    mean = square = cross = _ZERO
    for k in range(len(patch)):
        mean += weights[k] * patch[k]
    for k in range(len(patch)):
        centred = patch[k] - mean
        square += weights[k] * centred * centred
        cross += weights[k] * centred * values[k]
    inverse = np.float32(1.0) / max(cross / energy, _LEAST_GAIN)
    total = _ZERO
    for k in range(len(patch)):
        left = is_sample[k] * ((patch[k] - mean) * inverse - values[k])
        out[k] = left
        total += left * left
    return float(cross) / np.sqrt(max(float(square), TINY) * float(energy)), float(total)


@fused
def spread(scores: Fields, noise: Flat, side: int, out: Matrix) -> None:
    """Covariance of the sum of scores times noise that is correlated over a few samples; see :meth:`noise_of_step`.

    Args:
        scores: (2, n), 0 where there is no sample.
        noise: (n,), likewise.
        side: samples along a side.
        out: (2, 2), written to.
    """
    pitch, count = side + PAD, len(noise)
    xx = xy = yy = 0.0
    for dy in range(-CORRELATED, CORRELATED + 1):
        for dx in range(CORRELATED + 1):
            if dx == 0 and dy < 0:
                continue
            lag = dy * pitch + dx
            size, first, second = count - abs(lag), max(lag, 0), max(-lag, 0)
            x0, y0, n0 = scores[0, first : first + size], scores[1, first : first + size], noise[first : first + size]
            x1, y1 = scores[0, second : second + size], scores[1, second : second + size]
            n1 = noise[second : second + size]
            a = b = c = d = both = _ZERO
            for k in range(size):
                a += x0[k] * x1[k]
                b += x0[k] * y1[k]
                c += y0[k] * x1[k]
                d += y0[k] * y1[k]
                both += n0[k] * n1[k]
            taper = (1.0 - abs(dy) / (CORRELATED + 1)) * (1.0 - dx / (CORRELATED + 1)) * float(both)
            if lag == 0:
                taper *= 0.5
            xx += 2.0 * taper * float(a)
            xy += taper * (float(b) + float(c))
            yy += 2.0 * taper * float(d)
    share = side * side - FREEDOMS
    out[0, 0], out[1, 1] = xx / share, yy / share
    out[0, 1] = out[1, 0] = xy / share


@fused
def invert(matrix: Matrix, out: Matrix) -> bool:
    """Invert a symmetric positive matrix, which is lost; whether it was positive."""
    size = len(matrix)
    for i in range(size):
        for k in range(size):
            out[i, k] = 1.0 if i == k else 0.0
    for i in range(size):
        pivot = matrix[i, i]
        if not pivot > 0.0:
            return False
        for k in range(size):
            matrix[i, k] /= pivot
            out[i, k] /= pivot
        for j in range(size):
            factor = 0.0 if j == i else matrix[j, i]
            for k in range(size):
                matrix[j, k] -= factor * matrix[i, k]
                out[j, k] -= factor * out[i, k]
    return True
