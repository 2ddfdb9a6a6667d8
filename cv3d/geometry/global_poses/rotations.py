"""Rotations of many cameras from relative rotations, of which some are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.global_poses.cycles import cycle_errors
from cv3d.geometry.global_poses.laplacian import GroundedLaplacian
from cv3d.geometry.global_poses.rotation_graph import along_best_tree, check_rotations, parts
from cv3d.geometry.global_poses.voting_kernels import vote
from cv3d.geometry.transforms import SO3

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SHORTEST = 1e-3
"""Residual, radians, below which L1 is a square."""
_VOTES = 4
_NEGLIGIBLE = 1e-9
_MEDIAN = 1.5382
"""Median length of three Gaussian numbers, in standard deviations."""
_BEYOND = 4.0
"""Standard deviations of one component beyond which a residual is no noise."""


@dataclass(frozen=True)
class RotationAveragingOptions:
    """How rotations are averaged."""

    cycle_limit_deg: float = 5.0
    """Largest angle around a triangle that speaks for its edges when the spanning tree is chosen."""
    l1_iterations: int = 15
    robust_iterations: int = 40
    widest_deg: float = 5.0
    """Residuals beyond this are wrong edges, however much the others differ."""
    narrowest_deg: float = 1.0
    """Residuals within this are right ones, however well the others agree."""
    smallest_move: float = 1e-6
    """Largest move of a rotation, radians, at which the search ends."""


@dataclass(frozen=True, eq=False)
class RotationAverage:
    """Rotations, and how well the edges agree with them."""

    rotations: Floats
    """cam_from_world, (n, 3, 3); the identity for one node of each part, NaN for nodes in none."""
    residuals: Floats
    """Angle between measured and found relative rotation of each edge, (e,), radians; NaN for edges of weight 0."""
    inliers: Bools
    """Edges that agree, (e,): within `limit`."""
    limit: float
    """Largest residual that noise explains, radians."""
    component: Ints
    """The part of the graph that each node is in, (n,), the largest 0; -1 for nodes in none. Parts hang together by
    edges that agree, and only within a part do rotations belong together."""
    deviation: Floats
    """Standard deviation of each rotation, about one axis, against the node of its part that has the identity, (n,),
    radians; NaN for nodes in no part."""
    iterations: int
    """Linear problems solved."""
    converged: bool
    """Whether rotations had come to rest before the iterations ran out."""


def average_rotations(
    edges: Ints,
    rotations_1_from_0: Floats,
    weights: Floats,
    count: int,
    options: RotationAveragingOptions | None = None,
) -> RotationAverage:
    """Rotations of nodes that agree with as many relative rotations as possible.

    From the spanning tree whose edges agree best with the triangles they are in, iteratively reweighted least squares
    minimise first the sum of residual angles, which many wrong edges do not move far, and then a loss that ends
    (Geman and McClure's) with a width that follows the spread of the residuals (Chatterjee and Govindu 2018, "Robust
    relative rotation averaging"; Hartley et al. 2013, "Rotation averaging"). Each step is one linear problem with
    the graph's Laplacian.

    Args:
        edges: nodes a and b, (e, 2), in any order.
        rotations_1_from_0: measured b_from_a, (e, 3, 3).
        weights: inverse variances up to a common factor, (e,); 0 leaves an edge out.
        count: number of nodes, n.
        options: widths and ends.

    Returns:
        The rotations. Any graph will do: parts that do not hang together are averaged apart.

    Raises:
        InputError: shapes do not match, an index is out of range, a matrix is no rotation or a weight is negative.
    """
    options = options or RotationAveragingOptions()
    edges = check_rotations(edges, rotations_1_from_0, count)
    if weights.shape != (len(edges),) or not (np.isfinite(weights) & (weights >= 0.0)).all():
        raise InputError(f"weights of edges are ({len(edges)},), finite and not negative")
    used = np.flatnonzero(weights > 0.0)
    solver = _Solver(edges[used], rotations_1_from_0[used], weights[used], count, options)
    residuals = np.full(len(edges), np.nan)
    if len(used):
        residuals[used] = solver.run()
    inliers = residuals <= solver.limit
    component = parts(edges[inliers], count)
    lost = component < 0
    rotations, deviation = solver.rotations(), solver.deviation()
    rotations[lost], deviation[lost] = np.nan, np.nan
    return RotationAverage(
        rotations, residuals, inliers, solver.limit, component, deviation, solver.iterations, solver.converged
    )


class _Solver:
    """Iteratively reweighted least squares on a graph of relative rotations."""

    def __init__(
        self, edges: Ints, rotations: Floats, weights: Floats, count: int, options: RotationAveragingOptions
    ) -> None:
        self._options, self._count = options, count
        self._weights = weights / np.median(weights) if len(weights) else weights
        self._ends = torch.from_numpy(edges)
        self._measured = SO3.from_matrix(torch.from_numpy(np.ascontiguousarray(rotations, dtype=np.float64)))
        self._edges, self._matrices = edges, np.ascontiguousarray(rotations, dtype=np.float64)
        by_node = np.argsort(edges.ravel(), kind="stable")
        self._neighbours = np.searchsorted(edges.ravel()[by_node], np.arange(count + 1)), by_node // 2
        part = parts(edges, count)
        degree = np.bincount(edges.ravel(), np.repeat(self._weights, 2), minlength=count)
        by_part = np.lexsort((-degree, part))
        _, first = np.unique(part[by_part], return_index=True)
        roots = by_part[first]
        roots = roots[part[roots] >= 0]
        is_free = part >= 0
        is_free[roots] = False
        self._part, self._roots = part, roots
        self._laplacian = GroundedLaplacian(edges, is_free)
        self._unknown = int(is_free.sum())
        share = cycle_errors(edges, rotations, count, limit_deg=options.cycle_limit_deg).good_share
        self._trust = share / share.max(initial=0.5)
        start = along_best_tree(edges, rotations, share * np.sqrt(self._weights), roots, count)
        self._node_from_root = SO3.from_matrix(torch.from_numpy(start))
        self.limit = np.radians(options.widest_deg)
        self.iterations = 0
        self.converged = not self._unknown
        self._noise = 0.0
        self._robust = np.ones(len(edges))

    def rotations(self) -> Floats:
        """The rotations as they stand, (n, 3, 3)."""
        matrices = self._node_from_root.as_matrix().numpy()
        root_of = np.arange(self._count)
        of_part = np.zeros(len(self._roots), dtype=np.int64)
        of_part[self._part[self._roots]] = self._roots
        root_of[self._part >= 0] = of_part[self._part[self._part >= 0]]
        # Votes may have turned a root as well.
        aligned: Floats = matrices @ matrices[root_of].transpose(0, 2, 1)
        return aligned

    def run(self) -> Floats:
        """Minimise; angles of the residuals, (e,)."""
        residuals = self._residuals()
        for _ in range(self._options.l1_iterations):
            length = np.linalg.norm(residuals, axis=1)
            # Wrong edges may have most of the weight; what triangles say of them has a part in it here.
            moved = self._step(self._trust / np.maximum(length, _SHORTEST), residuals)
            residuals = self._residuals()
            if moved < _SHORTEST:
                break
        for _ in range(_VOTES):
            moved_nodes = self._vote()
            if self.converged and not moved_nodes:
                break
            residuals = self._settle()
        angles: Floats = np.linalg.norm(residuals, axis=1)
        self.limit = self._width(angles)
        self._robust = _ending(angles, self.limit)
        self._noise = self._spread(angles)
        return angles

    def _settle(self) -> Floats:
        """Minimise the loss that ends; the residuals, (e, 3)."""
        residuals = self._residuals()
        self.converged = not self._unknown
        for _ in range(self._options.robust_iterations):
            length = np.linalg.norm(residuals, axis=1)
            self.limit = self._width(length)
            moved = self._step(_ending(length, self.limit), residuals)
            residuals = self._residuals()
            if moved < self._options.smallest_move:
                self.converged = True
                break
        return residuals

    def _vote(self) -> int:
        """Let nodes take what most of their neighbours say; how many did.

        Least squares cannot leave a minimum in which one node agrees with a few wrong edges.
        """
        rotations = self._node_from_root.as_matrix().numpy()
        width = np.radians(self._options.widest_deg)
        weights = self._weights * self._trust
        moved = vote(self._edges, self._matrices, weights, *self._neighbours, width, rotations)
        self._node_from_root = SO3.from_matrix(torch.from_numpy(rotations))
        return moved

    def deviation(self) -> Floats:
        """Standard deviations from the Laplacian's inverse and the spread of the edges that agree, (n,)."""
        if not self._unknown:
            return np.zeros(self._count)
        inverse = self._laplacian.factor(self._weights * self._robust).inverse_diagonal()
        deviation: Floats = self._noise * np.sqrt(inverse)
        return deviation

    def _residuals(self) -> Floats:
        """Rotation vectors of b_from_root^-1 @ measured @ a_from_root, (e, 3): what b has yet to turn by against a."""
        first, second = (self._node_from_root[self._ends[:, side]] for side in (0, 1))
        vectors: Floats = (second.inverse() @ self._measured @ first).log().numpy()
        return vectors

    def _width(self, length: Floats) -> float:
        """Where residuals begin that noise does not explain: what fits the unknowns has made the others smaller."""
        narrowest, widest = np.radians(self._options.narrowest_deg), np.radians(self._options.widest_deg)
        close = length[length <= widest]
        if not len(close):
            return float(widest)
        fitted = np.sqrt(len(close) / max(len(close) - self._unknown, 1))
        return float(np.clip(_BEYOND * fitted * np.median(close) / _MEDIAN, narrowest, widest))

    def _spread(self, length: Floats) -> float:
        """Standard deviation of one component of a residual of weight one, from edges that agree.

        What the narrowest width assumes counts as one edge more: a tree has no residuals, and is not exact for that.
        """
        agree = length <= self.limit
        freedom = max(int(agree.sum()) - self._unknown, 0)
        assumed = np.radians(self._options.narrowest_deg) / _BEYOND
        total = (self._weights * length**2)[agree].sum() + 3.0 * assumed**2
        return float(np.sqrt(total / (3.0 * (freedom + 1))))

    def _step(self, robust: Floats, residuals: Floats) -> float:
        """Solve for turns of all nodes, apply them, and say how far the farthest turned."""
        weight = self._weights * np.maximum(robust, _NEGLIGIBLE * robust.max())
        step = self._laplacian.factor(weight).solve(self._laplacian.divergence(weight[:, None] * residuals))
        self._node_from_root = (self._node_from_root @ SO3.exp(torch.from_numpy(step))).normalized()
        self.iterations += 1
        return float(np.linalg.norm(step, axis=1).max())


def _ending(length: Floats, width: float) -> Floats:
    """Weights of Geman and McClure's loss."""
    weight: Floats = 1.0 / (1.0 + (length / width) ** 2) ** 2
    return weight
