"""Recordings that are a video, with depth pictures beside it perhaps, or two videos of a stereo pair."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.media.frame_times import frame_times
from cv3d.media.picture import frame_name
from cv3d.media.sequences.depth_files import DepthReader
from cv3d.media.sequences.frame import SequenceFrame
from cv3d.media.sequences.picture_files import depth_or_told
from cv3d.media.video import VideoFrame, video_frames

_STORED = 1


def frames_of_video(
    path: Path,
    problems: list[str],
    *,
    times: Mapping[int, float] | None = None,
    depth_files: Mapping[int, Path] | None = None,
    depth: DepthReader | None = None,
    is_turned: bool = True,
) -> Generator[SequenceFrame, None, None]:
    """Decode a video, with the depth pictures of its frames.

    Args:
        path: the video.
        problems: receives a sentence for what is missing of it.
        times: stamps by the frame's number in the video, seconds; of the video itself where they are not given.
        depth_files: depth pictures by the frame's number in the video.
        depth: decodes them.
        is_turned: whether frames are turned upright as the video's metadata say; not where the calibration is of the
            pixels as they are stored.

    Raises:
        PictureError: the file is no video, or none of its frames can be decoded.
    """
    # A frame that cannot be decoded takes no number from `video_frames`; its stamp tells which one is missing.
    listed = frame_times(path) if times is not None or depth_files is not None else None
    with video_frames(path) as frames:
        for frame in frames:
            number = frame.index if listed is None else int(np.argmin(np.abs(listed - frame.time)))
            shown = frame if is_turned else replace(frame, orientation=_STORED)
            depth_file = None if depth_files is None else depth_files.get(number)
            yield SequenceFrame(
                number,
                frame.time if times is None else times.get(number, frame.time),
                frame_name(path.name, number),
                shown.gray(),
                None,
                None if depth_file is None or depth is None else depth_or_told(depth, depth_file, problems),
                shown.rgb,
            )
        if frames.damaged is not None:
            problems.append(f"{path}: {frames.damaged}")


def frames_of_stereo_videos(left: Path, right: Path, problems: list[str]) -> Generator[SequenceFrame, None, None]:
    """Decode two videos side by side; a left frame goes with the right one whose stamp is nearest, within half a step.

    Raises:
        PictureError: a file is no video, or none of its frames can be decoded.
    """
    within = 0.5 * _step(frame_times(left))
    alone = 0
    with video_frames(left) as lefts, video_frames(right) as rights:
        present: VideoFrame | None = next(rights, None)
        following: VideoFrame | None = next(rights, None)
        for frame in lefts:
            while following is not None and present is not None:
                if abs(following.time - frame.time) > abs(present.time - frame.time):
                    break
                present, following = following, next(rights, None)
            is_paired = present is not None and abs(present.time - frame.time) <= within
            alone += not is_paired
            gray = present.gray() if present is not None and is_paired else None
            name = frame_name(left.name, frame.index)
            yield SequenceFrame(frame.index, frame.time, name, frame.gray(), gray, None, frame.rgb)
        problems += [f"{one.path}: {one.damaged}" for one in (lefts, rights) if one.damaged is not None]
    if alone:
        problems.append(f"{left}: {alone} frames have no partner in {right}")


def _step(times: NDArray[np.float64]) -> float:
    """Seconds from one frame to the next."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0
