"""Tracks of a whole clip or of a folder of pictures in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import FormatError, InputError, PictureError
from cv3d.features.tracks.builder import TrackBuilder
from cv3d.features.tracks.collecting import TrackCollector
from cv3d.features.tracks.frame_tracks import Frame, FrameStatistics, GrayFrame
from cv3d.features.tracks.options import TrackOptions
from cv3d.features.tracks.tracks import Tracks
from cv3d.geometry.cameras.camera import Camera
from cv3d.media import find_pictures, probe_video, video_frames
from cv3d.media.picture import Picture, frame_name
from cv3d.media.pipeline import in_background
from cv3d.progress import SILENT, Progress

_STAGE = "track points"
_LEAST_LENGTH = 2
_VERSION = 1
"""To be raised with every change after which equal inputs give other tracks."""


@dataclass(frozen=True, eq=False)
class TrackResult:
    """What a clip's points do."""

    source: str
    """The video or the pictures, as named by the user."""
    frames: tuple[str, ...]
    """Names of the F frames that were read, in order."""
    times: NDArray[np.float64]
    """(F,) their stamps, seconds; for pictures their places in the order."""
    tracks: Tracks
    """Points seen in two frames or more."""
    statistics: tuple[FrameStatistics, ...]
    """How tracking fared in each frame."""
    problems: tuple[str, ...]
    """What of the input could not be used and what was out of the ordinary, in words for the user."""
    is_reused: bool
    """Whether an earlier run's file was up to date."""

    @property
    def key_frames(self) -> tuple[int, ...]:
        """Frames in which keypoints were looked for."""
        return tuple(i for i, one in enumerate(self.statistics) if one.is_key)


def track(
    source: str | Path | Sequence[str | Path],
    options: TrackOptions | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
    *,
    camera: Camera | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> TrackResult:
    """Follow points through a video, or through pictures in their order.

    Args:
        source: one video; or a folder, glob or list of pictures.
        options: how.
        compute: device and precision; chosen automatically by default.
        progress: told about the frames.
        camera: of all frames, where it is known; verification then uses it.
        output: a `.npz` file for the result, written in one step at the end. Where it holds what this very call would
            give, it is read instead.
        overwrite: compute even then, and replace a file that holds something else.

    Raises:
        InputError: the source does not exist, holds no video or pictures, or several videos; or `output` is a file
            that something else wrote.
        PictureError: nothing of it can be decoded.
        DependencyError: the extractor's weights are not here.
        OutputError: the output cannot be written.
    """
    options = options or TrackOptions()
    compute = compute or Compute.choose()
    found = find_pictures(source)
    if len(found.videos) > 1 or (found.videos and found.pictures):
        raise InputError(
            f"tracks are of one video or of one set of pictures, not of {len(found.videos)} videos at once"
        )
    name = found.videos[0].name if found.videos else ", ".join(map(str, _as_list(source)))
    key = _key(found.pictures, [video.source for video in found.videos], options, compute, camera)
    target = None if output is None else Path(output)
    if target is not None and target.exists() and not overwrite:
        earlier = load_result(target)
        if earlier.tracks.about.get("key") == key:
            return earlier
    reader = _VideoReader(found.videos[0].source) if found.videos else _PictureReader(found.pictures)
    builder, collector = TrackBuilder(compute, options, camera), TrackCollector()
    statistics: list[FrameStatistics] = []
    problems: list[str] = []
    names: list[str] = []
    progress.start(_STAGE, reader.count)
    with closing(in_background(reader.frames())) as frames:
        for frame_label, frame in frames:
            added = builder.add(frame)
            collector.add(added)
            names.append(frame_label)
            statistics.append(added.statistics)
            if added.statistics.note:
                problems.append(f"{frame_label}: {added.statistics.note}")
            progress.advance(_STAGE)
    progress.finish(_STAGE)
    if not names:
        raise PictureError(f"{name}: nothing of it can be decoded: {'; '.join(reader.problems)}")
    problems = reader.problems + problems
    for problem in problems:
        progress.warn(problem)
    about = {
        "key": key,
        "source": name,
        "frames": names,
        "problems": problems,
        "options": options.as_dict(),
        "statistics": [list(vars(one).values()) for one in statistics],
    }
    tracks = collector.tracks(_LEAST_LENGTH, about)
    if target is not None:
        tracks.save(target)
    return _result(tracks, is_reused=False)


def load_result(path: str | Path) -> TrackResult:
    """What :func:`track` wrote.

    Raises:
        InputError: the file cannot be read.
        FormatError: it holds something else.
    """
    tracks = Tracks.load(path)
    try:
        return _result(tracks, is_reused=True)
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path}: tracks, but not of a clip: {error}") from error


def _result(tracks: Tracks, is_reused: bool) -> TrackResult:
    about = tracks.about
    return TrackResult(
        source=str(about["source"]),
        frames=tuple(about["frames"]),
        times=tracks.times,
        tracks=tracks,
        statistics=tuple(FrameStatistics(*row) for row in about["statistics"]),
        problems=tuple(about["problems"]),
        is_reused=is_reused,
    )


class _VideoReader:
    """Frames of a video with their names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = probe_video(path).frame_count
        self.problems: list[str] = []

    def frames(self) -> Iterator[tuple[str, Frame]]:
        with video_frames(self._path) as frames:
            for frame in frames:
                yield frame_name(self._path.name, frame.index), GrayFrame(frame.time, frame.gray())
            if frames.damaged:
                self.problems.append(f"{self._path}: {frames.damaged}; the frames before it are used")


class _PictureReader:
    """Pictures in their order, one a second."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures
        self.count: int | None = len(pictures)
        self.problems: list[str] = []

    def frames(self) -> Iterator[tuple[str, Frame]]:
        for index, picture in enumerate(self._pictures):
            try:
                pixels = picture.read_gray().array
            except PictureError as error:
                self.problems.append(f"{error}; it is left out")
                continue
            yield picture.name, GrayFrame(float(index), pixels)


def _as_list(source: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [source] if isinstance(source, str | Path) else list(source)


def _key(
    pictures: Sequence[Picture], videos: Sequence[Path], options: TrackOptions, compute: Compute, camera: Camera | None
) -> str:
    """Names everything that the result depends on."""
    digests = [Picture(path.name, path).digest() for path in videos] + [picture.digest() for picture in pictures]
    parts = {
        "version": _VERSION,
        "inputs": digests,
        "options": options.as_dict(),
        "device": compute.device.type,
        "dtype": str(compute.dtype),
        "camera": camera.as_dict() if camera else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
