"""Choosing sharp, varied moments of several videos whose frames are known to belong together, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.media.frame_times import FrameCursor
from cv3d.media.held import HELD_BYTES, PixelStore
from cv3d.media.picture import Picture
from cv3d.media.sharpness import sharpness
from cv3d.media.video import VideoFrame
from cv3d.progress import SILENT, Progress

_THUMBNAIL = (48, 48)
_SAME_VIEW_LEVELS = 1.0
"""Mean absolute difference of thumbnails, grey levels, below which two frames show the same."""
_COMPARED = 8
"""Moments of one stretch among which the sharpest is looked for: more cost time and gain little."""
_FLATTEST = 1e-6
"""Sharpness of a frame without edges, where logarithms are taken."""


@dataclass(frozen=True)
class PickedMoments:
    """The moments chosen from several videos."""

    moments: tuple[int, ...]
    """Indices of the moments chosen, in order."""
    pictures: tuple[tuple[Picture | None, ...], ...]
    """For each of them one picture per video; None where the video has none or it cannot be decoded."""
    damaged: tuple[str | None, ...]
    """For each video what is missing of it, in words for the user; None where it is whole."""


@dataclass
class _Candidate:
    """The sharpest moment of one stretch so far."""

    moment: int
    frames: list[tuple[VideoFrame, NDArray[np.uint8]] | None]
    score: float


def pick_sharp_moments(
    paths: Sequence[Path],
    names: Sequence[str],
    stamps: NDArray[np.float64],
    stretches: NDArray[np.int64],
    *,
    store: PixelStore | None = None,
    progress: Progress = SILENT,
) -> PickedMoments:
    """Choose of each stretch the moment whose frames are sharpest together, but none that shows nothing new.

    Every video is decoded once, all side by side. Sharpness is compared by its geometric mean over the videos, so that
    none counts more for showing more edges; a moment with more frames goes before one with fewer.

    Args:
        paths: the videos, C of them.
        names: how results call them.
        stamps: (M, C), each moment's frame in each video by its stamp, seconds; NaN where it has none. Increasing down
            each column.
        stretches: (M,), the stretch of time that each moment lies in, not decreasing; of long ones only a few evenly
            spaced moments are compared.
        store: holds the pixels of what is chosen; one of its own by default.
        progress: told about the moments as they are read.

    Raises:
        InputError: a file cannot be read.
        PictureError: a file is no video, or none of its frames can be decoded.
    """
    store = store or PixelStore(HELD_BYTES)
    chosen: list[int] = []
    pictures: list[tuple[Picture | None, ...]] = []
    last: list[NDArray[np.float32] | None] = [None] * len(paths)

    def keep(candidate: _Candidate) -> None:
        thumbnails = [None if item is None else _thumbnail(item[1]) for item in candidate.frames]
        if chosen and not _is_new(thumbnails, last):
            return
        chosen.append(candidate.moment)
        kept = zip(paths, names, candidate.frames, strict=True)
        pictures.append(tuple(None if item is None else store.picture(path, name, *item) for path, name, item in kept))
        last[:] = [old if new is None else new for new, old in zip(thumbnails, last, strict=True)]

    compared = _spread_within(stretches)
    stage = "read videos"
    progress.start(stage, len(compared))
    with ExitStack() as stack:
        cursors = [stack.enter_context(FrameCursor(path)) for path in paths]
        best: _Candidate | None = None
        for moment in compared:
            is_alone = int((stretches[compared] == stretches[moment]).sum()) == 1
            candidate = _candidate(int(moment), cursors, stamps[moment], is_compared=not is_alone)
            progress.advance(stage)
            if best is not None and stretches[best.moment] != stretches[moment]:
                keep(best)
                best = None
            if candidate is not None and (best is None or candidate.score > best.score):
                best = candidate
        if best is not None:
            keep(best)
        damaged = tuple(cursor.damaged() for cursor in cursors)
    progress.finish(stage)
    return PickedMoments(tuple(chosen), tuple(pictures), damaged)


def _spread_within(stretches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of at most `_COMPARED` evenly spaced moments of each stretch."""
    kept = []
    for stretch in np.unique(stretches):
        members = np.flatnonzero(stretches == stretch)
        places = np.linspace(0, len(members) - 1, min(_COMPARED, len(members))).round().astype(int)
        kept.append(members[np.unique(places)])
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def _candidate(
    moment: int, cursors: Sequence[FrameCursor], stamps: NDArray[np.float64], *, is_compared: bool
) -> _Candidate | None:
    """The frames of one moment; None where none of them can be decoded."""
    frames: list[tuple[VideoFrame, NDArray[np.uint8]] | None] = []
    score = 0.0
    for cursor, stamp in zip(cursors, stamps, strict=True):
        frame = None if np.isnan(stamp) else cursor.at(float(stamp))
        if frame is None:
            frames.append(None)
            continue
        gray = frame.gray()
        frames.append((frame, gray))
        if is_compared:
            score += np.log(max(sharpness(gray), _FLATTEST) / _FLATTEST)
    if not any(frames):
        return None
    return _Candidate(moment, frames, score)


def _thumbnail(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.resize(gray, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)


def _is_new(thumbnails: Sequence[NDArray[np.float32] | None], last: Sequence[NDArray[np.float32] | None]) -> bool:
    """Whether any video shows something else than in the moment chosen before."""
    pairs = zip(thumbnails, last, strict=True)
    return any(
        new is not None and (old is None or float(np.abs(new - old).mean()) >= _SAME_VIEW_LEVELS) for new, old in pairs
    )
