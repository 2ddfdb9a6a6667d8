"""How far a relative pose is from the true one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PoseError:
    """Angles between two relative poses."""

    rotation_deg: float
    """Of the rotation that carries one into the other, 0 to 180."""
    direction_deg: float
    """Between the lines along which the translations point, 0 to 90; NaN where the true translation is zero."""

    @property
    def max_deg(self) -> float:
        """The larger angle: the error of the pose-accuracy benchmarks."""
        return self.rotation_deg if math.isnan(self.direction_deg) else max(self.rotation_deg, self.direction_deg)


def relative_pose_error(estimated: Floats, true: Floats) -> PoseError:
    """Compare two relative poses whose translations are known up to scale.

    The sign of the translation is not looked at, as an essential matrix leaves it open: so do SuperGlue's evaluation
    (Sarlin et al. 2020) and those that follow it.

    Args:
        estimated: cam1_from_cam0, (4, 4); its translation of any length but zero.
        true: cam1_from_cam0, (4, 4).
    """
    rotation = rotation_angle(estimated[:3, :3].T @ true[:3, :3])
    if not np.any(true[:3, 3]):
        return PoseError(math.degrees(rotation), math.nan)
    direction = angle_between(estimated[:3, 3], true[:3, 3])
    return PoseError(math.degrees(rotation), math.degrees(min(direction, math.pi - direction)))


def rotation_angle(rotation: Floats) -> float:
    """Angle, radians, of a rotation matrix (3, 3); exact for small angles and for half a turn alike."""
    # Twice the sine stands in the skew part, one plus twice the cosine in the trace.
    skew = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return math.atan2(float(np.linalg.norm(skew)), float(np.trace(rotation)) - 1.0)


def angle_between(first: Floats, second: Floats) -> float:
    """Angle, radians, between two vectors (3,) of any length but zero."""
    return math.atan2(float(np.linalg.norm(np.cross(first, second))), float(first @ second))
