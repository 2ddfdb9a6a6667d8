"""Frames of videos for a rig: sharp moments where the clocks are known, dense samples where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.clocks import Clocks
from cv3d.calibration.rig.frames import Moment, RigInput, RigSources, Timeline
from cv3d.calibration.rig.name_match import moment_times
from cv3d.calibration.rig.recordings import Recording
from cv3d.calibration.rig.stamps import group_nearest, median_period, moment_spreads, moment_stamps, time_names
from cv3d.calibration.rig.table_match import TableMatch
from cv3d.calibration.rig.table_timeline import different_clocks, tabled_frames, tabled_timeline
from cv3d.errors import InputError
from cv3d.media.frame_times import frame_times, pick_frames
from cv3d.media.held import HELD_BYTES, PixelStore
from cv3d.media.inputs import Video
from cv3d.media.moments import PickedMoments, pick_sharp_moments
from cv3d.media.picture import Picture
from cv3d.progress import SILENT, Progress

_DENSE_HZ = 10.0
"""Rate at which videos are sampled to follow the board's motion."""
_SPARSEST_HZ = 5.0
"""Where a video is so long that even this rate gives too many frames, its middle is taken."""
_DENSE_PER_FRAME = 5
"""Frames sampled to find the clocks' offsets, per frame asked for."""
_MUCH_WIDER = 2.0
"""Moments whose stamps lie further apart than this many times the median are taken only where there is no other."""
_HALF_AGAIN = 1.0 / 1.5
"""Ratio of a video's period to that of the frames taken below which frames were left out."""
_SAME_TIME_S = 1e-3
"""Differences of stamps that are none."""


@dataclass(frozen=True)
class Film:
    """A video of one camera."""

    recording: Recording
    times: NDArray[np.float64]
    """Stamps of its frames, (N,), seconds."""

    @property
    def path(self) -> Path:
        """The file."""
        assert self.recording.video is not None
        return self.recording.video.source

    @property
    def label(self) -> str:
        """How results call the file."""
        assert self.recording.video is not None
        return self.recording.video.name


def video_times(recording: Recording) -> NDArray[np.float64]:
    """Stamps of the frames of a camera's video, (N,), increasing, seconds.

    Raises:
        InputError: it is no video, or holds one frame only.
    """
    assert recording.video is not None
    times = frame_times(recording.video.source)
    if len(times) < 2:
        raise InputError(f"{recording.video.source}: holds one frame only")
    return times


def tabled_videos(films: Sequence[Film], table: TableMatch, max_frames: int, progress: Progress) -> RigSources:
    """Sharp moments of videos whose frames a table puts together."""
    if table.members is None:
        sources = dense_videos(films, table, max_frames, progress)
        return replace(sources, warnings=(*table.warnings, different_clocks(table), *sources.warnings))
    frames = tabled_frames(table)
    worth = np.flatnonzero((frames >= 0).sum(axis=1) > 1)
    if not len(worth):
        raise InputError(f"{table.tables[0]}: puts no frames of two cameras together")
    stamps = _video_stamps(films, frames)
    when = np.nanmin(stamps - np.array([film.times[0] for film in films]), axis=1)
    worth = worth[np.argsort(when[worth], kind="stable")]
    worth = worth[_are_increasing(stamps[worth])]
    limit = moment_limit(len(films), max_frames)
    picked = pick_moments(films, stamps[worth], when[worth], table.spreads_s[worth], limit, progress)
    rows = table.members[worth[list(picked.moments)]]
    cameras, members = _held(films, picked)
    rows = np.where(members >= 0, rows, -1)
    if table.stamps is not None:
        cameras = tuple(
            replace(camera, times=tuple(table.stamps[index][own[own >= 0]].tolist()))
            for index, (camera, own) in enumerate(zip(cameras, rows.T, strict=True))
        )
    timeline = tabled_timeline(table, rows, members, [film.recording.name for film in films])
    return RigSources(cameras, timeline, (*table.warnings, *_damage(films, picked.damaged)))


def _video_stamps(films: Sequence[Film], frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """(M, C), the videos' own stamps of frames, seconds; NaN for none."""
    columns = [np.where(own >= 0, film.times[own.clip(0)], np.nan) for own, film in zip(frames.T, films, strict=True)]
    return np.stack(columns, axis=1)


def _are_increasing(stamps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(M,), whether each row lies after all before it in every column: a video is read once, forwards."""
    latest = np.full(stamps.shape[1], -np.inf)
    kept = np.zeros(len(stamps), np.bool_)
    for index, row in enumerate(stamps):
        seen = ~np.isnan(row)
        if (row[seen] > latest[seen]).all():
            kept[index] = True
            latest[seen] = row[seen]
    return kept


def moment_limit(cameras: int, max_frames: int) -> int:
    """Moments to take: in a rig of more than two cameras no moment is seen by all of them."""
    return max_frames if cameras == 2 else 2 * max_frames


def pick_moments(
    films: Sequence[Film],
    stamps: NDArray[np.float64],
    when: NDArray[np.float64],
    spreads_s: NDArray[np.float64],
    limit: int,
    progress: Progress,
) -> PickedMoments:
    """Of equal stretches of time the sharpest moment each, among those whose frames are near enough in time.

    Args:
        films: the videos, C of them.
        stamps: (M, C) the videos' own stamps, increasing, seconds; NaN for none.
        when: (M,) the moments' time, not decreasing, seconds.
        spreads_s: (M,) largest difference of true times within each moment, seconds; NaN where unknown.
        limit: the most moments to take.
        progress: told about the moments as they are read.
    """
    width = (when[-1] - when[0]) / limit * (1.0 + 1e-9) + 1e-12
    stretches = np.floor((when - when[0]) / width).astype(np.int64) if len(when) > limit else np.arange(len(when))
    return _pick(films, stamps, stretches, spreads_s, progress)


def _pick(
    films: Sequence[Film],
    stamps: NDArray[np.float64],
    stretches: NDArray[np.int64],
    spreads_s: NDArray[np.float64],
    progress: Progress,
) -> PickedMoments:
    """Of each stretch the sharpest moment among those whose frames are near enough in time."""
    known = np.isfinite(spreads_s)
    near = np.ones(len(stretches), np.bool_)
    if known.any():
        near[known] = spreads_s[known] <= _MUCH_WIDER * np.median(spreads_s[known]) + _SAME_TIME_S
    near |= ~np.isin(stretches, stretches[near])
    chosen = np.flatnonzero(near)
    paths, names = [film.path for film in films], [film.label for film in films]
    picked = pick_sharp_moments(paths, names, stamps[chosen], stretches[chosen], progress=progress)
    return replace(picked, moments=tuple(int(chosen[index]) for index in picked.moments))


def _held(films: Sequence[Film], picked: PickedMoments) -> tuple[tuple[RigInput, ...], NDArray[np.int64]]:
    """The pictures picked, camera by camera, and (M, C) which of them each moment consists of, -1 for none."""
    members = np.full((len(picked.pictures), len(films)), -1, np.int64)
    cameras = []
    for camera, film in enumerate(films):
        own = [row[camera] for row in picked.pictures]
        seen = np.array([picture is not None for picture in own], np.bool_)
        members[seen, camera] = np.arange(int(seen.sum()))
        pictures = tuple(picture for picture in own if picture is not None)
        cameras.append(
            RigInput(film.recording.name, pictures, tuple(float(picture.time or 0.0) for picture in pictures))
        )
    return tuple(cameras), members


def _damage(films: Sequence[Film], damaged: Sequence[str | None]) -> tuple[str, ...]:
    pairs = zip(films, damaged, strict=True)
    return tuple(f"{film.label}: {what}; the frames before that are used" for film, what in pairs if what)


def dense_videos(films: Sequence[Film], table: TableMatch | None, max_frames: int, progress: Progress) -> RigSources:
    """Frames in which the board's motion can be followed, with no word yet on which belong together.

    Args:
        films: the videos.
        table: stamps of their frames by better clocks than their own, where there are any.
        max_frames: what the user asked for.
        progress: told about the frames as they are read.
    """
    cameras: list[RigInput] = []
    warnings: list[str] = []
    for index, film in enumerate(films):
        times = film.times if table is None else film.times[table.frames[index]]
        clock = times if table is None or table.stamps is None else table.stamps[index]
        sampled = _dense_sample(times, _DENSE_PER_FRAME * max_frames)
        store = PixelStore(HELD_BYTES // len(films))
        picked = pick_frames(film.path, times[sampled], name=film.label, store=store, progress=progress)
        seen = [(picture, float(clock[row])) for picture, row in zip(picked.pictures, sampled, strict=True) if picture]
        cameras.append(
            RigInput(film.recording.name, tuple(picture for picture, _ in seen), tuple(time for _, time in seen))
        )
        warnings += _damage([film], [picked.damaged])
    return RigSources(tuple(cameras), None, tuple(warnings))


def _dense_sample(times: NDArray[np.float64], limit: int) -> NDArray[np.int64]:
    """Indices of frames at a steady rate at which a hand-held board's motion can be followed.

    All of a video at 10 Hz or its own lower rate; where that is too much, at a rate down to 5 Hz; and where even that
    is too much, its middle.

    Args:
        times: stamps, (N,), increasing, seconds.
        limit: the most frames to take.
    """
    span = float(times[-1] - times[0])
    rate = min(_DENSE_HZ, max(_SPARSEST_HZ, limit / max(span, 1e-9)))
    stride = max(1, int(1.0 / (rate * median_period(times)) + 1e-6))
    indices = np.arange(0, len(times), stride)
    surplus = len(indices) - limit
    return indices if surplus <= 0 else indices[surplus // 2 : surplus // 2 + limit]


def resample_rig(sources: RigSources, clocks: Clocks, timeline: Timeline, *, progress: Progress = SILENT) -> RigSources:
    """Take from videos the frames that lie nearest in time, once the clocks of the cameras are known.

    The dense samples that :func:`cv3d.calibration.rig.inputs.gather_rig` gives lie up to half their spacing apart
    between cameras. Here all frames of the videos are matched, and about each moment of the timeline the sharpest of
    those moments is taken whose frames are nearest to one another.

    Args:
        sources: dense samples of videos; picture files come back as they are, with the timeline.
        clocks: of their cameras, as :func:`cv3d.calibration.rig.sync.find_clocks` gives them.
        timeline: the moments wanted, by :func:`cv3d.calibration.rig.sync.find_timeline`.
        progress: told about the moments as they are read.

    Raises:
        PictureError: a video cannot be read any more.
    """
    films = [film for camera in sources.cameras if (film := _film_of(camera)) is not None]
    if len(films) < len(sources.cameras):
        return replace(sources, timeline=timeline)
    own = [_own_clock(camera, film.times) for camera, film in zip(sources.cameras, films, strict=True)]
    common = [clocks.on_first(camera, times) for camera, times in enumerate(own)]
    frames = group_nearest(common)
    nothing = np.zeros(len(films))
    when = moment_times(moment_stamps(frames, common, nothing))
    spreads = moment_spreads(frames, common, nothing)
    wanted = np.array(sorted(moment.time for moment in timeline.moments if moment.time is not None))
    reach = 0.5 * max(median_period(camera.times or ()) for camera in sources.cameras)
    nearest = np.abs(when[:, None] - wanted[None]).argmin(axis=1)
    worth = np.flatnonzero(((frames >= 0).sum(axis=1) > 1) & (np.abs(when - wanted[nearest]) <= reach))
    worth = worth[np.lexsort([when[worth], nearest[worth]])]
    stamps = _video_stamps(films, frames[worth])
    forwards = _are_increasing(stamps)
    worth, stamps = worth[forwards], stamps[forwards]
    picked = _pick(films, stamps, nearest[worth], spreads[worth], progress)
    cameras, members = _held(films, picked)
    chosen = worth[list(picked.moments)]
    cameras = tuple(
        replace(camera, times=tuple(times[rows[there >= 0]].tolist()))
        for camera, times, rows, there in zip(cameras, own, frames[chosen].T, members.T, strict=True)
    )
    return RigSources(cameras, _resampled(timeline, members, when[chosen], spreads[chosen]), sources.warnings)


def skips_frames(sources: RigSources) -> bool:
    """Whether all pictures are frames of videos, and a video has more frames than were taken of it."""
    films = [_film_of(camera) for camera in sources.cameras]
    return all(film is not None for film in films) and any(
        median_period(film.times)
        < _HALF_AGAIN * median_period([p.time or 0.0 for p in camera.pictures if isinstance(p, Picture)])
        for film, camera in zip(films, sources.cameras, strict=True)
        if film is not None
    )


def _film_of(camera: RigInput) -> Film | None:
    """The video that a camera's pictures are frames of; None for picture files."""
    first = camera.pictures[0]
    if not isinstance(first, Picture) or first.frame is None:
        return None
    video = Video(first.name.rpartition("#")[0], first.source)
    return Film(Recording(camera.name, first.source.parent, (), video), frame_times(first.source))


def _own_clock(camera: RigInput, frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stamps of all frames of a video on the clock of the camera's samples, which a table may have set, seconds."""
    sampled = np.array([picture.time for picture in camera.pictures if isinstance(picture, Picture)], np.float64)
    stamps = np.asarray(camera.times, np.float64)
    rate = float(np.ptp(stamps) / np.ptp(sampled)) if np.ptp(sampled) > 0.0 else 1.0
    own = np.interp(frames, sampled, stamps)
    own = np.where(frames < sampled[0], stamps[0] + rate * (frames - sampled[0]), own)
    return np.where(frames > sampled[-1], stamps[-1] + rate * (frames - sampled[-1]), own)


def _resampled(
    timeline: Timeline, members: NDArray[np.int64], when: NDArray[np.float64], spreads_s: NDArray[np.float64]
) -> Timeline:
    """A timeline with other pictures of the same clocks."""
    moments = tuple(
        Moment(name, float(time), tuple(None if index < 0 else int(index) for index in row))
        for name, time, row in zip(time_names(when), when, members, strict=True)
    )
    known = spreads_s[np.isfinite(spreads_s)]
    spread = float(known.max()) if len(known) else float("nan")
    clocks = timeline.synchronisation.sentence.partition("; ")[0].partition(" moments")[2]
    sentence = f"{len(moments)} moments{clocks}"
    if len(known):
        sentence += (
            f"; frames of one moment are {1000.0 * float(np.median(known)):.1f} ms apart in the median and at most "
            f"{1000.0 * spread:.1f} ms"
        )
    return Timeline(moments, replace(timeline.synchronisation, sentence=sentence, spread_s=spread), timeline.warnings)
