"""Odometry in the rerun viewer while it runs: the picture, the camera in space, its path, inliers, parallax, time.

rerun's timelines are `frame` and `time`. Its world is cv3d's: x right, y down, z forward.
"""

from __future__ import annotations

import contextlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import DependencyError
from cv3d.odometry.results import FrameResult, OdometryResult, State

_MOST_PATH = 1000
"""Poses of the path that is drawn while it grows; of a longer one, every second, fourth, …"""
_AXIS_LENGTH = 0.1
_AXIS_COLOURS = ((220, 50, 50), (40, 160, 70), (60, 110, 230))
"""Of x, y and z."""
_PICTURE_SIDE = 640
"""Pictures go to the viewer no larger than this, so that a long recording does not fill its memory."""


class RerunStream:
    """Hands every frame on to rerun."""

    def __init__(self, recording: Any, rerun: ModuleType) -> None:  # noqa: ANN401
        """Begin with an open `rerun.RecordingStream`."""
        self._to = recording
        self._rr = rerun
        self._path: dict[int, list[NDArray[np.float64]]] = {}
        self._steps: dict[int, int] = {}
        self._counts: dict[int, int] = {}
        self._state: State | None = None
        self._first_time: float | None = None
        self._to.log("world", self._rr.ViewCoordinates.RDF, static=True)

    @classmethod
    def in_viewer(cls, title: str) -> RerunStream:
        """With a viewer that is started for it.

        Raises:
            DependencyError: rerun is not installed, or its viewer cannot be started.
        """
        rerun = _rerun()
        recording = rerun.RecordingStream(title)
        try:
            with _scripts_on_path():
                recording.spawn()
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise DependencyError(f"the rerun viewer cannot be started: {reason}") from error
        return cls(recording, rerun)

    @classmethod
    def to_file(cls, path: Path, title: str) -> RerunStream:
        """Into a .rrd file, to be opened later.

        Raises:
            DependencyError: rerun is not installed.
        """
        rerun = _rerun()
        recording = rerun.RecordingStream(title)
        recording.save(str(path))
        return cls(recording, rerun)

    def __call__(self, frame: FrameResult, gray: NDArray[np.uint8]) -> None:
        """Show a frame and its grey picture, (H, W)."""
        rr, to = self._rr, self._to
        if self._first_time is None:
            self._first_time = frame.time
        to.set_time("frame", sequence=frame.index)
        to.set_time("time", duration=frame.time - self._first_time)
        to.log("camera/picture", rr.Image(_small(gray)))
        to.log("tracking/inliers", rr.Scalars(frame.inliers))
        to.log("timing/ms", rr.Scalars(frame.ms))
        if np.isfinite(frame.parallax_deg):
            to.log("tracking/parallax_deg", rr.Scalars(frame.parallax_deg))
        if frame.state is not self._state:
            self._state = frame.state
            level = rr.TextLogLevel.INFO if frame.state is State.OK else rr.TextLogLevel.WARN
            to.log("state", rr.TextLog(f"{frame.state.value}: {frame.reason}".removesuffix(": "), level=level))
        if frame.world_from_cam is not None:
            self._log_pose(frame, frame.world_from_cam)

    def finish(self, result: OdometryResult) -> str:
        """Show the path and the map as they stand in the end.

        Returns:
            Why not all of it reached the viewer, which may have been closed; "" where it did.
        """
        rr, to = self._rr, self._to
        for number, size in enumerate(result.segment_sizes):
            if size:
                chosen = result.map.segments == number
                to.log(
                    f"world/segment{number}/map",
                    rr.Points3D(result.map.points[chosen], colors=result.map.colors[chosen]),
                )
                to.log(f"world/segment{number}/path", rr.LineStrips3D([result.segment(number).positions]))
        try:
            to.flush()
        except RuntimeError as error:
            return str(error).partition("\n")[0]
        return ""

    def _log_pose(self, frame: FrameResult, world_from_cam: NDArray[np.float64]) -> None:
        rr, to, number = self._rr, self._to, frame.segment
        place = f"world/segment{number}"
        to.log(
            f"{place}/camera",
            rr.Transform3D(translation=world_from_cam[:3, 3], mat3x3=world_from_cam[:3, :3]),
        )
        if number not in self._counts:
            axes = rr.Arrows3D(vectors=_AXIS_LENGTH * np.eye(3), colors=_AXIS_COLOURS)
            to.log(f"{place}/camera/axes", axes, static=True)
        self._counts[number] = self._counts.get(number, 0) + 1
        if self._counts[number] % self._steps.setdefault(number, 1) == 0:
            path = self._path.setdefault(number, [])
            path.append(world_from_cam[:3, 3].copy())
            if len(path) > _MOST_PATH:
                del path[1::2]
                self._steps[number] *= 2
        if frame.is_key:
            # A line that grows is sent anew each time, so only key frames send it.
            to.log(f"{place}/path", rr.LineStrips3D([np.stack([*self._path.get(number, []), world_from_cam[:3, 3]])]))


def _small(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every second, third … row and column of a large picture."""
    step = -(-max(gray.shape) // _PICTURE_SIDE)
    return np.ascontiguousarray(gray[::step, ::step])


@contextlib.contextmanager
def _scripts_on_path() -> Iterator[None]:
    """The viewer is a program beside the interpreter, where the shell of a virtual environment need not look."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _rerun() -> ModuleType:
    try:
        import rerun
    except ImportError as error:
        raise DependencyError("--rerun needs rerun: pip install 'cv3d[rerun]'") from error
    module: ModuleType = rerun
    return module
