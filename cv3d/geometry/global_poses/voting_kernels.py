"""Fused kernel: nodes whose neighbours agree on another rotation take it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_CANDIDATES = 64


@fused
def _support(rotation: Floats, predicted: Floats, weight: Floats, count: int, squared_width: float) -> float:
    """Sum of Cauchy's kernel; 3 minus the trace of a rotation is its squared angle while that is small."""
    total = 0.0
    for k in range(count):
        trace = 0.0
        for i in range(3):
            for j in range(3):
                trace += rotation[i, j] * predicted[k, i, j]
        total += weight[k] / (1.0 + (3.0 - trace) / squared_width)
    return total


@fused
def vote(
    edges: Ints,
    measured: Floats,
    weights: Floats,
    start: Ints,
    edge_to: Ints,
    width: float,
    rotations: Floats,
) -> int:
    """One sweep over all nodes, in place.

    Args:
        edges: nodes a and b, (e, 2).
        measured: b_from_a, (e, 3, 3).
        weights: of the edges, (e,).
        start: where each node's edges start, (n + 1,).
        edge_to: the edges of each node, (2 e,).
        width: radians over which rotations agree.
        rotations: node_from_root, (n, 3, 3).

    Returns:
        How many nodes took another rotation.
    """
    longest = 0
    for node in range(len(start) - 1):
        longest = max(longest, start[node + 1] - start[node])
    predicted, weight = np.empty((longest, 3, 3)), np.empty(longest)
    moved = 0
    for node in range(len(start) - 1):
        count = start[node + 1] - start[node]
        for k in range(count):
            e = edge_to[start[node] + k]
            is_second = edges[e, 1] == node
            other = rotations[edges[e, 0] if is_second else edges[e, 1]]
            weight[k] = weights[e]
            for i in range(3):
                for j in range(3):
                    total = 0.0
                    for m in range(3):
                        total += (measured[e, i, m] if is_second else measured[e, m, i]) * other[m, j]
                    predicted[k, i, j] = total
        if count < 3:
            continue
        # What one edge says is noisier than what all that agree do: another rotation has to be clearly better.
        best, chosen = 1.2 * _support(rotations[node], predicted, weight, count, width * width), -1
        for candidate in range(0, count, max(1, count // _CANDIDATES)):
            support = _support(predicted[candidate], predicted, weight, count, width * width)
            if support > best:
                best, chosen = support, candidate
        if chosen >= 0:
            rotations[node] = predicted[chosen]
            moved += 1
    return moved
