"""`cv3d.undistort` and `cv3d.rectify_pair`: pictures and videos as an ideal camera would have taken them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TypeVar

import av
from av.video.stream import VideoStream

from cv3d.errors import InputError, OutputError, PictureError, UsageError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig
from cv3d.geometry.views.framing import choose_view
from cv3d.geometry.views.rectification import Rectification, RectifiedCamera, rectify
from cv3d.geometry.views.remapping import Window, largest_window, pixel_map
from cv3d.geometry.views.view import Projection, View
from cv3d.media.inputs import Pictures, Video, find_pictures
from cv3d.media.picture import Picture
from cv3d.media.pipeline import in_background
from cv3d.media.resampling import FrameMap, Interpolation, resample
from cv3d.media.unchanged import Samples, decode_unchanged
from cv3d.media.undistort_result import SizedView, UndistortResult, Written
from cv3d.media.video import VideoFrames, probe_video, video_frames
from cv3d.media.writing import PICTURE_SUFFIXES, VIDEO_SUFFIXES, VideoWriter, check_codec, write_picture
from cv3d.progress import SILENT, Progress

Inputs = str | Path | Sequence[str | Path]
Choice = TypeVar("Choice", Projection, Interpolation)

_FIRST_QUARTER_TURN = 5
"""EXIF orientations from here on exchange width and height."""
_USUAL_RATE = Fraction(25)
_USUAL_TICK = Fraction(1, 90000)


@dataclass(frozen=True)
class _How:
    """What holds for every input of a job."""

    interpolation: Interpolation
    codec: str
    workers: int
    overwrite: bool
    progress: Progress


def undistort(
    inputs: Inputs,
    camera: Camera,
    output: str | Path,
    *,
    to: str | Projection = Projection.PINHOLE,
    alpha: float = 0.0,
    crop: bool = False,
    size: tuple[int, int] | None = None,
    interpolation: str | Interpolation = Interpolation.LINEAR,
    codec: str = "h264",
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> UndistortResult:
    """Write pictures and videos as an ideal camera would have taken them.

    Pictures keep their names, channels and bit depth and are turned upright; HEIC becomes JPEG. Videos keep their
    stamps, are turned upright and lose their sound. What cannot be read is skipped and told. Every file appears whole.

    Args:
        inputs: folders, globs, pictures, videos; one or several.
        camera: what they were taken with. Inputs of another size, but the same shape, are taken to be resized.
        output: folder for the results.
        to: "pinhole", "fisheye" (equidistant) or "equirect" (longitude and latitude).
        alpha: 0: only pixels that the camera saw; 1: all that it saw; see :func:`choose_view`.
        crop: keep the largest rectangle of valid pixels.
        size: width and height of the view before cropping, pixels; None: see :func:`choose_view`.
        interpolation: "linear", "cubic" or "lanczos".
        codec: of videos, "h264" or "mpeg4".
        workers: threads for pictures; None: one per core.
        overwrite: replace files that are there.
        progress: told about the course.

    Returns:
        What was written, and the new camera.

    Raises:
        InputError: nothing to read, no input could be used, or none has the camera's shape.
        OutputError: a file cannot be written, is there already, or would replace its own input.
        UsageError: an option is out of range.
    """
    projection = _choice(Projection, to, "to")
    how = _how(interpolation, codec, workers, overwrite, progress)
    views = _Views(lambda at, is_video: _sized_view(at, projection, alpha, crop, size, is_video), camera, progress)
    started = time.perf_counter()
    written = _write_all(find_pictures(inputs), Path(output), views, how)
    return UndistortResult(views.made, written, time.perf_counter() - started)


def rectify_pair(
    left: Inputs,
    right: Inputs,
    rig: Rig,
    output: str | Path,
    *,
    cameras: tuple[int, int] = (0, 1),
    alpha: float = 0.0,
    crop: bool = False,
    size: tuple[int, int] | None = None,
    interpolation: str | Interpolation = Interpolation.LINEAR,
    codec: str = "h264",
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> UndistortResult:
    """Write the pictures and videos of a pair so that a point has the same row in both, into `left/` and `right/`.

    Args:
        left: folders, globs, pictures, videos of the first camera.
        right: those of the second.
        rig: two or more posed cameras.
        output: folder for the results.
        cameras: which two of them, by index.
        alpha: 0: only pixels that both cameras saw; 1: all that either saw.
        crop: keep the largest rectangle that is valid in both.
        size: width and height before cropping, pixels; None: the first camera's.
        interpolation: see :func:`undistort`.
        codec: see :func:`undistort`.
        workers: see :func:`undistort`.
        overwrite: replace files that are there.
        progress: told about the course.

    Returns:
        What was written, with the rectification. A column's baseline is in the rig's unit.

    Raises:
        InputError: nothing to read, or an unposed camera.
        EstimationError: this pair cannot be rectified.
        OutputError: a file cannot be written, is there already, or would replace its own input.
        UsageError: an option is out of range.
    """
    how = _how(interpolation, codec, workers, overwrite, progress)
    if len(set(cameras)) != 2 or not all(0 <= index < len(rig.cameras) for index in cameras):
        raise UsageError(f"a pair is two different cameras of {len(rig.cameras)}, not {cameras[0]} and {cameras[1]}")
    started = time.perf_counter()
    found = [find_pictures(side) for side in (left, right)]
    at_size = []
    for pictures, index in zip(found, cameras, strict=True):
        name, width, height = _first_size(pictures)
        calibrated = rig.cameras[index].camera
        at_size.append(_camera_at(calibrated, width, height, name))
        _say_scaled(at_size[-1], calibrated, name, progress)
    has_video = any(pictures.videos for pictures in found)
    second_from_first = rig.cam_from_cam(cameras[1], cameras[0])
    pair = rectify(at_size[0], at_size[1], second_from_first, alpha, size, crop=crop, is_even=has_video)
    written: list[Written] = []
    made: list[SizedView] = []
    for side, pictures, half in zip(("left", "right"), found, (pair.first, pair.second), strict=True):
        views = _Views(_one_size(pair, half), half.camera, progress)
        outcomes = _write_all(pictures, Path(output) / side, views, how)
        written += [_below(side, outcome) for outcome in outcomes]
        made += views.made
    return UndistortResult(tuple(made), tuple(written), time.perf_counter() - started, pair)


def _how(interpolation: str, codec: str, workers: int | None, overwrite: bool, progress: Progress) -> _How:
    check_codec(codec)
    threads = workers or os.cpu_count() or 1
    return _How(_choice(Interpolation, interpolation, "interpolation"), codec, threads, overwrite, progress)


def _choice(kind: type[Choice], value: str, name: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        raise UsageError(f"{name} is one of {', '.join(kind)}, not '{value}'") from None


def _sized_view(
    camera: Camera, projection: Projection, alpha: float, crop: bool, size: tuple[int, int] | None, is_video: bool
) -> SizedView:
    view = choose_view(camera, projection, alpha, size)
    pixels = pixel_map(camera, view)
    window = largest_window(pixels.valid) if crop else Window(0, 0, view.width, view.height)
    window = window.even() if is_video else window
    if (window.width, window.height) != (view.width, view.height):
        view, pixels = view.cropped(window.left, window.top, window.width, window.height), pixels.cropped(window)
    return SizedView(camera, view, pixels)


def _one_size(pair: Rectification, half: RectifiedCamera) -> Callable[[Camera, bool], SizedView]:
    """The view of one camera of a pair, whose size is settled."""

    def view(camera: Camera, is_video: bool) -> SizedView:
        del is_video
        if camera != half.camera:
            raise PictureError(
                f"is {camera.width}x{camera.height}, but the pair is rectified at "
                f"{half.camera.width}x{half.camera.height}"
            )
        return SizedView(half.camera, pair.view, half.map, half.view_from_cam)

    return view


class _Views:
    """The views made so far, by size of the input. Safe from any thread."""

    def __init__(self, make: Callable[[Camera, bool], SizedView], camera: Camera, progress: Progress) -> None:
        self._make = make
        self._camera = camera
        self._progress = progress
        self._lock = threading.Lock()
        self._made: dict[tuple[int, int, bool], SizedView] = {}

    @property
    def made(self) -> tuple[SizedView, ...]:
        """In the order of their first use; pictures and videos of one size may share theirs."""
        distinct: dict[View, SizedView] = {}
        for view in self._made.values():
            distinct.setdefault(view.view, view)
        return tuple(distinct.values())

    def at(self, width: int, height: int, name: str, is_video: bool) -> SizedView:
        """The view for an input of this size.

        Raises:
            PictureError: it has another shape than the camera's pictures.
        """
        key = (width, height, is_video)
        with self._lock:
            if key not in self._made:
                is_new_size = (width, height, not is_video) not in self._made
                camera = _camera_at(self._camera, width, height, name)
                self._made[key] = self._make(camera, is_video)
                if is_new_size:
                    _say_scaled(camera, self._camera, name, self._progress)
            return self._made[key]


def _camera_at(camera: Camera, width: int, height: int, name: str) -> Camera:
    """The camera for pictures resized to the given size.

    Raises:
        PictureError: their shape is another, so they were cropped or are not this camera's.
    """
    if (width, height) == (camera.width, camera.height):
        return camera
    factor = width / camera.width
    if abs(height - camera.height * factor) > 1.0:
        is_turned = abs(width * camera.width - height * camera.height) <= max(width, height)
        turned = "; it may have been turned by 90 degrees" if is_turned else ""
        raise PictureError(
            f"{name}: is {width}x{height}, but the camera was calibrated at {camera.width}x{camera.height}, "
            f"another shape{turned}"
        )
    return replace(camera.scaled(factor), width=width, height=height)


def _say_scaled(camera: Camera, calibrated: Camera, name: str, progress: Progress) -> None:
    if (camera.width, camera.height) != (calibrated.width, calibrated.height):
        progress.warn(
            f"{name}: is {camera.width}x{camera.height}, calibrated at {calibrated.width}x{calibrated.height}: "
            "the camera is scaled"
        )


def _first_size(pictures: Pictures) -> tuple[str, int, int]:
    """Name and size of the first input that can be read."""
    reason: PictureError | None = None
    items: list[Picture | Video] = [*pictures.pictures, *pictures.videos]
    for item in items:
        try:
            if isinstance(item, Video):
                info = probe_video(item.source)
                return item.name, info.width, info.height
            height, width = _decoded(item).shape[:2]
            return item.name, width, height
        except PictureError as error:
            reason = reason or error
    raise InputError(f"none of the {len(pictures) + len(pictures.videos)} inputs can be read; the first: {reason}")


def _write_all(pictures: Pictures, folder: Path, views: _Views, how: _How) -> tuple[Written, ...]:
    """Every input undistorted into `folder`.

    Raises:
        InputError: not one could be.
    """
    targets = _targets(pictures, folder, how.overwrite)
    written = [*_write_pictures(pictures.pictures, folder, targets, views, how)]
    written += [_write_video(video, folder, targets[video.name], views, how) for video in pictures.videos]
    if all(item.output is None for item in written):
        which = "" if len(written) == 1 else f"none of the {len(written)} inputs can be undistorted; the first: "
        raise InputError(f"{which}{written[0].name}: {written[0].reason}")
    return tuple(written)


def _targets(pictures: Pictures, folder: Path, overwrite: bool) -> dict[str, Path]:
    """Where each input goes, by its name: names and sub-folders stay, suffixes that cannot be written change.

    Raises:
        OutputError: a file is there already, or is the input itself.
    """
    targets: dict[str, Path] = {}
    taken: set[Path] = set()
    items: list[Picture | Video] = [*pictures.pictures, *pictures.videos]
    for item in items:
        parts = [part for part in Path(item.name).parts if part not in ("/", "..")]
        target = folder.joinpath(*parts)
        is_video = isinstance(item, Video)
        if target.suffix.lower() not in (VIDEO_SUFFIXES if is_video else PICTURE_SUFFIXES):
            target = target.with_suffix(".mp4" if is_video else ".jpg")
        if target in taken:
            target = target.with_name(f"{target.stem}_{Path(item.name).suffix[1:]}{target.suffix}")
        if target.exists() and target.samefile(item.source):
            raise OutputError(f"{target}: would replace the input itself; choose another folder with -o")
        if target.exists() and not overwrite:
            raise OutputError(f"{target}: is there already; --overwrite replaces it")
        taken.add(target)
        targets[item.name] = target
    return targets


def _decoded(picture: Picture) -> Samples:
    try:
        content = picture.source.read_bytes()
    except OSError as error:
        raise PictureError(f"{picture.name}: cannot be read: {error.strerror}") from error
    return decode_unchanged(content, picture.name)


def _write_pictures(
    pictures: Sequence[Picture], folder: Path, targets: dict[str, Path], views: _Views, how: _How
) -> Iterator[Written]:
    """Pictures side by side in threads: decoding, resampling and encoding all leave Python's lock."""
    if not pictures:
        return
    stage = "undistort pictures"

    def write(picture: Picture) -> Written:
        started = time.perf_counter()
        target = targets[picture.name]
        try:
            samples = _decoded(picture)
            sized = views.at(samples.shape[1], samples.shape[0], picture.name, is_video=False)
        except PictureError as error:
            return Written(picture.name, None, 0, time.perf_counter() - started, _reason(error, picture.name))
        write_picture(target, resample(sized.map, samples, how.interpolation))
        return Written(picture.name, target.relative_to(folder).as_posix(), 1, time.perf_counter() - started)

    how.progress.start(stage, len(pictures))
    executor = ThreadPoolExecutor(how.workers, thread_name_prefix="cv3d-undistort")
    try:
        for future in [executor.submit(write, picture) for picture in pictures]:
            outcome = future.result()
            if outcome.output is None:
                how.progress.warn(f"{outcome.name}: skipped: {outcome.reason}")
            how.progress.advance(stage)
            yield outcome
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    how.progress.finish(stage)


def _write_video(video: Video, folder: Path, target: Path, views: _Views, how: _How) -> Written:
    """One video: decoding, resampling and encoding are three threads, with a few frames between them."""
    started = time.perf_counter()
    stage = f"undistort {video.name}"
    count = 0
    try:
        with (
            video_frames(video.source) as frames,
            closing(in_background(_resampled(frames, video, views, how))) as done,
        ):
            stream = frames._stream
            tick, rate = _tick(stream), Fraction(stream.average_rate or _USUAL_RATE)
            how.progress.start(stage, stream.frames or None)
            first = next(done)
            with VideoWriter(target, first, rate, tick, how.codec) as writer:
                for frame in chain([first], done):
                    writer.write(frame)
                    count += 1
                    how.progress.advance(stage)
            how.progress.finish(stage)
        damaged = frames.damaged
    except PictureError as error:
        reason = _reason(error, video.name, str(video.source))
        how.progress.warn(f"{video.name}: skipped: {reason}")
        return Written(video.name, None, 0, time.perf_counter() - started, reason)
    if damaged is not None:
        how.progress.warn(f"{video.name}: {damaged}; the {count} frames that are whole are written")
    return Written(video.name, target.relative_to(folder).as_posix(), count, time.perf_counter() - started, damaged)


def _resampled(frames: VideoFrames, video: Video, views: _Views, how: _How) -> Iterator[av.VideoFrame]:
    """The frames of a video, each with a stamp, as the view that belongs to their size."""
    tick = _tick(frames._stream)
    frame_map: FrameMap | None = None
    size = (0, 0)
    with closing(in_background(frames)) as decoded:
        for frame in decoded:
            stored = frame._frame
            if frame_map is None:
                size = (stored.width, stored.height)
                width, height = size if frame.orientation < _FIRST_QUARTER_TURN else size[::-1]
                sized = views.at(width, height, video.name, is_video=True)
                frame_map = FrameMap.of(sized.map, frame.orientation, how.interpolation)
            if (stored.width, stored.height) != size:
                stored = stored.reformat(width=size[0], height=size[1])
            if stored.pts is None:
                stored.pts, stored.time_base = round(Fraction(frame.time) / tick), tick
            yield frame_map.apply(stored)


def _tick(stream: VideoStream) -> Fraction:
    """The unit of a stream's stamps, seconds."""
    return Fraction(stream.time_base or _USUAL_TICK)


def _reason(error: PictureError, *names: str) -> str:
    """The message without the name that it begins with."""
    text = str(error)
    for name in names:
        text = text.removeprefix(f"{name}: ")
    return text


def _below(side: str, outcome: Written) -> Written:
    output = None if outcome.output is None else f"{side}/{outcome.output}"
    return replace(outcome, name=f"{side}/{outcome.name}", output=output)
