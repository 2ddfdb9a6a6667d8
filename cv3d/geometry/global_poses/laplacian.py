"""Weighted Laplacians of graphs, with some nodes held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from cv3d.geometry.block_cholesky import BlockCholesky, BlockPattern

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_DENSE = 1000
"""Unknowns up to which one dense factor is quicker than many small fronts, however sparse the graph."""


class GroundedLaplacian:
    """The pattern of a graph whose free nodes are unknown; at least one node of each part is held."""

    def __init__(self, edges: Ints, is_free: Bools) -> None:
        """Analyse a graph.

        Args:
            edges: nodes a and b, (e, 2).
            is_free: the unknowns among the nodes, (n,).
        """
        self.edges, self.count = edges, len(is_free)
        self.free = np.flatnonzero(is_free)
        place = np.full(self.count, -1, dtype=np.int64)
        place[self.free] = np.arange(len(self.free))
        self._both = np.flatnonzero((place[edges] >= 0).all(axis=1))
        self._rows, self._cols = place[edges[self._both]].T
        self._pattern = None
        if len(self.free) > _DENSE:
            self._pattern = BlockPattern(len(self.free), 1, self._rows, self._cols)

    def factor(self, weights: Floats) -> GroundedFactor:
        """Factor the Laplacian with positive weights of the edges, (e,)."""
        diagonal = np.bincount(self.edges.ravel(), np.repeat(weights, 2), minlength=self.count)[self.free]
        off = -weights[self._both]
        if self._pattern is not None:
            blocks = self._pattern.factor(diagonal.astype(np.float64)[:, None, None], off[:, None, None])
            return GroundedFactor(self, blocks)
        dense = np.diag(diagonal)
        np.add.at(dense, (self._rows, self._cols), off)
        np.add.at(dense, (self._cols, self._rows), off)
        return GroundedFactor(self, cho_factor(dense, lower=True, overwrite_a=True, check_finite=False)[0])

    def divergence(self, flows: Floats) -> Floats:
        """What flows into each node along the edges, (n, k), of flows from a to b, (e, k)."""
        columns = [
            np.bincount(self.edges[:, 1], flow, self.count) - np.bincount(self.edges[:, 0], flow, self.count)
            for flow in flows.T
        ]
        return np.stack(columns, axis=1)


class GroundedFactor:
    """A factor of a :class:`GroundedLaplacian`."""

    def __init__(self, laplacian: GroundedLaplacian, factor: BlockCholesky | Floats) -> None:
        self._laplacian, self._factor = laplacian, factor

    def solve(self, right: Floats) -> Floats:
        """Potentials of all nodes, (n, k), 0 for those held, of right-hand sides (n, k)."""
        free = self._laplacian.free
        result = np.zeros(right.shape)
        if isinstance(self._factor, BlockCholesky):
            result[free] = self._factor.solve(right[free][:, None, :])[:, 0]
        else:
            result[free] = cho_solve((self._factor, True), right[free], check_finite=False)
        return result

    def inverse_diagonal(self) -> Floats:
        """Diagonal of the inverse, (n,), 0 for nodes held."""
        free = self._laplacian.free
        result = np.zeros(self._laplacian.count)
        if isinstance(self._factor, BlockCholesky):
            result[free] = self._factor.inverse_diagonal()[:, 0, 0]
        else:
            result[free] = np.diagonal(cho_solve((self._factor, True), np.eye(len(free)), check_finite=False))
        return result
