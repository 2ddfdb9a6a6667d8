"""Fill the holes of a lattice and extend its rim: predict each missing corner from its neighbours, and look there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from cv3d.calibration.detection.checkerboard.edges import edges_seen
from cv3d.calibration.detection.checkerboard.lattice import (
    DIRECTIONS,
    Cells,
    Lattice,
    frames,
    make_lattice,
    neighbour_mean,
    shifted,
)
from cv3d.calibration.detection.checkerboard.pyramid import Float64, Pyramid
from cv3d.calibration.detection.checkerboard.verify import Mask, Typical, lattice_scores, score_corners

SEARCH_RADIUS = 0.33
"""How far from its prediction a corner may lie, relative to the shorter local step."""
TRIED = 4
"""Nearest candidates tried around a prediction."""
FAR_PENALTY = 0.1
"""Loss of merit of a candidate at the edge of the search radius, in units of correlation."""
MOST_ROUNDS = 40


def complete(pyramid: Pyramid, lattice: Lattice, maxima: Float64) -> Lattice:
    """Add every corner that continues the lattice; `maxima` (m, 2) are places where a corner could be."""
    tree = cKDTree(maxima)
    typical = lattice_scores(pyramid, lattice).typical()
    for _ in range(MOST_ROUNDS):
        missing = predictions(lattice)
        cells = missing.cells
        found, where = _look(pyramid, lattice, tree, typical, missing)
        if not found.any():
            break
        added = cells[found]
        light = np.concatenate([lattice.light(lattice.cells), lattice.light(added)])
        lattice = make_lattice(
            np.concatenate([lattice.cells, added]), np.concatenate([lattice.pixels, where[found]]), light
        )
    return lattice


@dataclass(frozen=True)
class Missing:
    """Cells next to a lattice or inside it that have no corner, with what their neighbours say about them."""

    cells: Cells
    """(m, 2)."""
    predicted: Float64
    """Where their corners should be, (m, 2)."""
    frame: Float64
    """Local steps to the four neighbours, (m, 4, 2)."""
    held: Mask
    """Which of the four neighbours have a corner, (m, 4)."""


def predictions(lattice: Lattice) -> Missing:
    """Every cell that could be the lattice's next, with its predicted position."""
    margin = 2
    grid = lattice.dense(margin)
    guesses = []
    for axis in (0, 1):
        for by in (1, -1):
            one, two, three = (shifted(grid, by * k, axis) for k in (1, 2, 3))
            straight = 2 * one - two
            guesses.append(np.where(np.isnan(three), straight, 3 * one - 3 * two + three))
        guesses.append((shifted(grid, 1, axis) + shifted(grid, -1, axis)) / 2)
    for by_row in (1, -1):
        for by_col in (1, -1):
            above, beside = shifted(grid, by_row, 0), shifted(grid, by_col, 1)
            guesses.append(above + beside - shifted(above, by_col, 1))
    stacked = np.stack(guesses)
    missing = np.isnan(grid[..., 0]) & np.isfinite(stacked[..., 0]).any(axis=0)
    rows, cols = np.nonzero(missing)
    predicted = np.nanmedian(stacked[:, rows, cols], axis=0) if len(rows) else np.zeros((0, 2))
    around = frames(grid)
    own = np.stack([neighbour_mean(around[:, :, k])[rows, cols] for k in range(4)], axis=1)
    held = np.zeros((len(rows), 4), dtype=bool)
    for k, (by_row, by_col) in enumerate(DIRECTIONS.tolist()):
        across = np.roll(grid, (-by_row, -by_col), axis=(0, 1))[rows, cols] - predicted
        held[:, k] = np.isfinite(across[:, 0])
        own[:, k] = np.where(held[:, k, None], across, own[:, k])
    known = np.isfinite(own).all(axis=(1, 2))
    cells = np.stack([rows, cols], axis=1) - margin
    return Missing(cells[known].astype(np.int64), predicted[known], own[known], held[known])


def _look(
    pyramid: Pyramid,
    lattice: Lattice,
    tree: cKDTree,
    typical: Typical,
    missing: Missing,
) -> tuple[Mask, Float64]:
    """Whether a corner is seen near each prediction, and where."""
    cells, predicted, frame, held = missing.cells, missing.predicted, missing.frame, missing.held
    found, where = np.zeros(len(cells), dtype=bool), predicted.copy()
    if len(cells) == 0:
        return found, where
    reach = SEARCH_RADIUS * np.linalg.norm(frame, axis=2).min(axis=1)
    distance, index = tree.query(predicted, k=min(TRIED, tree.n))
    distance, index = distance.reshape(len(cells), -1), index.reshape(len(cells), -1)
    at, slot = np.nonzero(distance < reach[:, None])
    if len(at) == 0:
        return found, where
    places = tree.data[index[at, slot]]
    # Steps to neighbours start at the place that is tried; those to missing neighbours are as predicted.
    own = frame[at] + np.where(held[at, :, None], (predicted[at] - places)[:, None], 0.0)
    light = lattice.light(cells[at])
    scores = score_corners(pyramid, places, own, light)
    good = scores.good(typical)
    good &= _joined(pyramid, places, own, held[at], light, scores.contrast)
    merit = np.where(good, scores.correlation - FAR_PENALTY * distance[at, slot] / reach[at], -1.0)
    for order in np.argsort(merit, kind="stable"):
        if good[order]:
            found[at[order]] = True
            where[at[order]] = places[order]
    return found, where


def _joined(pyramid: Pyramid, places: Float64, frame: Float64, held: Mask, light: Mask, contrast: Float64) -> Mask:
    """Whether most of the edges to the neighbours that are there (`held`, (n, 4)) are seen."""
    i, k = np.nonzero(held)
    start = places[i]
    rising = light[i] ^ (k % 2 == 1)
    seen = edges_seen(pyramid, start, start + frame[i, k], rising, contrast[i])
    count = np.bincount(i, weights=seen, minlength=len(places))
    return np.asarray(2 * count > held.sum(axis=1))
