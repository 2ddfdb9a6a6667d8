"""Where the nodes of a graph are drawn: distances on the page as the edges have them, the same in every run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SHORTEST, _LONGEST = 0.45, 2.5
"""Bounds of an edge's length, of the median one."""
_STEPS = 80


def stress_layout(count: int, edges: Ints, weights: Floats) -> Points:
    """Places of the nodes of a connected graph, (n, 2), about the origin; strong edges are short.

    Classical scaling (Torgerson, Psychometrika 1952) of the lengths of shortest paths, then majorisation of the
    stress (Gansner, Koren and North, Graph Drawing 2004). Grows with the cube of the number of nodes.

    Args:
        count: n, number of nodes.
        edges: (e, 2).
        weights: of each edge, positive.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import shortest_path

    if count == 1:
        return np.zeros((1, 2))
    lengths = weights**-0.5
    lengths = np.clip(lengths / float(np.median(lengths)), _SHORTEST, _LONGEST)
    graph = coo_array((lengths, (edges[:, 0], edges[:, 1])), shape=(count, count))
    wanted = shortest_path(graph.tocsr(), method="FW", directed=False)
    places = _classical_scaling(wanted)
    off = ~np.eye(count, dtype=bool)
    strength = np.zeros_like(wanted)
    strength[off] = wanted[off] ** -2
    # The inverse of a Laplacian on what is orthogonal to its kernel, the constant vectors.
    laplacian = np.diag(strength.sum(axis=1)) - strength
    solve = np.linalg.inv(laplacian + 1.0 / count) - 1.0 / count
    for _ in range(_STEPS):
        now = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=2))
        ratio = np.divide(strength * wanted, now, out=np.zeros_like(now), where=now > 1e-9)
        places = solve @ (places * ratio.sum(axis=1)[:, None] - ratio @ places)
    return _upright(places)


def _classical_scaling(distances: Floats) -> Points:
    """Points in the plane whose distances are nearly those, (n, 2)."""
    count = len(distances)
    centring = np.eye(count) - 1.0 / count
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    spread = np.sqrt(np.maximum(values[-2:], 0.0))
    places = vectors[:, -2:] * spread
    # Nodes that coincide would never part; a spiral too small to be seen tells them apart.
    turn = 2.399963 * np.arange(count)
    spiral = np.sqrt(np.arange(count) / count)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    parted: Points = places + 0.02 * max(float(spread.max()), 1e-3) / math.sqrt(count) * spiral
    return parted


def _upright(places: Points) -> Points:
    """Turned so that it is longest from left to right, with a sign that depends on the shape alone."""
    places = places - places.mean(axis=0)
    _, vectors = np.linalg.eigh(places.T @ places)
    turned: Points = places @ vectors[:, ::-1]
    for axis in (0, 1):
        heaviest = int(np.abs(turned[:, axis]).argmax())
        turned[:, axis] *= -1.0 if turned[heaviest, axis] > 0.0 else 1.0
    return turned


def coarsened(count: int, edges: Ints, weights: Floats, most: int) -> Ints:
    """Which nodes to draw as one, so that about `most` are left: a label for each node, (n,), from 0.

    Heavy-edge matching (Karypis and Kumar, SIAM J. Sci. Comput. 1998): the strongest edges between nodes that are
    still alone are contracted, round after round. Nodes that no edge joins are never merged.
    """
    labels = np.arange(count)
    left = count
    while left > most and len(edges):
        order = np.argsort(-weights, kind="stable")
        joined: dict[int, int] = {}
        for one, other in edges[order].tolist():
            if left == most:
                break
            if one not in joined and other not in joined:
                joined[one], joined[other] = min(one, other), min(one, other)
                left -= 1
        step = np.array([joined.get(node, node) for node in range(count)])
        kept, numbers = np.unique(step, return_inverse=True)
        labels, count, left = numbers[labels], len(kept), len(kept)
        edges, weights = merged_edges(numbers, edges, weights)
    return labels


def merged_edges(labels: Ints, edges: Ints, weights: Floats) -> tuple[Ints, Floats]:
    """The edges between nodes that were merged, ascending, their weights added."""
    renamed = np.sort(labels[edges], axis=1)
    between = renamed[:, 0] != renamed[:, 1]
    if not between.any():
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    found, numbers = np.unique(renamed[between], axis=0, return_inverse=True)
    added = np.bincount(numbers.reshape(-1), weights[between], len(found))
    return found.astype(np.int64), added.astype(np.float64)


def telling_edges(count: int, edges: Ints, weights: Floats, most: int) -> Ints:
    """Entries of `edges` to draw where all would be too many: what holds the graph together, then the strongest."""
    if len(edges) <= most:
        return np.arange(len(edges))
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    # Unlike weights, ranks have no ties, so the tree is always the same one.
    ranks = np.empty(len(edges))
    order = np.argsort(-weights, kind="stable")
    ranks[order] = np.arange(1.0, len(edges) + 1.0)
    graph = coo_array((ranks, (edges[:, 0], edges[:, 1])), shape=(count, count))
    tree = minimum_spanning_tree(graph.tocsr())
    needed = order[np.round(tree.data).astype(np.int64) - 1]
    others = order[~np.isin(order, needed)]
    return np.sort(np.concatenate([needed, others[: max(0, most - len(needed))]]))


def packed(
    sizes: Sequence[tuple[float, float]], width: float, height: float
) -> tuple[list[tuple[float, float]], float]:
    """Where boxes lie, in rows, and by how much they are scaled so that all are within an area.

    Args:
        sizes: width and height of each box, largest first.
        width: of the area.
        height: likewise.

    Returns:
        Left and top of each box after scaling, and the scale.
    """
    low, high = 0.0, 2.0 * max(width, height) / min(max(w, h) for w, h in sizes)
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _rows(sizes, middle, width)[1] <= height else (low, middle)
    places, used = _rows(sizes, low, width)
    return [(x, y + 0.5 * (height - used)) for x, y in places], low


def _rows(sizes: Sequence[tuple[float, float]], scale: float, width: float) -> tuple[list[tuple[float, float]], float]:
    """Left and top of boxes in rows, and how high all are; infinitely where one is too wide."""
    rows: list[list[tuple[float, float]]] = [[]]
    for own in sizes:
        box = scale * own[0], scale * own[1]
        if box[0] > width:
            return [], math.inf
        if rows[-1] and sum(w for w, _ in rows[-1]) + box[0] > width:
            rows.append([])
        rows[-1].append(box)
    places, top = [], 0.0
    for row in rows:
        tallest = max((h for _, h in row), default=0.0)
        left = 0.5 * (width - sum(w for w, _ in row))
        for box in row:
            places.append((left, top + 0.5 * (tallest - box[1])))
            left += box[0]
        top += tallest
    return places, top
