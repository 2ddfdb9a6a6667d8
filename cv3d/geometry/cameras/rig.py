"""Several cameras on one rigid body, and cameras that merely share a file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras.camera import Camera

_ORTHOGONAL = 1e-6


@dataclass(frozen=True, eq=False)
class RigCamera:
    """One camera of a rig.

    Raises:
        InputError: the pose is not a rigid transform.
    """

    name: str
    """How files and results call it, e.g. "cam0" or "left"."""
    camera: Camera
    cam_from_cam0: NDArray[np.float64] | None = field(default=None)
    """Pose relative to the rig's first camera, (4, 4); None where it is not known."""

    def __post_init__(self) -> None:
        pose = self.cam_from_cam0
        if pose is None:
            return
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise InputError(f"camera {self.name}: its pose is not a finite 4x4 matrix")
        rotation = pose[:3, :3]
        skew = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
        if skew > _ORTHOGONAL or np.linalg.det(rotation) < 0.0 or not np.array_equal(pose[3], (0.0, 0.0, 0.0, 1.0)):
            raise InputError(f"camera {self.name}: its pose is not a rotation with a translation")


@dataclass(frozen=True, eq=False)
class Rig:
    """Cameras that belong together, the first of them being the rig's frame.

    Raises:
        InputError: there is no camera, or two have one name.
    """

    cameras: tuple[RigCamera, ...]
    is_metric: bool = True
    """Whether translations are in metres; else in squares of the board, whose size was not known."""

    def __post_init__(self) -> None:
        if not self.cameras:
            raise InputError("a rig has at least one camera")
        names = [camera.name for camera in self.cameras]
        if len(set(names)) < len(names):
            raise InputError(f"two cameras of the rig have the same name: {', '.join(names)}")

    @property
    def is_posed(self) -> bool:
        """Whether every camera's pose is known."""
        return all(camera.cam_from_cam0 is not None for camera in self.cameras)

    def cam_from_cam(self, target: int, source: int) -> NDArray[np.float64]:
        """The transform from camera `source`'s frame to camera `target`'s, (4, 4).

        Raises:
            InputError: the pose of one of them is not known.
        """
        to, of = self._pose(target), self._pose(source)
        result: NDArray[np.float64] = to @ inverse_rigid(of)
        return result

    def baseline(self, first: int, second: int) -> float:
        """Distance between the centres of two cameras, in the rig's unit.

        Raises:
            InputError: the pose of one of them is not known.
        """
        return math.sqrt(float((self.cam_from_cam(second, first)[:3, 3] ** 2).sum()))

    def _pose(self, index: int) -> NDArray[np.float64]:
        pose = self.cameras[index].cam_from_cam0
        if pose is None:
            raise InputError(f"the pose of camera {self.cameras[index].name} is not known")
        return pose


def inverse_rigid(b_from_a: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse a_from_b of rigid transforms, (..., 4, 4)."""
    a_from_b = np.zeros_like(b_from_a)
    turned = np.swapaxes(b_from_a[..., :3, :3], -1, -2)
    a_from_b[..., :3, :3] = turned
    a_from_b[..., :3, 3] = -(turned @ b_from_a[..., :3, 3, None])[..., 0]
    a_from_b[..., 3, 3] = 1.0
    return a_from_b
