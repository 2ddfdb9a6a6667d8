"""Graphs of relative rotations: their checks, their parts and their spanning trees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from cv3d.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ORTHONORMAL = 1e-6


def check_rotations(edges: Ints, rotations: Floats, count: int) -> Ints:
    """The edges as an array (e, 2), when they and their rotations are sound.

    Raises:
        InputError: shapes do not match, an index is out of range, an edge is of a node and itself, or a matrix is not a
            rotation.
    """
    edges = np.ascontiguousarray(edges, dtype=np.int64)
    if edges.shape != (len(edges), 2) or rotations.shape != (len(edges), 3, 3):
        raise InputError(f"edges are (e, 2) with rotations (e, 3, 3), got {edges.shape} and {rotations.shape}")
    if len(edges) and (edges.min() < 0 or edges.max() >= count):
        raise InputError(f"an edge is of a node beyond the {count} that there are")
    itself = np.flatnonzero(edges[:, 0] == edges[:, 1])
    if len(itself):
        raise InputError(f"edge {itself[0]} is of node {edges[itself[0], 0]} and itself")
    known = np.where(np.isfinite(rotations).all(axis=(1, 2), keepdims=True), rotations, 0.0)
    off = np.abs(known @ known.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2), initial=0.0)
    broken = np.flatnonzero((off > _ORTHONORMAL) | (np.linalg.det(known) <= 0.0))
    if len(broken):
        raise InputError(f"the matrix of edge {broken[0]} is not a rotation")
    return edges


def parts(edges: Ints, count: int) -> Ints:
    """The part of the graph that each node is in, (n,), largest first; -1 for nodes without edges."""
    links = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    _, label = connected_components(links, directed=False)
    size = np.bincount(label, minlength=1) if count else np.zeros(1, dtype=np.int64)
    rank = np.empty(len(size), dtype=np.int64)
    rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
    part: Ints = np.where(size[label] > 1, rank[label], -1) if count else np.zeros(0, dtype=np.int64)
    return part


def along_best_tree(edges: Ints, rotations: Floats, score: Floats, roots: Ints, count: int) -> Floats:
    """Rotations node_from_root of all nodes, (n, 3, 3), along the spanning trees with the highest scores.

    Args:
        edges: nodes a and b, (e, 2).
        rotations: b_from_a, (e, 3, 3).
        score: of the edges, (e,), positive.
        roots: one node of each part, which gets the identity.
        count: number of nodes, n.
    """
    low, high = edges.min(axis=1), edges.max(axis=1)
    order = np.lexsort((-score, high, low))
    _, first = np.unique(low[order] * count + high[order], return_index=True)
    best = order[first]
    # The lowest sum of any falling function of scores is the tree of the highest ones; ranks keep their digits.
    cost = np.empty(len(best))
    cost[np.argsort(-score[best], kind="stable")] = np.arange(1, len(best) + 1)
    tree = minimum_spanning_tree(coo_matrix((cost, (low[best], high[best])), shape=(count, count)).tocsr()).tocoo()
    edge_of = {
        (int(a), int(b)): int(e)
        for e in best[np.argsort(cost)[tree.data.astype(np.int64) - 1]]
        for a, b in (edges[e], edges[e][::-1])
    }
    found = np.tile(np.eye(3), (count, 1, 1))
    links = tree.tocsr()
    for root in roots.tolist():
        reached, before = breadth_first_order(links, root, directed=False)
        for node in reached[1:].tolist():
            parent = int(before[node])
            edge = edge_of[parent, node]
            turn = rotations[edge] if edges[edge, 0] == parent else rotations[edge].T
            found[node] = turn @ found[parent]
    return found
