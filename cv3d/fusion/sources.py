"""Frames of a recording as fusion takes them: depth with registered colour, its camera, and where it was taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError, PictureError
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.registering import registered_color
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences import SequenceFrame
from cv3d.odometry.results import Sensor
from cv3d.odometry.sources import Sequence

Floats = NDArray[np.float64]

_SAME_S = 0.002
"""Stamps that near are of one moment."""
_GAP_S = 0.05
"""Poses farther apart are not interpolated between: where a frame's own is missing, it was not known."""
_RATIO = 0.01


@dataclass(frozen=True, eq=False)
class PosedDepth:
    """One frame, ready to be fused."""

    index: int
    """The source's index of the frame."""
    time: float
    """The source's stamp, seconds."""
    name: str
    frame: DepthFrame


@dataclass(frozen=True)
class Dropped:
    """A frame that was not fused."""

    index: int
    name: str
    reason: str
    """Why, a few words."""

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {"index": self.index, "name": self.name, "reason": self.reason}


def check_depth(sequence: Sequence) -> None:
    """See that a recording has depth and a camera.

    Raises:
        InputError: it has none.
    """
    if Sensor.RGBD not in sequence.sensors or sequence.sensor is not Sensor.RGBD:
        raise InputError(f"{sequence.name}: has no depth pictures; name their folder with --depth")
    if sequence.camera is None and sequence.depth_camera is None:
        raise InputError(f"{sequence.name}: nothing says its camera; name a calibration with --camera")


def own_trajectory(sequence: Sequence) -> Trajectory:
    """The path that the recording brings.

    Raises:
        InputError: it brings none.
    """
    truth = sequence.truth
    if truth is None or not len(truth):
        raise InputError(f"{sequence.name}: brings no poses; name them with --trajectory")
    return truth


def posed_depth(
    sequence: Sequence, trajectory: Trajectory, *, with_color: bool = True, every: int = 1
) -> Iterator[PosedDepth | Dropped]:
    """The frames that have depth and a pose; of the others, why they are left out.

    Args:
        sequence: read as RGB-D.
        trajectory: poses of the (colour) camera by the frames' stamps, or by their numbers.
        with_color: whether colours are decoded.
        every: takes every n-th frame.

    Raises:
        InputError: depth and colour do not fit together, or nothing says the camera.
    """
    check_depth(sequence)
    cameras: _Cameras | None = None
    with sequence.frames() as frames:
        for item in frames:
            if item.index % every:
                continue
            if item.depth is None:
                yield Dropped(item.index, item.name, "no depth picture")
                continue
            world_from_color = pose_at(trajectory, item.time if trajectory.is_timed else float(item.index))
            if world_from_color is None:
                yield Dropped(item.index, item.name, "no pose")
                continue
            cameras = cameras or _Cameras(sequence, item.depth.shape, item.gray.shape)
            yield cameras.posed(item, item.depth, world_from_color, with_color)


def pose_at(trajectory: Trajectory, time: float) -> Floats | None:
    """The pose of a moment, (4, 4): the one with its stamp, or between two that are near; None where there is none."""
    times = trajectory.times
    if not len(times):
        return None
    after = int(np.searchsorted(times, time))
    nearest = min((k for k in (after - 1, after) if 0 <= k < len(times)), key=lambda k: abs(times[k] - time))
    if abs(times[nearest] - time) <= (_SAME_S if trajectory.is_timed else 0.5):
        pose: Floats = trajectory.world_from_cam[nearest]
        return pose
    if not trajectory.is_timed or after in (0, len(times)) or times[after] - times[after - 1] > _GAP_S:
        return None
    between: Floats = trajectory.interpolated(np.array([time])).world_from_cam[0]
    return between


class _Cameras:
    """How the colour and the depth pictures of a recording lie to each other."""

    def __init__(self, sequence: Sequence, depth_shape: tuple[int, ...], color_shape: tuple[int, ...]) -> None:
        """Decide it by the first frame.

        Raises:
            InputError: the sizes do not fit the cameras.
        """
        self._name = sequence.name
        self._color_camera = sequence.camera
        self._color_from_depth = np.eye(4) if sequence.color_from_depth is None else sequence.color_from_depth
        self._depth_from_color = inverse_rigid(self._color_from_depth)
        height, width = depth_shape
        if sequence.depth_camera is not None:
            self._depth_camera = sequence.depth_camera
        else:
            assert sequence.camera is not None
            self._depth_camera = _scaled_to(sequence.camera, width, height, sequence.name)
        camera = self._depth_camera
        if (camera.width, camera.height) != (width, height):
            raise InputError(
                f"{sequence.name}: its depth pictures are {width}x{height}, its depth camera "
                f"{camera.width}x{camera.height}: name the right calibration with --camera"
            )
        is_same = sequence.color_from_depth is None and (
            sequence.camera is None or _is_resized(sequence.camera, self._depth_camera)
        )
        self._is_registered = is_same and color_shape == depth_shape
        self._is_scaled = is_same and not self._is_registered

    def posed(
        self, item: SequenceFrame, depth: NDArray[np.float32], world_from_color: Floats, with_color: bool
    ) -> PosedDepth | Dropped:
        """A frame with its depth camera's pose."""
        if depth.shape != (self._depth_camera.height, self._depth_camera.width):
            return Dropped(item.index, item.name, f"its depth is {depth.shape[1]}x{depth.shape[0]}, unlike the others")
        color = None
        if with_color:
            try:
                color = self._color_of(item, depth)
            except PictureError:
                return Dropped(item.index, item.name, "its colours cannot be decoded")
        depth_from_world = self._depth_from_color @ inverse_rigid(world_from_color)
        return PosedDepth(
            item.index, item.time, item.name, DepthFrame(depth, color, self._depth_camera, depth_from_world)
        )

    def _color_of(self, item: SequenceFrame, depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        color = item.color()
        if self._is_registered:
            return color
        if self._is_scaled:
            import cv2

            resized = cv2.resize(color, depth.shape[::-1], interpolation=cv2.INTER_AREA)
            return np.asarray(resized, np.uint8)
        assert self._color_camera is not None
        return registered_color(depth, self._depth_camera, color, self._color_camera, self._color_from_depth)


def _is_resized(camera: Camera, other: Camera) -> bool:
    """Whether another camera's pictures are those of a camera, resized."""
    if camera.model != other.model or abs(other.width / camera.width * camera.height / other.height - 1.0) > _RATIO:
        return False
    return bool(np.allclose(camera.scaled(other.width / camera.width).params, other.params, rtol=1e-4, atol=1e-3))


def _scaled_to(camera: Camera, width: int, height: int, name: str) -> Camera:
    """The colour camera for depth of other sizes but the same view.

    Raises:
        InputError: the sizes have not one ratio, so the views are not the same.
    """
    if (camera.width, camera.height) == (width, height):
        return camera
    across, down = width / camera.width, height / camera.height
    if abs(across / down - 1.0) > _RATIO:
        raise InputError(
            f"{name}: its depth is {width}x{height} and its colour {camera.width}x{camera.height}, of another shape; "
            "and nothing says how the two cameras lie to each other; give a rig with both with --camera"
        )
    return camera.scaled(across)
