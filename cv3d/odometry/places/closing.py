"""Key-frame poses corrected by the loops that were found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.pose_graph import PoseGraph, PoseGraphOptions, Start, SwitchedLoss, optimize_pose_graph
from cv3d.geometry.pose_graph.graph import Pose
from cv3d.geometry.robust_fit import gate_sigmas
from cv3d.geometry.transforms import SE3, Sim3
from cv3d.odometry.places.plausibility import innovations

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]

_TINY = 1e-9
"""Variance added to what is measured, over the squared length of a step, so that no information is infinite."""
_ENOUGH = 1e-6
"""Relative decrease of the cost at which the search ends."""


@dataclass(frozen=True, eq=False)
class LoopConstraint:
    """Two key frames that are known to show one place."""

    first: int
    """Index of the place's key frame."""
    second: int
    """Index of the key frame that came back to it."""
    first_from_second: Floats
    """(4, 4): a rigid motion, or a similarity [[s R, t], [0, 1]] whose s is lengths in the first's map over lengths in
    the second's; translation in the first's unit. The inverse of `query_from_place`."""
    covariance: Floats
    """(6, 6) or (7, 7): translation, rotation vector in radians and logarithm of scale, in the second's camera, as
    :class:`Located` and :class:`Similarity` have them."""


@dataclass(frozen=True)
class ClosingOptions:
    """How far odometry is believed, and loops."""

    drift: float = 0.01
    """Standard deviation of a step's length and direction, over the step's length."""
    drift_floor: float = 2e-3
    """Standard deviation of a step, over the median step's length, however short it is."""
    turn_deviation_deg: float = 0.2
    """Standard deviation of a step's turn, degrees."""
    scale_deviation: float = 0.01
    """Standard deviation of the logarithm of the change of scale in a step, where scale drifts."""
    drift_slack: float = 4.0
    """How many times further than expected odometry may have drifted; a loop that asks for more is wrong."""
    loop_floor: float = 0.02
    """Standard deviation added to a loop's translation, over its length or the median step's, whichever is more: the
    points of its place have errors in common, which its own covariance does not know."""
    loop_turn_floor_deg: float = 0.2
    """Standard deviation added to a loop's turn, degrees."""
    loop_scale_floor: float = 0.02
    """Standard deviation added to the logarithm of a loop's scale."""
    max_iterations: int = 50

    def __post_init__(self) -> None:
        if min(self.drift, self.turn_deviation_deg, self.scale_deviation) <= 0.0 or self.max_iterations < 1:
            raise ValueError("drift, deviations and max_iterations must be positive")


@dataclass(frozen=True, eq=False)
class ClosedLoops:
    """Corrected poses."""

    world_from_cam: Floats
    """(n, 4, 4) rigid."""
    scales: Floats
    """(n,) by which lengths in each key frame's camera have grown: its point x is now at
    world_from_cam (scales x). 1 where the scale is known."""
    accepted: Bools
    """(loops,) whether the loop agrees with all else; one that does not has no influence to speak of."""
    chi2: Floats
    """(loops,) squared error of each loop at the optimum, in standard deviations; of one that asks for more drift
    than there can be, in those of the drift before it was corrected."""
    iterations: int
    converged: bool
    """Whether a stopping test was met before the iterations ran out."""


def close_loops(
    world_from_cam: Floats,
    first: Indices,
    second: Indices,
    loops: Sequence[LoopConstraint],
    is_metric: bool,
    hold: int = -1,
    covariances: Floats | None = None,
    options: ClosingOptions | None = None,
) -> ClosedLoops:
    """Correct the drift of key frames by loops.

    A pose graph: motions between key frames that follow each other or see the same points are taken from the poses as
    they are, with the errors that odometry collects; loops are switched off where they contradict the rest. Where the
    scale is arbitrary it may drift, and the graph is one of similarities (Strasdat et al., "Scale drift-aware large
    scale monocular SLAM", RSS 2010).

    Args:
        world_from_cam: poses as odometry left them, (n, 4, 4).
        first: key frames of motions that odometry vouches for, indices (e,).
        second: the other key frames of those motions, indices (e,).
        loops: what was found.
        is_metric: whether lengths are known; else scale drifts.
        hold: the key frame that stays where it is, index; -1: the last, whose surroundings the tracking needs.
        covariances: of the motions, (e, 6, 6) or (e, 7, 7): translation, rotation vector in radians, logarithm of
            scale, in the second frame's camera. None: by the drift that the options say.
        options: how far odometry and loops are believed.

    Returns:
        Corrected poses; those given where there are no loops.

    Raises:
        InputError: shapes or indices that do not match.
        EstimationError: some key frames hang together with no other.
    """
    options = options or ClosingOptions()
    poses = np.asarray(world_from_cam, dtype=np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or first.shape != second.shape or first.ndim != 1:
        raise InputError("closing loops takes poses (n, 4, 4) and two arrays of indices (e,)")
    count, size = len(poses), 6 if is_metric else 7
    if not -count <= hold < count:
        raise InputError(f"key frame {hold} cannot be held: there are {count}")
    if not loops:
        nothing = np.zeros(0)
        return ClosedLoops(poses.copy(), np.ones(count), nothing.astype(bool), nothing, 0, True)
    motions = np.linalg.inv(poses[first]) @ poses[second]
    lengths = np.linalg.norm(motions[:, :3, 3], axis=1)
    unit = _unit(lengths)
    if covariances is None:
        covariances = _drift(lengths, unit, size, options)
    if covariances.shape != (len(first), size, size):
        raise InputError(f"covariances of {len(first)} motions are (e, {size}, {size}), not {covariances.shape}")
    vouched = _Motions(first.astype(np.int64), second.astype(np.int64), motions, covariances)
    claimed = _Motions(
        np.array([loop.first for loop in loops], dtype=np.int64),
        np.array([loop.second for loop in loops], dtype=np.int64),
        np.stack([np.asarray(loop.first_from_second, dtype=np.float64) for loop in loops]),
        np.stack([_of_loop(loop, unit, size, options) for loop in loops]),
    )
    fixed: Bools = np.arange(count) == hold % count
    if is_metric:
        return _closed(SE3, poses, vouched, claimed, fixed, options)
    return _closed(Sim3, poses, vouched, claimed, fixed, options)


@dataclass(frozen=True, eq=False)
class _Motions:
    """Motions between key frames."""

    first: Indices
    """(e,)."""
    second: Indices
    """(e,)."""
    first_from_second: Floats
    """(e, 4, 4)."""
    covariances: Floats
    """(e, d, d)."""

    def __getitem__(self, chosen: Bools) -> _Motions:
        return _Motions(
            self.first[chosen], self.second[chosen], self.first_from_second[chosen], self.covariances[chosen]
        )

    def with_more(self, other: _Motions) -> _Motions:
        """These and then the others."""
        return _Motions(
            np.concatenate([self.first, other.first]),
            np.concatenate([self.second, other.second]),
            np.concatenate([self.first_from_second, other.first_from_second]),
            np.concatenate([self.covariances, other.covariances]),
        )

    def graph(self, kind: type[Pose], world_from_cam: Floats, fixed: Bools, loops: int) -> PoseGraph[Pose]:
        """The graph of them, of which the last `loops` may be wrong."""
        information = np.linalg.inv(self.covariances)
        return PoseGraph(
            kind.from_matrix(torch.from_numpy(world_from_cam)),
            self.first,
            self.second,
            kind.from_matrix(torch.from_numpy(self.first_from_second)),
            torch.from_numpy(0.5 * (information + np.swapaxes(information, 1, 2))),
            np.arange(len(self.first)) >= len(self.first) - loops,
            fixed,
        )


def _closed(
    kind: type[Pose], poses: Floats, vouched: _Motions, claimed: _Motions, fixed: Bools, options: ClosingOptions
) -> ClosedLoops:
    gate = gate_sigmas(claimed.covariances.shape[1])
    motions = kind.from_matrix(torch.from_numpy(claimed.first_from_second))
    chi2 = innovations(
        vouched.graph(kind, poses, fixed, 0), claimed.first, claimed.second, motions, claimed.covariances
    )
    plausible: Bools = np.asarray(chi2 <= (options.drift_slack * gate) ** 2)
    if not plausible.any():
        return ClosedLoops(poses.copy(), np.ones(len(poses)), plausible, chi2, 0, True)
    kept = claimed[plausible]
    solved = optimize_pose_graph(
        vouched.with_more(kept).graph(kind, poses, fixed, len(kept.first)),
        PoseGraphOptions(
            loop_loss=SwitchedLoss(gate),
            start=Start.GUESS,
            max_iterations=options.max_iterations,
            relative_decrease=_ENOUGH,
        ),
    )
    corrected = solved.world_from_node.as_matrix().numpy()
    scales: Floats = np.cbrt(np.linalg.det(corrected[:, :3, :3]))
    corrected[:, :3, :3] /= scales[:, None, None]
    chi2[plausible] = solved.chi2[len(vouched.first) :]
    accepted: Bools = plausible & (chi2 <= gate**2)
    scales = np.ones(len(poses)) if kind is SE3 else scales
    return ClosedLoops(corrected, scales, accepted, chi2, solved.iterations, solved.converged)


def _unit(lengths: Floats) -> float:
    """The median length of the steps that have one; 1 where the camera never moved."""
    moving = lengths[lengths > 0.0]
    return float(np.median(moving)) if len(moving) else 1.0


def _drift(lengths: Floats, unit: float, size: int, options: ClosingOptions) -> Floats:
    """Covariances (e, size, size) of steps of given lengths (e,)."""
    variances = np.empty((len(lengths), size))
    shift = options.drift**2 * lengths**2 + (options.drift_floor**2 + _TINY) * unit**2
    variances[:, :3] = shift[:, None]
    variances[:, 3:6] = math.radians(options.turn_deviation_deg) ** 2
    variances[:, 6:] = options.scale_deviation**2
    return variances[:, :, None] * np.eye(size)


def _of_loop(loop: LoopConstraint, unit: float, size: int, options: ClosingOptions) -> Floats:
    """Covariance (size, size) of a loop with what its own does not know.

    Raises:
        InputError: it has another shape.
    """
    given = np.asarray(loop.covariance, dtype=np.float64)
    if given.shape not in ((6, 6), (7, 7)) or np.shape(loop.first_from_second) != (4, 4):
        raise InputError("a loop is a (4, 4) motion with a covariance (6, 6) or (7, 7)")
    if len(given) < size:
        raise InputError("where scale drifts, loops are similarities with covariances (7, 7)")
    length = max(float(np.linalg.norm(loop.first_from_second[:3, 3])), unit)
    added = np.empty(size)
    added[:3] = (options.loop_floor**2 + _TINY) * length**2
    added[3:6] = math.radians(options.loop_turn_floor_deg) ** 2 + _TINY
    added[6:] = options.loop_scale_floor**2 + _TINY
    covariance: Floats = given[:size, :size] + np.diag(added)
    return covariance
