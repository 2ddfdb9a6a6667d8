"""Patches read and aligned by fused kernels: the twins, on the CPU, of :mod:`cv3d.features.refinement.alignment`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cv3d.features.refinement.alignment import FLOOR, LARGEST_CHANGE, LARGEST_STEP, SETTLED
from cv3d.features.refinement.sampling_kernel import Flat, Plane, load, sample, window_side
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


class Window(NamedTuple):
    """Part of a picture's level in single precision."""

    image: Plane
    """The level."""
    shrink: float
    """Its pixels by one of the picture."""
    loaded: NDArray[np.int64]
    """The part: its first pixel, width and height."""
    pixels: Flat
    """Row by row."""
    warp: Flat
    """(4,), pixels of the level by samples."""


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
    window = _window(image, shrink, side)
    reach = across[len(across) - 1]
    for i in range(len(places)):
        _forget(window)
        if not _read(window, places[i], warps[i], reach, across, down, out[i]):
            out[i] = 0.0


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
    window = _window(image, shrink, steps.side)
    template = Template(
        np.empty(count, np.float32),
        np.empty((6, count), np.float32),
        np.empty((7, count), np.float32),
        np.empty((6, 6)),
        np.empty(count, np.float32),
        np.empty(count, np.float32),
    )
    influence, small = np.empty((2, count), np.float32), np.empty((2, 2))
    for i in range(len(places)):
        scores[i] = -1.0
        _forget(window)
        energy = differentiate(patches[i], steps.side, grid.weights, template.values, template.fields)
        for k in range(count):
            template.weighted[6, k] = grid.weights[k] * template.values[k]
        if steps.affine_iterations > 0:
            multiply(template.fields, grid.across, grid.down)
        conditioning = _net_places(template, grid, energy)
        if not _translate(window, template, grid, steps, float(energy), places[i], warps[i]):
            continue
        known = 2
        if steps.affine_iterations > 0:
            known = 6
            if not _deform(window, template, grid, steps, energy, places[i], warps[i]):
                continue
        reach = np.float32(steps.side // 2)
        if not _read(window, places[i], warps[i], reach, grid.across, grid.down, template.patch):
            continue
        ncc, _ = leave(template.patch, template.values, grid.weights, grid.is_sample, energy, template.residuals)
        _influence(template, known, influence)
        spread(influence, template.residuals, steps.side, small)
        covariances[i] = small
        scores[i, 0], scores[i, 1] = ncc, conditioning


@fused
def _window(image: Plane, shrink: float, side: int) -> Window:
    room = window_side(side)
    return Window(image, shrink, np.zeros(4, np.int64), np.empty(room * room, np.float32), np.empty(4, np.float32))


@fused
def _forget(window: Window) -> None:
    """Load anew for the next patch: where a patch is in the window must not depend on those before."""
    window.loaded[:] = 0


@fused
def _read(window: Window, place: Floats, warp: Matrix, reach: np.float32, across: Flat, down: Flat, out: Flat) -> bool:
    """Read a patch that goes `reach` samples to each side; whether that can be done."""
    shrink = window.shrink
    x, y = (place[0] + 0.5) * shrink - 0.5, (place[1] + 0.5) * shrink - 0.5
    xx, xy, yx, yy = warp[0, 0] * shrink, warp[0, 1] * shrink, warp[1, 0] * shrink, warp[1, 1] * shrink
    reach_x, reach_y = (abs(xx) + abs(xy)) * float(reach), (abs(yx) + abs(yy)) * float(reach)
    if not load(window.image, x, y, reach_x, reach_y, window.loaded, window.pixels):
        return False
    window.warp[0], window.warp[1], window.warp[2], window.warp[3] = xx, xy, yx, yy
    sample(window.pixels, window.loaded, x, y, window.warp, across, down, out)
    return True


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
def _translate(
    window: Window, template: Template, grid: Grid, steps: Steps, energy: float, place: Floats, warp: Matrix
) -> bool:
    """Move a place; whether the patch could be read."""
    reach, inverse, weighted = np.float32(steps.side // 2), template.inverse, template.weighted
    for _ in range(steps.iterations):
        if not _read(window, place, warp, reach, grid.across, grid.down, template.patch):
            return False
        gain = max(float(product(weighted[6], template.patch)) / energy, LEAST_GAIN)
        right0, right1 = float(product(weighted[0], template.patch)), float(product(weighted[1], template.patch))
        dx = (inverse[0, 0] * right0 + inverse[0, 1] * right1) / gain
        dy = (inverse[1, 0] * right0 + inverse[1, 1] * right1) / gain
        length = np.sqrt(dx * dx + dy * dy)
        shrink = LARGEST_STEP / max(length, LARGEST_STEP)
        place[0] -= (warp[0, 0] * dx + warp[0, 1] * dy) * shrink
        place[1] -= (warp[1, 0] * dx + warp[1, 1] * dy) * shrink
        if not length > SETTLED:
            break
    return True


@fused
def _deform(
    window: Window, template: Template, grid: Grid, steps: Steps, energy: np.float32, place: Floats, warp: Matrix
) -> bool:
    """Move a place and change its affinity; whether the patch could be read. The inverse becomes that of both."""
    side, inverse, reach = steps.side, template.inverse, np.float32(steps.side // 2)
    change, right, update = np.zeros(4), np.empty(6), np.empty(6)
    prior = 0.0
    for step in range(steps.affine_iterations):
        if not _read(window, place, warp, reach, grid.across, grid.down, template.patch):
            return False
        _, square = leave(template.patch, template.values, grid.weights, grid.is_sample, energy, template.residuals)
        if step == 0:
            variance = square / (side * side - FREEDOMS)
            prior = _net_affinities(template, grid, energy, variance / steps.affine_deviation**2)
            if not prior > 0.0:
                return False
        for j in range(6):
            right[j] = float(product(template.weighted[j], template.residuals))
        for j in range(4):
            right[2 + j] -= prior * change[j]
        for j in range(6):
            update[j] = 0.0
            for k in range(6):
                update[j] += inverse[j, k] * right[k]
        length = np.sqrt(update[0] ** 2 + update[1] ** 2)
        update /= max(1.0, length / LARGEST_STEP, np.abs(update[2:]).max() / LARGEST_CHANGE)
        _undo(warp, update)
        place[0] -= warp[0, 0] * update[0] + warp[0, 1] * update[1]
        place[1] -= warp[1, 0] * update[0] + warp[1, 1] * update[1]
        change += update[2:]
        if not length > SETTLED:
            break
    return True


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
        row[:] = np.float32(0.0)
        for j in range(known):
            factor, weighted = np.float32(template.inverse[i, j]), template.weighted[j]
            for k in range(len(row)):
                row[k] += factor * weighted[k]
