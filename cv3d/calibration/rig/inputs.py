"""From what the user names to the pictures of a rig, and which of them are of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cv3d.calibration.rig.films import Film, dense_videos, resample_rig, tabled_videos, video_times
from cv3d.calibration.rig.frames import Moment, RigInput, RigSources
from cv3d.calibration.rig.name_match import match_pictures
from cv3d.calibration.rig.recordings import Recording, find_recordings
from cv3d.calibration.rig.table_match import TableMatch, match_tables
from cv3d.calibration.rig.table_timeline import different_clocks, table_in_words, tabled_frames, tabled_timeline
from cv3d.errors import InputError
from cv3d.progress import SILENT, Progress

__all__ = ["MAX_FRAMES", "gather_rig", "resample_rig"]

MAX_FRAMES = 60
"""Moments taken from videos, unless told otherwise; twice as many for more than two cameras."""


def gather_rig(
    inputs: Sequence[str | Path],
    max_frames: int = MAX_FRAMES,
    *,
    stamps: Path | None = None,
    by_motion: bool = False,
    progress: Progress = SILENT,
) -> RigSources:
    """Find the pictures of a rig's cameras, and which of them were taken at one moment.

    Each input is one camera: a folder, a glob or a video; picture files alone are dealt to cameras by their names, and
    one folder alone may hold a sub-folder or a video for each. Frames are matched by a table of stamps, else by stamps
    in file names, by the names, by EXIF times, and at last by order. Videos without a table have no common clock, so
    they come as dense samples without a timeline: :func:`cv3d.calibration.rig.sync.find_timeline` finds one.

    Args:
        inputs: the cameras.
        max_frames: how many moments to take from videos (twice as many for more than two cameras, as no moment is seen
            by all of them). Pictures are taken all.
        stamps: a table of stamps, or a folder with one for each camera; None: looked for beside the inputs.
        by_motion: do not believe what stamps say of which frames belong together: they serve as clocks only, and the
            sources come dense and without a timeline.
        progress: told about videos as they are read.

    Raises:
        InputError: an input is missing or holds nothing usable, there is one camera only, two have recorded the same,
            the table cannot be used, or nothing tells which pictures belong together.
    """
    recordings = find_recordings(inputs)
    filmed = [item.name for item in recordings if item.video is not None]
    if 0 < len(filmed) < len(recordings):
        others = ", ".join(item.name for item in recordings if item.video is None)
        raise InputError(
            f"{', '.join(filmed)} recorded videos but {others} single pictures; a rig wants one kind for all"
        )
    clocks = [None if item.video is None else video_times(item) for item in recordings]
    table, warnings = match_tables(recordings, clocks, stamps)
    films = [Film(item, own) for item, own in zip(recordings, clocks, strict=True) if own is not None]
    if by_motion:
        sources = dense_videos(films, table, max_frames, progress) if films else _unjoined(recordings, table)
    elif table is None:
        sources = dense_videos(films, None, max_frames, progress) if films else match_pictures(recordings)
    elif films:
        sources = tabled_videos(films, table, max_frames, progress)
    else:
        sources = _tabled_pictures(recordings, table)
    sources = replace(sources, warnings=(*warnings, *sources.warnings))
    for warning in sources.warnings:
        progress.warn(warning)
    return sources


def _unjoined(recordings: Sequence[Recording], table: TableMatch | None) -> RigSources:
    """Pictures with stamps, but without a word on which belong together.

    Raises:
        InputError: they have no stamps.
    """
    sources = match_pictures(recordings) if table is None else _tabled_pictures(recordings, table)
    for camera in sources.cameras:
        if camera.times is None:
            raise InputError(
                f"{camera.name}: its pictures have no time stamps, so the board's motion cannot be followed"
            )
    return replace(sources, timeline=None)


def _tabled_pictures(recordings: Sequence[Recording], table: TableMatch) -> RigSources:
    """Pictures put together by a table; those without a row serve their own camera."""
    counts = [len(item.pictures) for item in recordings]
    is_whole = all(len(own) == count for own, count in zip(table.frames, counts, strict=True))
    times = table.stamps if is_whole else None
    cameras = tuple(
        RigInput(item.name, item.pictures, None if times is None else tuple(times[camera].tolist()))
        for camera, item in enumerate(recordings)
    )
    if table.members is None:
        if times is None:
            raise InputError(f"{table.tables[0]}: its clocks differ, and it has no stamps for some of the pictures")
        return RigSources(cameras, None, (*table.warnings, different_clocks(table)))
    members = tabled_frames(table)
    rowless = []
    for camera, count in enumerate(counts):
        for index in sorted(set(range(count)) - set(table.frames[camera].tolist())):
            rowless.append([index if other == camera else -1 for other in range(len(counts))])
    timeline = tabled_timeline(table, table.members, members, [item.name for item in recordings])
    single = tuple(
        Moment(recordings[camera].pictures[index].name, None, tuple(None if i < 0 else i for i in row))
        for row in rowless
        for camera, index in enumerate(row)
        if index >= 0
    )
    said = (
        (f"{table_in_words(table)} says nothing about {len(rowless)} pictures; they serve their own camera only",)
        if rowless
        else ()
    )
    return RigSources(cameras, replace(timeline, moments=timeline.moments + single), (*table.warnings, *said))
