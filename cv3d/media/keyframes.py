"""Choosing a few sharp, varied frames of a clip in one pass over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.media.held import HELD_BYTES, PixelStore
from cv3d.media.picture import Picture
from cv3d.media.sharpness import sharpness
from cv3d.media.video import VideoFrame, probe_video, video_frames
from cv3d.progress import SILENT, Progress

_THUMBNAIL = (48, 48)
_SAME_VIEW_LEVELS = 1.0
"""Mean absolute difference of thumbnails, grey levels, below which two frames show the same."""


@dataclass(frozen=True)
class KeyFrames:
    """The frames chosen from one video."""

    pictures: tuple[Picture, ...]
    """In order of time. Their grey pixels are kept in memory, losslessly compressed, up to the limit that was set."""
    sharpness: tuple[float, ...]
    """Of each picture, as :func:`cv3d.media.sharpness.sharpness` measures it."""
    frame_count: int
    """How many frames the video really holds."""
    alike: int
    """How many time bins were left out because their best frame showed what the frame before it shows."""
    damaged: str | None
    """What is missing of the clip, in words for the user; None where it is whole."""


@dataclass
class _Candidate:
    """The sharpest frame of one time bin so far."""

    bin: int
    frame: VideoFrame
    gray: NDArray[np.uint8]
    sharpness: float


@dataclass
class _Kept:
    """The sharpest frame of a finished time bin."""

    bin: int
    picture: Picture
    sharpness: float
    thumbnail: NDArray[np.float32]


@dataclass
class _Bins:
    """Equal bins of time, at most `limit` of them: where the clip is longer than expected, neighbours are merged."""

    limit: int
    width_s: float
    kept: list[_Kept] = field(default_factory=list)

    def merge_until_room(self, elapsed_s: float) -> None:
        """Widen the bins until `elapsed_s` falls into one of the first `limit`."""
        while int(elapsed_s / self.width_s) >= self.limit:
            self.width_s *= 2.0
            best: dict[int, _Kept] = {}
            for kept in self.kept:
                kept.bin //= 2
                if kept.bin not in best or kept.sharpness > best[kept.bin].sharpness:
                    best[kept.bin] = kept
            self.kept = list(best.values())


def pick_sharp_frames(
    path: str | Path,
    max_frames: int = 60,
    *,
    name: str | None = None,
    held_bytes: int = HELD_BYTES,
    progress: Progress = SILENT,
) -> KeyFrames:
    """Choose the sharpest frame of each of `max_frames` equal stretches of a clip, but none that shows nothing new.

    The video is decoded once. The pictures returned keep their grey pixels, so that reading them costs no second pass;
    beyond `held_bytes` of compressed pixels they are references only, which are read by seeking.

    Args:
        path: the video.
        max_frames: the most frames to return.
        name: how results call the video; its file name by default.
        held_bytes: memory that the compressed pixels may take.
        progress: told about the frames as they are decoded.

    Raises:
        PictureError: the file is no video, or none of its frames can be decoded.
    """
    path = Path(path)
    info = probe_video(path)
    bins = _Bins(max_frames, (info.duration or max_frames) / max_frames + 1e-9)
    keeper = _Keeper(path, name or path.name, PixelStore(held_bytes))
    candidate: _Candidate | None = None
    first_time: float | None = None
    frame_count = 0
    stage = "read video"
    progress.start(stage, info.frame_count)
    with video_frames(path) as frames:
        for frame in frames:
            frame_count += 1
            progress.advance(stage)
            first_time = frame.time if first_time is None else first_time
            elapsed = max(0.0, frame.time - first_time)
            if candidate is not None and int(elapsed / bins.width_s) != candidate.bin:
                bins.kept.append(keeper.keep(candidate))
                candidate = None
                bins.merge_until_room(elapsed)
            gray = frame.gray()
            score = sharpness(gray)
            if candidate is None or score > candidate.sharpness:
                candidate = _Candidate(int(elapsed / bins.width_s), frame, gray, score)
    if candidate is not None:
        bins.kept.append(keeper.keep(candidate))
    progress.finish(stage)
    chosen = _without_repeats(_one_per_bin(bins.kept))
    return KeyFrames(
        pictures=tuple(kept.picture for kept in chosen),
        sharpness=tuple(kept.sharpness for kept in chosen),
        frame_count=frame_count,
        alike=len(_one_per_bin(bins.kept)) - len(chosen),
        damaged=frames.damaged,
    )


@dataclass
class _Keeper:
    """Turns candidates of one video into pictures."""

    path: Path
    name: str
    store: PixelStore

    def keep(self, candidate: _Candidate) -> _Kept:
        """Keep the frame as a picture."""
        picture = self.store.picture(self.path, self.name, candidate.frame, candidate.gray)
        thumbnail = cv2.resize(candidate.gray, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        return _Kept(candidate.bin, picture, candidate.sharpness, thumbnail)


def _one_per_bin(kept: list[_Kept]) -> list[_Kept]:
    """The sharpest of each bin, in order of time: merging may have brought a later frame into a bin that was closed."""
    best: dict[int, _Kept] = {}
    for item in kept:
        if item.bin not in best or item.sharpness > best[item.bin].sharpness:
            best[item.bin] = item
    return list(best.values())


def _without_repeats(kept: list[_Kept]) -> list[_Kept]:
    """Leave out each frame that looks like the one chosen before it."""
    chosen: list[_Kept] = []
    for item in kept:
        if not chosen or float(np.abs(item.thumbnail - chosen[-1].thumbnail).mean()) >= _SAME_VIEW_LEVELS:
            chosen.append(item)
    return chosen
