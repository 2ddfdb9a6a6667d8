"""Patches read and aligned by fused kernels: the twins, on the CPU, of :mod:`cv3d.features.refinement.alignment`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cv3d.features.refinement.alignment import FLOOR, LARGEST_CHANGE, LARGEST_STEP, SETTLED
from cv3d.features.refinement.sampling_kernel import Flat, Plane, Window, forget, open_window, read_patch
from cv3d.features.refinement.template import FREEDOMS, LEAST_GAIN, TINY
from cv3d.features.refinement.template_kernel import (
    Fields,
    Matrix,
    differentiate,
    invert,
    leave,
    multiply,
    net,
    product,
    spread,
)
from cv3d.geometry.fused import fused

Floats = NDArray[np.float64]

UNREADABLE = -1.0
"""Correlation of what cannot be read or told."""


class Grid(NamedTuple):
    """The samples of a patch, row by row, (n,) each."""

    across: Flat
    """How far right of the middle."""
    down: Flat
    """How far below."""
    weights: Flat
    """What they count, 1 in all."""
    is_sample: Flat
    """1, or 0 where a row is padded."""


class Steps(NamedTuple):
    """How patches are aligned, see :class:`cv3d.features.refinement.options.RefinementOptions`."""

    side: int
    iterations: int
    affine_iterations: int
    affine_deviation: float


class Template(NamedTuple):
    """The reference's patch, with room for what it is compared to."""

    values: Flat
    """(n,), less the mean."""
    fields: Fields
    """(6, n), derivatives by the place and the affinity, less what gain and bias explain."""
    weighted: Fields
    """(7, n), the same by weight, and last the values."""
    inverse: Matrix
    """(6, 6), of the normal matrix of the fields that are in use."""
    patch: Flat
    """(n,), the target's."""
    residuals: Flat
    """(n,), the target's less the reference's."""


@fused
def read_kernel(
    image: Plane, shrink: float, places: Floats, warps: Floats, side: int, across: Flat, down: Flat, out: Plane
) -> None:
    """Read patches (n, m) at places + warps · offsets in one level, whose pixels are 1 / `shrink` of the picture's."""
    window = open_window(image, shrink, side)
    reach = across[len(across) - 1]
    for i in range(len(places)):
        forget(window)
        if not read_patch(window, places[i], warps[i], reach, across, down, out[i]):
            for k in range(len(across)):
                out[i, k] = np.float32(0.0)


@fused
def align_kernel(
    image: Plane,
    shrink: float,
    patches: Plane,
    places: Floats,
    warps: Floats,
    grid: Grid,
    steps: Steps,
    covariances: Floats,
    scores: Floats,
) -> None:
    """Find patches in one level of a picture.

    Args:
        image: the level.
        shrink: its pixels by one of the picture.
        patches: (n, (side + 2)²), the reference's.
        places: (n, 2) where to start, pixels of the picture. Written to: where they are.
        warps: (n, 2, 2) pixels of the picture by samples. Written to: as estimated.
        grid: the samples.
        steps: how.
        covariances: (n, 2, 2) written to, samples squared.
        scores: (n, 2) written to: correlation, and ratio of the eigenvalues of the structure tensor. Both are -1 where
            the patch cannot be read, or has no contrast.
    """
    count = len(grid.across)
    window = open_window(image, shrink, steps.side)
    template = Template(
        np.empty(count, np.float32),
        np.empty((6, count), np.float32),
        np.empty((7, count), np.float32),
        np.empty((6, 6)),
        np.empty(count, np.float32),
        np.empty(count, np.float32),
    )
    influence = np.empty((2, count), np.float32)
    for i in range(len(places)):
        scores[i, 0] = scores[i, 1] = UNREADABLE
        forget(window)
        energy = differentiate(patches[i], steps.side, grid.weights, template.values, template.fields)
        for k in range(count):
            template.weighted[6, k] = grid.weights[k] * template.values[k]
        multiply(template.fields, grid.across, grid.down)
        conditioning = _net_places(template, grid, energy)
        ncc = _descend(window, template, grid, steps, energy, places[i], warps[i])
        if ncc > UNREADABLE:
            _influence(template, 6 if steps.affine_iterations else 2, influence)
            spread(influence, template.residuals, steps.side, covariances[i])
            scores[i, 0], scores[i, 1] = ncc, conditioning


@fused
def _net_places(template: Template, grid: Grid, energy: np.float32) -> float:
    """The fields of the place with the inverse of their normal matrix, and the ratio of its eigenvalues."""
    for j in range(2):
        net(template.fields[j], template.values, grid.weights, energy, template.weighted[j])
    a = float(product(template.weighted[0], template.fields[0]))
    b = float(product(template.weighted[0], template.fields[1]))
    d = float(product(template.weighted[1], template.fields[1]))
    determinant = a * d - b * b
    if abs(determinant) < TINY:
        determinant = TINY
    template.inverse[0, 0], template.inverse[1, 1] = d / determinant, a / determinant
    template.inverse[0, 1] = template.inverse[1, 0] = -b / determinant
    largest = max(0.5 * (a + d) + np.sqrt(0.25 * (a - d) ** 2 + b * b), TINY)
    return float((a + d - largest) / largest)


@fused
def _descend(
    window: Window, template: Template, grid: Grid, steps: Steps, energy: np.float32, place: Floats, warp: Matrix
) -> float:
    """Move a place, then change its affinity too; the correlation in the end, or that of what cannot be read.

    The template is left with the residuals there, and with the inverse normal matrix of all that was moved. There is
    one loop for both, because what reads a patch is the most to compile.
    """
    reach, change, update = np.float32(steps.side // 2), np.zeros(4), np.empty(6)
    moves, turns, prior = steps.iterations, steps.affine_iterations, -1.0
    while True:
        if not read_patch(window, place, warp, reach, grid.across, grid.down, template.patch):
            return UNREADABLE
        if moves > 0:
            length = _translate(template, float(energy), place, warp)
            moves = moves - 1 if length > SETTLED else 0
            continue
        ncc, square = leave(template.patch, template.values, grid.weights, grid.is_sample, energy, template.residuals)
        if turns == 0:
            return ncc
        if prior < 0.0:
            variance = square / (steps.side * steps.side - FREEDOMS)
            prior = _net_affinities(template, grid, energy, variance / steps.affine_deviation**2)
            if not prior > 0.0:
                return UNREADABLE
        length = _deform(template, prior, change, update, place, warp)
        turns = turns - 1 if length > SETTLED else 0


@fused
def _translate(template: Template, energy: float, place: Floats, warp: Matrix) -> float:
    """Move a place by a step, whose length in samples it tells."""
    inverse, weighted = template.inverse, template.weighted
    gain = max(float(product(weighted[6], template.patch)) / energy, LEAST_GAIN)
    right0, right1 = float(product(weighted[0], template.patch)), float(product(weighted[1], template.patch))
    dx = (inverse[0, 0] * right0 + inverse[0, 1] * right1) / gain
    dy = (inverse[1, 0] * right0 + inverse[1, 1] * right1) / gain
    length = np.sqrt(dx * dx + dy * dy)
    shrink = LARGEST_STEP / max(length, LARGEST_STEP)
    place[0] -= (warp[0, 0] * dx + warp[0, 1] * dy) * shrink
    place[1] -= (warp[1, 0] * dx + warp[1, 1] * dy) * shrink
    return float(length)


@fused
def _deform(template: Template, prior: float, change: Floats, update: Floats, place: Floats, warp: Matrix) -> float:
    """Move a place and change its affinity by a step; the length of the move, samples.

    Args:
        template: with the residuals.
        prior: weight of the affinity as it was given.
        change: (4,), of the affinity so far. Written to.
        update: (6,), room for the step.
        place: (2,), written to.
        warp: (2, 2), written to.
    """
    for j in range(6):
        update[j] = 0.0
    for j in range(6):
        right = float(product(template.weighted[j], template.residuals))
        if j >= 2:
            right -= prior * change[j - 2]
        for k in range(6):
            update[k] += template.inverse[k, j] * right
    length = np.sqrt(update[0] ** 2 + update[1] ** 2)
    largest = max(1.0, length / LARGEST_STEP)
    for j in range(2, 6):
        largest = max(largest, abs(update[j]) / LARGEST_CHANGE)
    for j in range(6):
        update[j] /= largest
    _undo(warp, update)
    place[0] -= warp[0, 0] * update[0] + warp[0, 1] * update[1]
    place[1] -= warp[1, 0] * update[0] + warp[1, 1] * update[1]
    for j in range(4):
        change[j] += update[2 + j]
    return float(length)


@fused
def _net_affinities(template: Template, grid: Grid, energy: np.float32, variance: float) -> float:
    """The fields of the affinity, with the inverse of the normal matrix of all; the prior's weight, or -1 for none.

    Args:
        template: written to.
        grid: the samples.
        energy: the values' weighted mean square.
        variance: of the residuals, by that of an affinity's entries.
    """
    fields, weighted, normal = template.fields, template.weighted, np.empty((6, 6))
    for j in range(2, 6):
        net(fields[j], template.values, grid.weights, energy, weighted[j])
    trace, total = 0.0, 0.0
    for j in range(6):
        for k in range(j + 1):
            normal[j, k] = normal[k, j] = float(product(weighted[j], fields[k]))
        trace += normal[j, j]
    for k in range(len(grid.weights)):
        total += float(grid.weights[k] * grid.weights[k])
    # The normal matrix is a weighted mean over samples; so many of equal weight would tell as much.
    prior = variance * total + FLOOR * trace + TINY
    for j in range(6):
        normal[j, j] += TINY + (prior if j >= 2 else 0.0)
    return prior if invert(normal, template.inverse) else -1.0


@fused
def _undo(warp: Matrix, update: Floats) -> None:
    """Let the target be read where the reference, moved by an update of the affinity, looks like it."""
    a, b, c, d = 1.0 + update[2], update[3], update[4], 1.0 + update[5]
    determinant = a * d - b * c
    for i in range(2):
        one, two = warp[i, 0], warp[i, 1]
        warp[i, 0] = (one * d - two * c) / determinant
        warp[i, 1] = (two * a - one * b) / determinant


@fused
def _influence(template: Template, known: int, out: Fields) -> None:
    """What a residual of each sample (2, n) does to the place."""
    for i in range(2):
        row = out[i]
        for k in range(len(row)):
            row[k] = np.float32(0.0)
        for j in range(known):
            factor, weighted = np.float32(template.inverse[i, j]), template.weighted[j]
            for k in range(len(row)):
                row[k] += factor * weighted[k]
