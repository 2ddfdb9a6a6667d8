"""Optimised poses, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.block_cholesky import BlockCholesky
from cv3d.geometry.pose_graph.graph import Pose
from cv3d.geometry.pose_graph.system import Floats, GraphSystem


@dataclass(frozen=True, eq=False)
class PoseGraphSolution(Generic[Pose]):
    """The optimum of a pose graph."""

    world_from_node: Pose
    """Poses, (N,)."""
    cost: float
    """Half the sum of the robust squared errors."""
    chi2: Floats
    """Squared error of each measurement in standard deviations, (E,)."""
    weights: Floats
    """Weight that each measurement ended with, 1 without a robust loss, (E,)."""
    start: str
    """Where the search started."""
    start_cost: float
    """Cost there."""
    iterations: int
    """Steps tried."""
    converged: bool
    """Whether a stopping test was met before the iterations ran out."""
    system: GraphSystem
    """The normal equations at the optimum."""

    @property
    def gradient_norm(self) -> float:
        """Largest component of the cost's gradient."""
        return float(np.abs(self.system.gradient).max()) if self.system.gradient.size else 0.0

    @cached_property
    def _factor(self) -> BlockCholesky:
        return self.system.damped(0.0)

    def covariance(self, nodes: Sequence[int] | NDArray[np.int64] | None = None) -> Floats:
        """Covariances of frames' poses in their own axes: translation, rotation vector, logarithm of scale.

        They follow from the measurements' information as it was given, relative to the fixed frames.

        Args:
            nodes: the frames, (n,); None: all.

        Returns:
            (n, d, d); 0 for fixed frames.

        Raises:
            EstimationError: the measurements leave a frame open.
        """
        everywhere = self.system.pattern.spread(self._factor.inverse_diagonal())
        return everywhere if nodes is None else everywhere[np.asarray(nodes, dtype=np.int64)]

    def joint_covariance(self, nodes: Sequence[int] | NDArray[np.int64]) -> Floats:
        """Covariance of several frames' poses together, with what they have in common.

        Args:
            nodes: the frames, (n,), few.

        Returns:
            (n d, n d), frame by frame.

        Raises:
            EstimationError: the measurements leave a frame open.
        """
        pattern = self.system.pattern
        wanted = np.asarray(nodes, dtype=np.int64)
        free, size = len(pattern.free), self.system.diagonal.shape[1]
        right = np.zeros((free, size, len(wanted) * size))
        for column, place in enumerate(pattern.place[wanted].tolist()):
            if place >= 0:
                right[place, :, column * size : (column + 1) * size] = np.eye(size)
        solved = pattern.spread(self._factor.solve(right))
        joint: Floats = solved[wanted].reshape(len(wanted) * size, -1)
        return 0.5 * (joint + joint.T)
