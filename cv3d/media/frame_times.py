"""The time stamps of all frames of a video, and chosen frames of it in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av.error
import numpy as np
from numpy.typing import NDArray

from cv3d.media.held import HELD_BYTES, PixelStore
from cv3d.media.picture import Picture
from cv3d.media.video import VideoFrame, open_video, seconds_per_tick, video_frames
from cv3d.progress import SILENT, Progress

_SAME_STAMP_S = 1e-4
"""Stamps that differ by less are of one frame."""


@dataclass(frozen=True)
class PickedFrames:
    """Frames chosen by their stamps."""

    pictures: tuple[Picture | None, ...]
    """One for each stamp asked for; None where that frame cannot be decoded."""
    damaged: str | None
    """What is missing of the clip, in words for the user; None where it is whole."""


def frame_times(path: str | Path) -> NDArray[np.float64]:
    """The stamps of a video's frames in the order in which they are shown, (N,), seconds.

    The container lists them, so nothing is decoded, and frames count that turn out to be damaged. Only where a
    container leaves stamps out is the video decoded to find them.

    Raises:
        InputError: the file cannot be read.
        PictureError: the file is no video, or holds no frame.
    """
    path = Path(path)
    with open_video(path) as container:
        stream = container.streams.video[0]
        tick_s = seconds_per_tick(stream)
        stamps: list[int] = []
        is_stamped = True
        try:
            for packet in container.demux(stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                if packet.pts is None:
                    is_stamped = False
                    break
                stamps.append(packet.pts)
        except av.error.FFmpegError:
            # A container that ends early still listed what came before.
            is_stamped = bool(stamps)
    if is_stamped and stamps:
        return np.asarray(np.unique(stamps) * tick_s, np.float64)
    with video_frames(path) as frames:
        return np.array([frame.time for frame in frames], np.float64)


def pick_frames(
    path: str | Path,
    times: Sequence[float] | NDArray[np.float64],
    *,
    name: str | None = None,
    store: PixelStore | None = None,
    progress: Progress = SILENT,
) -> PickedFrames:
    """Decode a video once and keep the frames with certain stamps.

    Args:
        path: the video.
        times: their stamps, (n,), seconds, increasing, as :func:`frame_times` gives them.
        name: how results call the video; its file name by default.
        store: holds the pixels; one of its own by default.
        progress: told about the frames found.

    Raises:
        InputError: the file cannot be read.
        PictureError: the file is no video, or none of its frames can be decoded.
    """
    path = Path(path)
    store = store or PixelStore(HELD_BYTES)
    stage = "read video"
    progress.start(stage, len(times))
    pictures: list[Picture | None] = []
    with FrameCursor(path) as cursor:
        for time in times:
            frame = cursor.at(float(time))
            pictures.append(None if frame is None else store.picture(path, name or path.name, frame, frame.gray()))
            progress.advance(stage)
        damaged = cursor.damaged()
    progress.finish(stage)
    return PickedFrames(tuple(pictures), damaged)


class FrameCursor:
    """Walks through a video once, stopping at stamps asked for in increasing order. A context manager."""

    def __init__(self, path: Path) -> None:
        self._frames = video_frames(path)
        self._present: VideoFrame | None = None
        self._is_at_end = False

    def __enter__(self) -> FrameCursor:
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.close()

    def at(self, time: float) -> VideoFrame | None:
        """The frame with this stamp, seconds; None where it cannot be decoded.

        Raises:
            PictureError: not one frame of the video can be decoded.
        """
        while not self._is_at_end and (self._present is None or self._present.time < time - _SAME_STAMP_S):
            following = next(self._frames, None)
            if following is None:
                self._is_at_end = True
            else:
                self._present = following
        is_there = self._present is not None and abs(self._present.time - time) < _SAME_STAMP_S
        return self._present if is_there else None

    def damaged(self) -> str | None:
        """Reads on to the end; what is missing of the clip, in words for the user, None where it is whole.

        Raises:
            PictureError: not one frame of the video can be decoded.
        """
        for frame in self._frames:
            self._present = frame
        return self._frames.damaged
