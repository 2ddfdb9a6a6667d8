"""KITTI's drift: the mean error of motions over 100 to 800 m, in per cent and degrees per 100 m."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv3d.evaluation.trajectory.pose_errors import relative_motions, rotation_angles
from cv3d.geometry.trajectory import Trajectory

LENGTHS_M = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0)
_EVERY = 10
"""A segment starts at every tenth frame: a second of KITTI."""


@dataclass(frozen=True)
class DriftOver:
    """The drift over segments of one length."""

    length_m: float
    segments: int
    """How many there are."""
    t_rel_percent: float
    """Mean translation error over the length."""
    r_rel_deg_per_100m: float
    """Mean rotation error over the length."""


@dataclass(frozen=True)
class Drift:
    """The drift over all segments."""

    segments: int
    t_rel_percent: float
    r_rel_deg_per_100m: float
    lengths: tuple[DriftOver, ...]
    """The same for each length of which there is a segment."""


def kitti_drift(estimate: Trajectory, reference: Trajectory, lengths_m: tuple[float, ...] = LENGTHS_M) -> Drift | None:
    """The odometry benchmark's figures (Geiger et al., "Are we ready for autonomous driving?", CVPR 2012, 4.3).

    Segments start at every tenth pose and end at the first pose for which the reference has gone further than their
    length. Each counts alike, whatever its length.

    Args:
        estimate: n poses, in the scale of the reference.
        reference: the n poses that belong to them.
        lengths_m: lengths of segments, metres.

    Returns:
        The drift; None where the reference is shorter than every length.
    """
    travelled = reference.travelled_m
    starts = np.arange(0, len(reference), _EVERY)
    found: list[DriftOver] = []
    all_t, all_r = [], []
    for length in lengths_m:
        ends = np.searchsorted(travelled, travelled[starts] + length, side="right")
        inside = ends < len(reference)
        first, last = starts[inside], ends[inside]
        if not len(first):
            continue
        true = relative_motions(reference.world_from_cam[first], reference.world_from_cam[last])
        own = relative_motions(estimate.world_from_cam[first], estimate.world_from_cam[last])
        error = relative_motions(own, true)
        t_rel = 100.0 * np.linalg.norm(error[:, :3, 3], axis=1) / length
        r_rel = 100.0 * np.rad2deg(rotation_angles(error[:, :3, :3])) / length
        found.append(DriftOver(length, len(first), float(t_rel.mean()), float(r_rel.mean())))
        all_t.append(t_rel)
        all_r.append(r_rel)
    if not found:
        return None
    t_all, r_all = np.concatenate(all_t), np.concatenate(all_r)
    return Drift(len(t_all), float(t_all.mean()), float(r_all.mean()), tuple(found))
