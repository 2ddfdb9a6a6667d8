"""Where a camera of a rig sits relative to the first one, in the figures that a person compares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.result import CameraInRig
from cv3d.geometry.cameras.rig import inverse_rigid


@dataclass(frozen=True)
class Place:
    """A camera's place in the frame of the rig's first camera."""

    centre: NDArray[np.float64]
    """Its projection centre, (3,), metres (squares where the board's size is unknown)."""
    distance: float
    """From the first camera's centre, in the same unit."""
    distance_std: float
    """Its standard deviation."""
    angle_deg: float
    """Angle between its optical axis and the first camera's, degrees."""
    rotation_std_deg: float
    """Standard deviation of its rotation about the worst axis, degrees."""


def place_of(item: CameraInRig) -> Place:
    """Where a camera sits.

    The distance from the first camera is the length of the pose's translation, which a small rotation leaves as it is;
    so its variance is the translation's along its own direction.
    """
    translation = item.cam_from_cam0[:3, 3]
    distance = float(np.linalg.norm(translation))
    rotation, shift = item.pose_covariance[:3, :3], item.pose_covariance[3:, 3:]
    if not np.isfinite(item.pose_covariance).all():
        distance_std = worst = math.nan
    else:
        # Where the cameras coincide there is no direction: the worst one counts.
        along = translation / distance if distance > 0.0 else np.linalg.eigh(shift)[1][:, -1]
        distance_std = math.sqrt(max(float(along @ shift @ along), 0.0))
        worst = math.sqrt(max(float(np.linalg.eigvalsh(rotation)[-1]), 0.0))
    angle = math.acos(float(np.clip(item.cam_from_cam0[2, 2], -1.0, 1.0)))
    centre = inverse_rigid(item.cam_from_cam0)[:3, 3]
    return Place(centre, distance, distance_std, math.degrees(angle), math.degrees(worst))
