"""The lattice that neighbouring markers form in one picture, without knowing the board.

Each marker spans an affine frame in the picture. Seen from that frame its neighbours lie at steps of a square
lattice: on the diagonals first on a ChArUco board, where every other square is black, straight on first on a grid of
tags. The mean of the step seen from both ends is free of the first-order effect of perspective and distortion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_REACH = 8.0
"""Pairs further apart than this many marker sides are not looked at."""
_ASYMMETRY = 0.4
"""How much the two ends of a pair may disagree about their distance, as a share of it."""
_OFF_LATTICE = 0.24
"""How far from a lattice point a neighbour may lie, in steps."""
_MAX_STEPS = 2


@dataclass(frozen=True)
class Pairs:
    """Pairs of markers that stand upright to each other and are of similar size."""

    first: NDArray[np.int64]
    """Index of one marker, (m,)."""
    second: NDArray[np.int64]
    """Index of the other, (m,)."""
    offset: NDArray[np.float64]
    """Centre of the second seen from the first, in marker sides along the marker's own x and y, (m, 2)."""

    def select(self, keep: NDArray[np.bool_]) -> Pairs:
        """The pairs under a mask."""
        return Pairs(self.first[keep], self.second[keep], self.offset[keep])


@dataclass(frozen=True)
class Lattice:
    """The steps between the markers of one picture."""

    step: float
    """Distance of neighbouring lattice points, in marker sides."""
    checkered: bool
    """Whether markers stand on every other lattice point only, as on a ChArUco board."""
    pairs: Pairs
    """The pairs that lie on the lattice and within one connected group."""
    moves: NDArray[np.int64]
    """Lattice steps from the first to the second of each pair in the marker's own frame, (m, 2)."""
    members: NDArray[np.int64]
    """Indices of the markers of the group, ascending."""


def find_pairs(corners: NDArray[np.float64], reach: float = _REACH) -> Pairs:
    """Pairs of markers (n, 4, 2) within `reach` marker sides whose two ends agree about their offset."""
    count = len(corners)
    first, second = np.triu_indices(count, 1)
    centre = corners.mean(axis=1)
    x_axis = 0.5 * (corners[:, 1] - corners[:, 0] + corners[:, 2] - corners[:, 3])
    y_axis = 0.5 * (corners[:, 3] - corners[:, 0] + corners[:, 2] - corners[:, 1])
    to_marker = np.linalg.inv(np.stack([x_axis, y_axis], axis=2)) if count else np.zeros((0, 2, 2))
    between = centre[second] - centre[first]
    near = np.einsum("mij,mj->mi", to_marker[first], between)
    far = np.einsum("mij,mj->mi", to_marker[second], between)
    offset = 0.5 * (near + far)
    distance = np.linalg.norm(offset, axis=1)
    keep = (distance < reach) & (distance > 0.8) & (np.linalg.norm(near - far, axis=1) < _ASYMMETRY * distance)
    return Pairs(first[keep].astype(np.int64), second[keep].astype(np.int64), offset[keep])


def find_lattice(corners: NDArray[np.float64]) -> Lattice | None:
    """The lattice of the markers (n, 4, 2) of one picture; None where fewer than two of them fit one."""
    pairs = find_pairs(corners)
    if not len(pairs.first):
        return None
    both = np.concatenate([pairs.first, pairs.second])
    distance = np.linalg.norm(np.concatenate([pairs.offset, pairs.offset]), axis=1)
    order = np.lexsort((distance, both))
    _, start = np.unique(both[order], return_index=True)
    nearest = np.abs(np.concatenate([pairs.offset, pairs.offset])[order[start]])
    small, large = nearest.min(axis=1), nearest.max(axis=1)
    diagonal = small > 0.6 * large
    checkered = bool(diagonal.sum() * 2 > len(diagonal))
    chosen = diagonal if checkered else small < 0.35 * large
    if not chosen.any():
        return None
    lengths = 0.5 * (small + large)[chosen] if checkered else large[chosen]
    return fit_lattice(pairs, float(np.median(lengths)), checkered)


def fit_lattice(pairs: Pairs, step: float, checkered: bool) -> Lattice | None:
    """The largest group of markers whose offsets are multiples of `step` marker sides."""
    moves = np.rint(pairs.offset / step).astype(np.int64)
    off = np.abs(pairs.offset / step - moves).max(axis=1)
    reach = np.abs(moves).max(axis=1)
    keep = (off < _OFF_LATTICE) & (reach >= 1) & (reach <= _MAX_STEPS)
    if checkered:
        keep &= moves.sum(axis=1) % 2 == 0
    if not keep.any():
        return None
    members = largest_group(pairs.first[keep], pairs.second[keep])
    keep &= np.isin(pairs.first, members)
    kept, moves = pairs.select(keep), moves[keep]
    refined = np.linalg.norm(kept.offset, axis=1) / np.linalg.norm(moves, axis=1)
    return Lattice(float(np.median(refined)), checkered, kept, moves, members)


def largest_group(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Members of the largest group connected by the links `first` - `second`, ascending; a tie goes to the first."""
    nodes = np.unique(np.concatenate([first, second]))
    label = np.arange(len(nodes))
    a, b = np.searchsorted(nodes, first), np.searchsorted(nodes, second)
    while True:
        lowest = np.minimum(label[a], label[b])
        updated = label.copy()
        np.minimum.at(updated, a, lowest)
        np.minimum.at(updated, b, lowest)
        if np.array_equal(updated, label):
            break
        label = updated
    values, counts = np.unique(label, return_counts=True)
    return np.asarray(nodes[label == values[counts.argmax()]], dtype=np.int64)
