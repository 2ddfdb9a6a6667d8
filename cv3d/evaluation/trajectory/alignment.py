"""Bringing an estimate into the frame, and the scale, of the reference before they are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv3d.errors import EstimationError
from cv3d.evaluation.trajectory.choices import Alignment
from cv3d.evaluation.trajectory.pose_errors import relative_motions
from cv3d.geometry.absolute_orientation import Orientation, absolute_orientation
from cv3d.geometry.trajectory import Floats, Trajectory

LEAST_POSES = 3


@dataclass(frozen=True, eq=False)
class Aligned:
    """An estimate in the frame of the reference."""

    estimate: Trajectory
    """The aligned estimate."""
    kind: Alignment
    """Which freedom the alignment had."""
    reference_from_estimate: Floats
    """The similarity that was applied, (4, 4)."""
    scale: float
    """Lengths of the reference over lengths of the estimate; 1 where it was not free."""


def align(estimate: Trajectory, reference: Trajectory, kind: Alignment, n_to_align: int | None = None) -> Aligned:
    """Bring an estimate as close to the reference as an alignment allows.

    Args:
        estimate: n poses.
        reference: the n poses that belong to them.
        kind: which freedom it has.
        n_to_align: so many of the first poses decide; None: all.

    Raises:
        EstimationError: the positions do not determine it.
    """
    matrix, scale = np.eye(4), 1.0
    if kind is Alignment.ORIGIN:
        matrix = reference.world_from_cam[0] @ relative_motions(estimate.world_from_cam[:1], np.eye(4)[None])[0]
    elif kind is not Alignment.NONE:
        similarity = _similarity(estimate, reference, kind, n_to_align)
        scale = float(similarity.scale)
        matrix = np.diag([scale, scale, scale, 1.0]) if kind is Alignment.SCALE else similarity.as_matrix()
    return Aligned(estimate.transformed(matrix), kind, matrix, scale)


def _similarity(estimate: Trajectory, reference: Trajectory, kind: Alignment, n_to_align: int | None) -> Orientation:
    count = len(estimate) if n_to_align is None else min(n_to_align, len(estimate))
    if count < LEAST_POSES:
        raise EstimationError(f"alignment '{kind}' needs {LEAST_POSES} matched poses, and there are {count}")
    own, true = (np.ascontiguousarray(one.positions[:count]) for one in (estimate, reference))
    for name, positions in (("estimate", own), ("reference", true)):
        if not np.ptp(positions, axis=0).any():
            raise EstimationError(
                f"the {name} does not move: its {count} poses are all at one place, which determines no alignment; "
                "align by 'origin' or 'none'"
            )
    found = absolute_orientation(own, true, np.ones(count), with_scale=kind is not Alignment.SE3)
    if found.is_open:
        raise EstimationError(
            f"alignment '{kind}' is not determined by the {count} positions, which lie on a line or do not correspond; "
            "align by 'origin' or 'none'"
        )
    return found
