"""Where new points begin: strong keypoints, spread over the picture, away from the points that are there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MARGIN = 8.0
"""Nearest that a new point lies to the border, pixels."""


def choose_seeds(
    pixels: NDArray[np.float32], taken: NDArray[np.float32], size: tuple[int, int], count: int, distance: float
) -> NDArray[np.int64]:
    """Pick keypoints for new points.

    Cells of the picture with the fewest points are served first, each with its strongest keypoint, until all are full:
    so support is spread over the picture instead of crowding on its most textured object.

    Args:
        pixels: (k, 2) keypoints, strongest first.
        taken: (n, 2) the points that are there.
        size: width and height of the picture.
        count: the most to pick.
        distance: least between any two, pixels.

    Returns:
        Indices of the keypoints picked.
    """
    width, height = size
    limit = np.array([width - 1.0, height - 1.0])
    room = np.flatnonzero(((pixels >= _MARGIN) & (pixels <= limit - _MARGIN)).all(1))
    if count <= 0 or not len(room):
        return np.zeros(0, np.int64)
    side = max(4.0 * distance, 0.08 * max(width, height))
    columns = int(width // side) + 1
    cells = int(height // side) + 1

    def cell_of(places: NDArray[np.float32]) -> NDArray[np.int64]:
        grid = np.floor(places.clip(0.0, limit) / side).astype(np.int64)
        return grid[:, 1] * columns + grid[:, 0]

    load = np.bincount(cell_of(taken), minlength=columns * cells) if len(taken) else np.zeros(columns * cells, np.int64)
    # The rank of a keypoint in its cell, on top of what the cell has, is the turn in which it is served.
    cell = cell_of(pixels[room])
    by_cell = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[by_cell], cell[by_cell])
    rank = np.empty(len(room), np.int64)
    rank[by_cell] = np.arange(len(room)) - starts
    order = np.argsort(rank + load[cell], kind="stable")
    return _apart(pixels, room[order], taken, size, count, distance)


def _apart(
    pixels: NDArray[np.float32],
    order: NDArray[np.int64],
    taken: NDArray[np.float32],
    size: tuple[int, int],
    count: int,
    distance: float,
) -> NDArray[np.int64]:
    """The first `count` in the given order that keep their distance."""
    side = distance / np.sqrt(2.0)
    # In cells whose diagonal is the distance there is one point at most, so 5 × 5 cells hold all that may be too near.
    shape = (int(size[1] // side) + 5, int(size[0] // side) + 5)
    nearest = np.full((*shape, 2), np.inf, np.float32)
    limit = np.array(size, np.float32) - 1.0
    for x, y in taken.clip(0.0, limit).tolist():
        nearest[int(y / side) + 2, int(x / side) + 2] = x, y
    picked = []
    for index in order.tolist():
        x, y = pixels[index].tolist()
        row, column = int(y / side) + 2, int(x / side) + 2
        around = nearest[row - 2 : row + 3, column - 2 : column + 3]
        if (((around - (x, y)) ** 2).sum(-1) < distance * distance).any():
            continue
        nearest[row, column] = x, y
        picked.append(index)
        if len(picked) == count:
            break
    return np.array(picked, np.int64)
