"""A video as a recording, alone, with depth pictures, or as one of a pair."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cv3d.errors import InputError
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.frame_times import frame_times
from cv3d.media.sequences import DepthReader, SequenceFrame
from cv3d.media.sequences.videos import frames_of_stereo_videos, frames_of_video
from cv3d.media.video import VideoInfo, probe_video
from cv3d.odometry.results import Sensor
from cv3d.odometry.sources.assembling import calibration_for, depth_camera_for
from cv3d.odometry.sources.calibration import Calibration, Size, fitted
from cv3d.odometry.sources.camera_files import calibration_beside
from cv3d.odometry.sources.depth_scale import UNSAID, DepthRule, decide_depth
from cv3d.odometry.sources.finding import depths_in
from cv3d.odometry.sources.pairing import numbers_of
from cv3d.odometry.sources.request import Request, choose_sensor, stereo_or_mono
from cv3d.odometry.sources.sequence import Sequence

_QUARTER_TURNS = (90, 270)


def _uncalibrated(size: Size) -> Calibration:
    return Calibration()


@dataclass(frozen=True, eq=False)
class Clip:
    """A video and what belongs to it."""

    kind: str
    name: str
    video: Path
    calibrate: Callable[[Size], Calibration] = _uncalibrated
    """The recording's own calibration, for pictures of this size."""
    times: Mapping[int, float] | None = None
    """Stamps by the number of the frame, seconds; None: the video's own."""
    depths: Mapping[int, Path] = field(default_factory=dict)
    """Depth pictures by the number of the frame."""
    depth: DepthRule = UNSAID
    is_turned: bool = True
    """Whether frames are turned upright; not where the calibration and the depth are of the pixels as stored."""
    read_truth: Callable[[], Trajectory] | None = None
    notes: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()


def open_video_file(video: Path, request: Request, depth: Path | None = None, folder: Path | None = None) -> Sequence:
    """A video, with a folder of depth pictures for its frames perhaps, and with what lies beside it.

    Args:
        video: the file.
        request: what the user said.
        depth: the folder of the depth pictures.
        folder: the recording's, where calibration may lie; None: the video was named alone.

    Raises:
        PictureError: the file is no video.
        InputError: the depth pictures do not go with its frames.
    """
    by_number, notes = ({}, ()) if depth is None else _numbered(depth, video)
    calibrate = _uncalibrated if folder is None else partial(_beside, folder)
    return open_clip(Clip("video", video.name, video, calibrate, depths=by_number, notes=notes), request)


def _numbered(depth: Path, video: Path) -> tuple[dict[int, Path], tuple[str, ...]]:
    """The depth pictures of a video by the numbers of the frames, and what to note."""
    files = depths_in(depth)
    count = len(frame_times(video))
    numbers = numbers_of(files)
    if numbers and min(numbers) in (0, 1) and max(numbers) - min(numbers) < count:
        by_number = {number - min(numbers): path for number, path in zip(numbers, files, strict=True)}
        return by_number, (f"depth pictures of {depth.name} go with the frames by the numbers in their names",)
    if files and len(files) == count:
        return dict(enumerate(files)), (f"depth pictures of {depth.name} go with the frames in their order",)
    raise InputError(
        f"{depth}: its {len(files)} depth pictures do not go with the {count} frames of {video.name}: their names do "
        "not number the frames, and they are not as many"
    )


def _beside(folder: Path, size: Size) -> Calibration:
    return calibration_beside(folder, size) or Calibration()


def open_clip(clip: Clip, request: Request) -> Sequence:
    """A video as a recording.

    Raises:
        PictureError: the file is no video.
        UsageError: the sensor asked for is not there.
        InputError: the calibration is of other pictures.
    """
    info = probe_video(clip.video)
    offered = (Sensor.MONO, *([Sensor.RGBD] if clip.depths else []))
    sensor = choose_sensor(request, offered, clip.name)
    size = _size(info, clip.is_turned)
    found = calibration_for(request, clip.calibrate, size)
    camera, said = fitted(found.camera, size, "the calibration")
    notes = (*clip.notes, *found.notes, *said)
    if camera is None:
        notes += ("no calibration was found; name one with --camera, or the focal length is estimated",)
    decided = (
        decide_depth(list(clip.depths.values()), clip.depth, request.depth_scale) if sensor is Sensor.RGBD else None
    )
    depth_camera, said = depth_camera_for(found, camera, size, decided)
    notes += said if decided is None else (decided.note, *said)
    reader = None if decided is None else decided.reader
    return Sequence(
        name=clip.name,
        kind=clip.kind,
        sensors=offered,
        sensor=sensor,
        camera=camera,
        depth_camera=depth_camera,
        color_from_depth=None if decided is None else found.color_from_depth,
        depth_scale=None if reader is None else reader.metres_per_unit,
        frame_count=info.frame_count,
        fps=info.fps,
        notes=notes,
        inputs=(clip.video, *(clip.depths.values() if decided is not None else ()), *clip.inputs, *found.files),
        _produce=partial(_frames, clip, reader),
        _read_truth=clip.read_truth,
    )


def open_stereo_videos(left: Path, right: Path, request: Request) -> Sequence:
    """Two videos of a stereo pair, whose stamps are of one clock.

    Raises:
        PictureError: a file is no video.
        InputError: the calibration is of other pictures.
    """
    info = probe_video(left)
    size = _size(info, True)
    if _size(probe_video(right), True) != size:
        raise InputError(f"{left} and {right}: the pictures of a stereo pair are of one size, these are not")
    sensor = choose_sensor(request, (Sensor.MONO, Sensor.STEREO), left.name)
    found = calibration_for(request, _uncalibrated, size)
    camera, said = fitted(found.camera, size, "the calibration")
    right_camera, also_said = fitted(found.right_camera, size, "the right camera's calibration")
    notes = (*found.notes, *said, *also_said)
    if sensor is Sensor.STEREO:
        is_placed = right_camera is not None and found.right_from_left is not None
        sensor, said = stereo_or_mono(request, is_placed, left.name)
        notes += said
    is_stereo = sensor is Sensor.STEREO
    return Sequence(
        name=left.name,
        kind="video",
        sensors=(Sensor.MONO, Sensor.STEREO),
        sensor=sensor,
        camera=camera,
        right_camera=right_camera if is_stereo else None,
        right_from_left=found.right_from_left if is_stereo else None,
        frame_count=info.frame_count,
        fps=info.fps,
        notes=notes,
        inputs=(left, right, *found.files),
        _produce=partial(_pairs, left, right) if is_stereo else partial(frames_of_video, left),
    )


def _size(info: VideoInfo, is_turned: bool) -> Size:
    is_across = not is_turned and info.rotation_deg in _QUARTER_TURNS
    return (info.height, info.width) if is_across else (info.width, info.height)


def _frames(clip: Clip, reader: DepthReader | None, problems: list[str]) -> Generator[SequenceFrame, None, None]:
    return frames_of_video(
        clip.video,
        problems,
        times=clip.times,
        depth_files=clip.depths if reader is not None else None,
        depth=reader,
        is_turned=clip.is_turned,
    )


def _pairs(left: Path, right: Path, problems: list[str]) -> Generator[SequenceFrame, None, None]:
    return frames_of_stereo_videos(left, right, problems)
