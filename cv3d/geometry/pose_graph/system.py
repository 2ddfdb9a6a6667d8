"""The normal equations of a pose graph, over the frames that are free to move."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from cv3d.geometry.block_cholesky import BlockCholesky, BlockPattern
from cv3d.geometry.pose_graph.graph import Indices, Pose, PoseGraph
from cv3d.geometry.pose_graph.residuals import RotationError, errors, linearize
from cv3d.geometry.pose_graph.switched import RobustLoss

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GraphPattern:
    """Which free frames meet in a measurement."""

    free: Indices
    """The frames that may move, (F,)."""
    place: Indices
    """Where each frame is among them, (N,); -1 for fixed ones."""
    both: Indices
    """Measurements between two free frames, (M,)."""
    from_first: csr_matrix
    """Sums what belongs to the measurements' first frames, (F, E)."""
    from_second: csr_matrix
    """Sums what belongs to their second frames, (F, E)."""
    blocks: BlockPattern

    @classmethod
    def of(cls, graph: PoseGraph[Pose], size: int) -> GraphPattern:
        """The pattern of a graph with `size` unknowns a frame."""
        free = np.flatnonzero(~graph.fixed)
        place = np.full(len(graph), -1, dtype=np.int64)
        place[free] = np.arange(len(free))
        both = np.flatnonzero((place[graph.first] >= 0) & (place[graph.second] >= 0))
        rows, cols = place[graph.first[both]], place[graph.second[both]]
        from_first, from_second = (_summing(place[ends], len(free)) for ends in (graph.first, graph.second))
        return cls(free, place, both, from_first, from_second, BlockPattern(len(free), size, rows, cols))

    def with_size(self, size: int) -> GraphPattern:
        """The same with another number of unknowns a frame."""
        return replace(self, blocks=self.blocks.with_size(size))

    def gathered(self, of_first: Floats, of_second: Floats) -> Floats:
        """Sums over the free frames, (F, ...), of values (E, ...) of the measurements' first and second frames."""
        flat = len(of_first), math.prod(of_first.shape[1:])
        total = self.from_first @ of_first.reshape(flat) + self.from_second @ of_second.reshape(flat)
        return np.asarray(total).reshape(len(self.free), *of_first.shape[1:])

    def spread(self, values: Floats) -> Floats:
        """Values of the free frames (F, ...) for all frames (N, ...), 0 for fixed ones."""
        everywhere = np.zeros((len(self.place), *values.shape[1:]))
        everywhere[self.free] = values
        return everywhere


@dataclass(frozen=True, eq=False)
class GraphSystem:
    """Gauss-Newton's equations H x = -g of the cost 0.5 sum rho(e^T Omega e)."""

    pattern: GraphPattern
    cost: float
    diagonal: Floats
    """(F, d, d)."""
    blocks: Floats
    """(M, d, d)."""
    gradient: Floats
    """(F, d)."""

    def damped(self, damping: float) -> BlockCholesky:
        """The factor of H + damping diag(H).

        Raises:
            EstimationError: it is not positive definite.
        """
        size = self.diagonal.shape[1]
        each = np.arange(size)
        diagonal = self.diagonal.copy()
        diagonal[:, each, each] *= 1.0 + damping
        return self.pattern.blocks.factor(diagonal, self.blocks)

    def scaling(self) -> Floats:
        """The diagonal of H, (F, d)."""
        return np.diagonal(self.diagonal, axis1=1, axis2=2)


@dataclass(frozen=True, eq=False)
class GraphProblem(Generic[Pose]):
    """The cost of a graph's poses."""

    first: Indices
    second: Indices
    second_from_first: Pose
    """Inverse of the measured motions, (E,), of the graph's kind."""
    information: Tensor
    """(E, d, d)."""
    is_loop: Tensor
    """(E,)."""
    pattern: GraphPattern
    kind: RotationError

    @classmethod
    def of(cls, graph: PoseGraph[Pose], kind: RotationError, pattern: GraphPattern) -> GraphProblem[Pose]:
        """The problem of a graph."""
        return cls(
            graph.first,
            graph.second,
            graph.first_from_second.inverse(),
            graph.information,
            torch.from_numpy(graph.is_loop),
            pattern,
            kind,
        )

    def squared_errors(self, world_from_node: Pose) -> Tensor:
        """Squared errors in standard deviations (chi squared) of each measurement, (E,)."""
        error = errors(world_from_node, self.first, self.second, self.second_from_first, self.kind)
        return torch.einsum("ei,eij,ej->e", error, self.information, error)

    def robust(self, squared: Tensor, loss: RobustLoss, loop_loss: RobustLoss) -> tuple[Tensor, Tensor]:
        """Cost and weight of each measurement, (E,), by its kind."""
        cost, weight = loss.evaluate(squared)
        loop_cost, loop_weight = loop_loss.evaluate(squared)
        return torch.where(self.is_loop, loop_cost, cost), torch.where(self.is_loop, loop_weight, weight)

    def cost(self, world_from_node: Pose, loss: RobustLoss, loop_loss: RobustLoss) -> float:
        """Half the sum of the robust squared errors."""
        cost, _ = self.robust(self.squared_errors(world_from_node), loss, loop_loss)
        return 0.5 * float(cost.sum())

    def system(self, world_from_node: Pose, loss: RobustLoss, loop_loss: RobustLoss) -> GraphSystem:
        """The normal equations at poses (N,)."""
        at = linearize(world_from_node, self.first, self.second, self.second_from_first, self.kind)
        informed = torch.einsum("eij,ej->ei", self.information, at.error)
        squared = (at.error * informed).sum(dim=-1)
        cost, weight = self.robust(squared, loss, loop_loss)
        weighted = weight[:, None, None] * self.information
        by_first, by_second = weighted @ at.by_first, weighted @ at.by_second
        right = (weight[:, None] * informed)[..., None]
        pattern = self.pattern
        first, second = at.by_first.transpose(-1, -2), at.by_second.transpose(-1, -2)
        gradient = pattern.gathered((first @ right)[..., 0].numpy(), (second @ right)[..., 0].numpy())
        diagonal = pattern.gathered((first @ by_first).numpy(), (second @ by_second).numpy())
        both = torch.from_numpy(pattern.both)
        blocks = (first[both] @ by_second[both]).numpy()
        return GraphSystem(pattern, 0.5 * float(cost.sum()), diagonal, blocks, gradient)


def _summing(place: Indices, count: int) -> csr_matrix:
    known = np.flatnonzero(place >= 0)
    return csr_matrix((np.ones(len(known)), (place[known], known)), shape=(count, len(place)))
