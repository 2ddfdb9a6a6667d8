"""From the files of a recording's moments to a recording that can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from cv3d.errors import InputError, PictureError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences import FrameFiles
from cv3d.media.sequences.gray import GrayReader
from cv3d.media.sequences.picture_files import frames_of_files
from cv3d.odometry.results import Sensor
from cv3d.odometry.sources.calibration import Calibration, Size, fitted, read_calibration
from cv3d.odometry.sources.depth_scale import UNSAID, DecidedDepth, DepthRule, decide_depth
from cv3d.odometry.sources.request import Request, choose_sensor, stereo_or_mono
from cv3d.odometry.sources.sequence import Sequence
from cv3d.odometry.stamps import odd_stamps

_TRIED = 20
"""So many pictures are tried for the size of all."""
_SAME_ASPECT = 0.02


@dataclass(frozen=True, eq=False)
class Recording:
    """What a layout found."""

    kind: str
    name: str
    moments: tuple[FrameFiles, ...]
    calibrate: Callable[[Size], Calibration]
    """The recording's own calibration, for pictures of this size."""
    depth: DepthRule = UNSAID
    is_timed: bool = True
    read_truth: Callable[[], Trajectory] | None = None
    notes: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = field(default=())
    """Files beside the pictures."""


def assemble(recording: Recording, request: Request) -> Sequence:
    """Choose the sensor, fit the calibration to the pictures, and decide how depth is to be read.

    Raises:
        UsageError: the sensor asked for is not there.
        InputError: the calibration is of other pictures, or does not say how a stereo pair stands that is asked for;
            or no depth picture can be read.
        PictureError: none of the first pictures can be read.
    """
    moments = recording.moments
    has_right = any(moment.right is not None for moment in moments)
    has_depth = any(moment.depth is not None for moment in moments)
    offered = (Sensor.MONO, *([Sensor.STEREO] if has_right else []), *([Sensor.RGBD] if has_depth else []))
    sensor = choose_sensor(request, offered, recording.name)
    size = first_size(moments, recording.name)
    found = calibration_for(request, recording.calibrate, size)
    notes = (*recording.notes, *found.notes)
    camera, said = fitted(found.camera, size, "the calibration")
    notes += said
    if camera is None:
        notes += ("no calibration was found; name one with --camera, or the focal length is estimated",)
    right_camera = right_from_left = None
    if sensor is Sensor.STEREO:
        is_placed = found.right_camera is not None and found.right_from_left is not None
        sensor, said = stereo_or_mono(request, is_placed, recording.name)
        notes += said
    if sensor is Sensor.STEREO:
        right_camera, said = fitted(found.right_camera, size, "the right camera's calibration")
        right_from_left, notes = found.right_from_left, notes + said
    decided: DecidedDepth | None = None
    if sensor is Sensor.RGBD:
        rule = recording.depth
        if found.metres_per_unit is not None:
            rule = replace(rule, metres_per_unit=found.metres_per_unit, reason="as the calibration says")
        decided = decide_depth([one.depth for one in moments if one.depth is not None], rule, request.depth_scale)
        notes += (decided.note,)
    depth_camera, said = depth_camera_for(found, camera, size, decided)
    notes += said
    kept = tuple(_only(moment, sensor) for moment in moments)
    reader = None if decided is None else decided.reader
    return Sequence(
        name=recording.name,
        kind=recording.kind,
        sensors=offered,
        sensor=sensor,
        camera=camera,
        right_camera=right_camera,
        right_from_left=right_from_left,
        depth_camera=depth_camera,
        color_from_depth=None if decided is None else found.color_from_depth,
        depth_scale=None if reader is None else reader.metres_per_unit,
        frame_count=len(kept),
        fps=_fps(kept),
        is_timed=recording.is_timed,
        notes=notes + odd_stamps([moment.time for moment in kept]),
        inputs=tuple(dict.fromkeys([*_files(kept), *recording.inputs, *found.files])),
        _produce=lambda problems: frames_of_files(kept, reader, problems),
        _read_truth=recording.read_truth,
    )


def first_size(moments: tuple[FrameFiles, ...], name: str) -> Size:
    """Width and height of the first picture that can be read.

    Raises:
        PictureError: none of the first can.
    """
    reader, reason = GrayReader(), ""
    for moment in moments[:_TRIED]:
        try:
            height, width = reader.read(moment.picture).shape
        except PictureError as error:
            reason = reason or str(error)
            continue
        return width, height
    raise PictureError(f"{name}: none of the first pictures can be read: {reason}")


def calibration_for(request: Request, own: Callable[[Size], Calibration], size: Size) -> Calibration:
    """The calibration that the user gives, else the recording's own.

    Raises:
        InputError: a file of it is not what it should be.
    """
    if request.camera is None:
        return own(size)
    return read_calibration(request.camera, size)


def depth_camera_for(
    found: Calibration, camera: Camera | None, size: Size, decided: DecidedDepth | None
) -> tuple[Camera | None, tuple[str, ...]]:
    """The camera of depth pictures that do not have the colour pictures' pixels, and what to note.

    Raises:
        InputError: the depth pictures have other proportions than their calibration.
    """
    if decided is None:
        return None, ()
    if found.depth_camera is not None:
        return fitted(found.depth_camera, decided.size, "the depth camera's calibration")
    if decided.size == size or camera is None:
        return None, ()
    (width, height), (color_width, color_height) = decided.size, size
    across, down = width / color_width, height / color_height
    if abs(across / down - 1.0) > _SAME_ASPECT:
        raise InputError(
            f"the depth pictures of {width}x{height} do not fit the colour pictures of {color_width}x{color_height}, "
            "and nothing says how the depth camera stands; name registered depth pictures"
        )
    scaled = replace(camera.scaled(across), width=width, height=height)
    return scaled, (f"depth pictures of {width}x{height} are taken to show what the colour pictures show",)


def _only(moment: FrameFiles, sensor: Sensor) -> FrameFiles:
    """A moment without the files that are not read."""
    return replace(
        moment,
        right=moment.right if sensor is Sensor.STEREO else None,
        depth=moment.depth if sensor is Sensor.RGBD else None,
    )


def _files(moments: tuple[FrameFiles, ...]) -> list[Path]:
    return [path for one in moments for path in (one.picture, one.right, one.depth) if path is not None]


def _fps(moments: tuple[FrameFiles, ...]) -> float | None:
    steps = np.diff([moment.time for moment in moments])
    forward = steps[steps > 0.0]
    return float(1.0 / np.median(forward)) if len(forward) else None


def truth_of_frames(read: Callable[[], Trajectory], times: dict[int, float]) -> Callable[[], Trajectory]:
    """A path whose poses are known by the numbers of their frames, with the frames' stamps.

    Args:
        read: the path, its times being numbers of frames where it is not timed.
        times: the stamp of each frame, seconds, by its number.
    """
    return partial(_stamped, read, times)


def _stamped(read: Callable[[], Trajectory], times: dict[int, float]) -> Trajectory:
    path = read()
    if path.is_timed:
        return path
    kept = [index for index, number in enumerate(path.times.tolist()) if round(number) in times]
    return in_order(np.array([times[round(path.times[index])] for index in kept]), path.world_from_cam[kept])


def in_order(
    times: np.ndarray[tuple[int], np.dtype[np.float64]], poses: np.ndarray[tuple[int, int, int], np.dtype[np.float64]]
) -> Trajectory:
    """Timed poses in the order of time, whatever order they come in: (n,) seconds and (n, 4, 4)."""
    order = np.argsort(times, kind="stable")
    return Trajectory(times[order].reshape(-1), poses[order].reshape(-1, 4, 4))
