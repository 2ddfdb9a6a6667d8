"""Inputs resampled and written: pictures side by side, each video as a pipeline of three threads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.video.stream import VideoStream

from cv3d.errors import InputError, OutputError, PictureError
from cv3d.media.inputs import Pictures, Video
from cv3d.media.picture import Picture
from cv3d.media.pipeline import in_background
from cv3d.media.resampling import FrameMap, Interpolation, resample
from cv3d.media.sized_views import SizedViews
from cv3d.media.unchanged import Samples, decode_unchanged
from cv3d.media.undistort_result import Written
from cv3d.media.video import VideoFrames, probe_video, video_frames
from cv3d.media.writing import PICTURE_SUFFIXES, VIDEO_SUFFIXES, VideoWriter, write_picture
from cv3d.progress import Progress

_FIRST_QUARTER_TURN = 5
"""EXIF orientations from here on exchange width and height."""
_USUAL_RATE = Fraction(25)
_USUAL_TICK = Fraction(1, 90000)


@dataclass(frozen=True)
class WriteOptions:
    """What holds for every input of a job."""

    interpolation: Interpolation
    """How pixels in between are found."""
    codec: str
    """Of videos."""
    workers: int
    """Threads for pictures."""
    overwrite: bool
    """Whether files that exist may be replaced."""
    progress: Progress
    """Told about the course."""


def first_size(pictures: Pictures) -> tuple[str, int, int]:
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


def write_inputs(pictures: Pictures, folder: Path, views: SizedViews, how: WriteOptions) -> tuple[Written, ...]:
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
    pictures: Sequence[Picture], folder: Path, targets: dict[str, Path], views: SizedViews, how: WriteOptions
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


def _write_video(video: Video, folder: Path, target: Path, views: SizedViews, how: WriteOptions) -> Written:
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


def _resampled(frames: VideoFrames, video: Video, views: SizedViews, how: WriteOptions) -> Iterator[av.VideoFrame]:
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
