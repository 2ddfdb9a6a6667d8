"""Errors of a pose graph's measurements, and their analytic derivatives.

The error of a measurement Z of frame j seen from i is read off E = Z^-1 X_i^-1 X_j: its translation, its rotation and
the logarithm of its scale. A frame moves by X (I + rho, exp(phi), e^sigma), all in its own axes and scale, so that the
derivatives do not depend on where the world's origin is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from cv3d.geometry.pose_graph.graph import Indices, Pose
from cv3d.geometry.transforms import SE3, SO3, Sim3
from cv3d.geometry.transforms.algebra import skew


class RotationError(StrEnum):
    """How a rotation becomes an error of three numbers."""

    VECTOR = "vector"
    """The rotation vector, radians; as GTSAM has it."""
    QUATERNION = "quaternion"
    """The imaginary part of the quaternion, half as much for small angles; as g2o has it."""


@dataclass(frozen=True, eq=False)
class Linearized:
    """Errors and their derivatives by the motion of the two frames."""

    error: Tensor
    """(E, d)."""
    by_first: Tensor
    """(E, d, d)."""
    by_second: Tensor
    """(E, d, d)."""


def retract(world_from_node: Pose, step: Tensor) -> Pose:
    """Poses (N,) moved by steps (N, d): translation and rotation vector in the frame's own axes, logarithm of scale."""
    rotation = world_from_node.rotation() @ SO3.exp(step[:, 3:6])
    parts = [rotation.normalized().wxyz, world_from_node.apply(step[:, :3])]
    if isinstance(world_from_node, Sim3):
        parts.append((world_from_node.scale() * torch.exp(step[:, 6]))[:, None])
    return type(world_from_node)(torch.cat(parts, dim=-1))


def errors(
    world_from_node: Pose, first: Indices, second: Indices, second_from_first: Pose, kind: RotationError
) -> Tensor:
    """Errors of measurements, (E, d).

    Args:
        world_from_node: poses, (N,).
        first: as of a graph, (E,).
        second: as of a graph, (E,).
        second_from_first: inverse of the measured motions, (E,).
        kind: of the rotation's part.
    """
    estimated = world_from_node[torch.from_numpy(first)].inverse() @ world_from_node[torch.from_numpy(second)]
    return _error(second_from_first @ estimated, kind)


def linearize(
    world_from_node: Pose, first: Indices, second: Indices, second_from_first: Pose, kind: RotationError
) -> Linearized:
    """The same with derivatives; arguments as of :func:`errors`."""
    estimated = world_from_node[torch.from_numpy(first)].inverse() @ world_from_node[torch.from_numpy(second)]
    off = second_from_first @ estimated
    error = _error(off, kind)
    measured_turn = second_from_first.rotation().as_matrix()
    estimated_turn = estimated.rotation().as_matrix()
    by_turn = _by_turn(off.rotation(), error[:, 3:6], kind)
    scaled = measured_turn if isinstance(second_from_first, SE3) else _scaled(second_from_first)
    own = off.rotation().as_matrix() if isinstance(off, SE3) else _scaled(off)

    by_first, by_second = torch.zeros(2, *error.shape, error.shape[1], dtype=error.dtype)
    by_second[:, :3, :3] = own
    by_second[:, 3:6, 3:6] = by_turn
    by_first[:, :3, :3] = -scaled
    by_first[:, :3, 3:6] = scaled @ skew(estimated.translation())
    by_first[:, 3:6, 3:6] = -by_turn @ estimated_turn.transpose(-1, -2)
    if isinstance(off, Sim3):
        by_first[:, :3, 6] = -(scaled @ estimated.translation()[..., None])[..., 0]
        by_first[:, 6, 6] = -1.0
        by_second[:, 6, 6] = 1.0
    return Linearized(error, by_first, by_second)


def _error(off: SE3 | Sim3, kind: RotationError) -> Tensor:
    rotation = off.rotation()
    turn = rotation.log() if kind is RotationError.VECTOR else rotation.wxyz[:, 1:] * _sign(rotation)
    parts = [off.translation(), turn]
    if isinstance(off, Sim3):
        parts.append(torch.log(off.scale())[:, None])
    return torch.cat(parts, dim=-1)


def _by_turn(rotation: SO3, turn: Tensor, kind: RotationError) -> Tensor:
    """Derivative of the rotation's error by a further small rotation, (E, 3, 3)."""
    if kind is RotationError.VECTOR:
        return SO3.left_jacobian_inverse(-turn)
    real = (rotation.wxyz[:, :1] * _sign(rotation))[..., None]
    return 0.5 * (real * torch.eye(3, dtype=turn.dtype) + skew(turn))


def _sign(rotation: SO3) -> Tensor:
    return torch.where(rotation.wxyz[:, :1] < 0.0, -1.0, 1.0).to(rotation.dtype)


def _scaled(similarity: Sim3) -> Tensor:
    return similarity.scale()[:, None, None] * similarity.rotation().as_matrix()
