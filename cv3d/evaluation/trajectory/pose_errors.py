"""Absolute pose errors, and the algebra of poses as matrices that all errors share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv3d.geometry.trajectory import Floats, Trajectory


@dataclass(frozen=True, eq=False)
class AbsoluteErrors:
    """How far each pose is off."""

    translation_m: Floats
    """(n,), metres."""
    rotation_deg: Floats
    """(n,), degrees."""


def absolute_errors(estimate: Trajectory, reference: Trajectory) -> AbsoluteErrors:
    """Absolute pose errors (Sturm et al. 2012, eq. 2), the rotation's beside the translation's.

    Args:
        estimate: n poses, aligned.
        reference: the n poses that belong to them.
    """
    apart = np.linalg.norm(estimate.positions - reference.positions, axis=1)
    turned = rotation_angles(reference.rotations.transpose(0, 2, 1) @ estimate.rotations)
    return AbsoluteErrors(apart, np.rad2deg(turned))


def relative_motions(from_: Floats, to: Floats) -> Floats:
    """`from_^-1 @ to` of rigid matrices, (n, 4, 4)."""
    inverse = from_[:, :3, :3].transpose(0, 2, 1)
    motions = np.tile(np.eye(4), (len(from_), 1, 1))
    motions[:, :3, :3] = inverse @ to[:, :3, :3]
    motions[:, :3, 3] = (inverse @ (to[:, :3, 3] - from_[:, :3, 3])[:, :, None])[:, :, 0]
    return motions


def rotation_angles(rotations: Floats) -> Floats:
    """Angles (n,), radians, of rotations (n, 3, 3); exact near 0 and pi alike, where the trace alone is not."""
    axial = np.stack(
        [
            rotations[:, 2, 1] - rotations[:, 1, 2],
            rotations[:, 0, 2] - rotations[:, 2, 0],
            rotations[:, 1, 0] - rotations[:, 0, 1],
        ],
        axis=1,
    )
    trace = rotations[:, 0, 0] + rotations[:, 1, 1] + rotations[:, 2, 2]
    angles: Floats = np.arctan2(np.linalg.norm(axial, axis=1), trace - 1.0)
    return angles
