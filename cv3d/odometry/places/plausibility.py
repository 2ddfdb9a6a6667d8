"""How far loops are from what odometry expects, in standard deviations of the drift in between.

A grossly wrong loop has to go before all are weighed together: while a robust loss is still wide, it bends the whole
path, and takes the right ones with it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.pose_graph import PoseGraph, PoseGraphOptions, RotationError, Start, optimize_pose_graph
from cv3d.geometry.pose_graph.graph import Indices, Pose
from cv3d.geometry.pose_graph.residuals import linearize

Floats = NDArray[np.float64]


def innovations(
    odometry: PoseGraph[Pose], first: Indices, second: Indices, first_from_second: Pose, covariances: Floats
) -> Floats:
    """Squared errors of loops at the poses of odometry, over the spread to expect of them, (l,).

    Args:
        odometry: the graph without loops; its poses agree with its measurements.
        first: frames that the loops are seen from, (l,).
        second: frames that they are of, (l,).
        first_from_second: what the loops say, (l,).
        covariances: of the loops, (l, d, d).

    Raises:
        EstimationError: a frame hangs together with no fixed one.
    """
    solved = optimize_pose_graph(odometry, PoseGraphOptions(start=Start.GUESS, max_iterations=1))
    at = linearize(odometry.world_from_node, first, second, first_from_second.inverse(), RotationError.VECTOR)
    ends, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    size, count = odometry.tangent_dim, len(first)
    joint = solved.joint_covariance(ends).reshape(len(ends), size, len(ends), size)
    both = np.stack([place[:count], place[count:]], axis=1)
    blocks = joint[both[:, :, None], :, both[:, None, :], :]
    of_ends = blocks.transpose(0, 1, 3, 2, 4).reshape(count, 2 * size, 2 * size)
    jacobian = torch.cat([at.by_first, at.by_second], dim=-1).numpy()
    spread = jacobian @ of_ends @ np.swapaxes(jacobian, 1, 2) + covariances
    error = at.error.numpy()
    squared: Floats = np.einsum("ei,ei->e", error, np.linalg.solve(spread, error[:, :, None])[..., 0])
    return squared
