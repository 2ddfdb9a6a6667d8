"""Two segments of a recording made one, where they met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.pose_graph import PoseGraph, PoseGraphOptions, Start, optimize_pose_graph
from cv3d.geometry.transforms import SE3, Sim3
from cv3d.odometry.places.meeting import Agreement, Meeting

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class JoinOptions:
    """When segments are joined."""

    min_keys: int = 2
    """Fewest different key frames whose meetings agree."""
    agreement: Agreement = field(default_factory=Agreement)
    shift_floor: float = 0.01
    """Standard deviation added to a meeting's translation, over the distance of what is seen."""
    turn_floor_deg: float = 0.3
    """Standard deviation added to its turn, degrees."""
    scale_floor: float = 0.02
    """Standard deviation added to the logarithm of its scale."""


@dataclass(frozen=True, eq=False)
class Joined:
    """How a segment b lies in the world of a segment a."""

    a_from_b: Floats
    """(4, 4): rigid, or a similarity [[s R, t], [0, 1]]."""
    scale: float
    """s: lengths in a over lengths in b; 1 where the scale is known."""
    agreeing: Bools
    """(m,) which meetings it rests on."""

    def moved(self, b_from_cam: Floats) -> Floats:
        """Poses of segment b, (..., 4, 4), in the world of a, rigid. Lengths in their cameras grow by `scale`."""
        a_from_cam = self.a_from_b @ b_from_cam
        a_from_cam[..., :3, :3] /= self.scale
        return a_from_cam


def join(meetings: Sequence[Meeting], is_metric: bool, options: JoinOptions | None = None) -> Joined | None:
    """The motion between the worlds of two segments that most meetings agree on.

    Every meeting says how the worlds lie to each other; the one is taken that others confirm, and then the most likely
    motion of those that agree with it.

    Args:
        meetings: of key frames of segment b with places of segment a.
        is_metric: whether lengths are known, so that the motion is rigid.
        options: what agrees, and how many have to.

    Returns:
        None where too few agree.

    Raises:
        InputError: the scale is unknown and a meeting does not tell it.
    """
    options = options or JoinOptions()
    if not is_metric and any(len(meeting.covariance) < 7 for meeting in meetings):
        raise InputError("where the scale is arbitrary, segments are joined by similarities")
    best = np.zeros(len(meetings), dtype=np.bool_)
    rank = (0, 0)
    for candidate in meetings:
        relation = candidate.place_world_from_query_world
        agreeing = np.array([meeting.agrees(relation, options.agreement) for meeting in meetings])
        chosen = [meeting for meeting, is_one in zip(meetings, agreeing, strict=True) if is_one]
        support = len({meeting.query for meeting in chosen}), sum(meeting.inliers for meeting in chosen)
        if support > rank:
            best, rank = agreeing, support
    if rank[0] < options.min_keys:
        return None
    chosen = [meeting for meeting, is_one in zip(meetings, best, strict=True) if is_one]
    a_from_b = _most_likely(chosen, is_metric, options)
    return Joined(a_from_b, float(np.cbrt(np.linalg.det(a_from_b[:3, :3]))), best)


def _most_likely(meetings: Sequence[Meeting], is_metric: bool, options: JoinOptions) -> Floats:
    """The motion (4, 4) between two worlds, from the meetings that agree."""
    size = 6 if is_metric else 7
    measured = torch.from_numpy(np.stack([meeting.place_world_from_query_world for meeting in meetings]))
    information = torch.from_numpy(np.stack([_information(meeting, size, options) for meeting in meetings]))
    first, second = np.zeros(len(meetings), np.int64), np.ones(len(meetings), np.int64)
    pose_options = PoseGraphOptions(start=Start.GUESS)
    start = torch.stack([torch.eye(4, dtype=torch.float64), measured[0]])
    if is_metric:
        rigid = PoseGraph(SE3.from_matrix(start), first, second, SE3.from_matrix(measured), information)
        return optimize_pose_graph(rigid, pose_options).world_from_node.as_matrix()[1].numpy()
    similar = PoseGraph(Sim3.from_matrix(start), first, second, Sim3.from_matrix(measured), information)
    return optimize_pose_graph(similar, pose_options).world_from_node.as_matrix()[1].numpy()


def _information(meeting: Meeting, size: int, options: JoinOptions) -> Floats:
    """Inverse covariance (size, size) of a meeting's motion between the worlds, in the world of the query."""
    scale = float(np.cbrt(np.linalg.det(meeting.place_from_query[:3, :3])))
    added = np.empty(size)
    added[:3] = (options.shift_floor * meeting.depth / scale) ** 2
    added[3:6] = math.radians(options.turn_floor_deg) ** 2
    added[6:] = options.scale_floor**2
    covariance = meeting.covariance[:size, :size] + np.diag(added)
    kind = SE3 if size == 6 else Sim3
    carried = kind.from_matrix(torch.from_numpy(meeting.world_from_query)).adjoint().numpy()
    inverse = np.linalg.inv(carried @ covariance @ carried.T)
    information: Floats = 0.5 * (inverse + inverse.T)
    return information
