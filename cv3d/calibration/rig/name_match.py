"""Picture files of different cameras put together by their names, by stamps in names or EXIF data, or by order."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.frames import Moment, RigInput, RigSources, Timeline
from cv3d.calibration.rig.names import name_keys
from cv3d.calibration.rig.recordings import Recording
from cv3d.calibration.rig.result import Synchronisation, SyncMethod
from cv3d.calibration.rig.stamps import (
    StampMatch,
    drifts,
    exif_stamps,
    match_stamps,
    median_period,
    moment_stamps,
    name_stamps,
    time_names,
)
from cv3d.errors import InputError

_BELIEVABLE = 0.3
"""Share of the smallest camera's pictures that must have a counterpart for names to be believed at once."""
_DOUBT = (
    "pictures of equal numbers were taken at different times by their EXIF data, so the numbers of the file names do "
    "not tell which belong together"
)
_DENSE_PERIOD_S = 0.5
"""Pictures taken at least this often follow the board's motion."""


def match_pictures(recordings: Sequence[Recording]) -> RigSources:
    """Put the pictures of a rig together.

    Raises:
        InputError: nothing tells which pictures are of one moment.
    """
    named = [name_stamps(item.pictures) for item in recordings]
    by_name = _complete(named)
    if by_name is not None:
        match = match_stamps(by_name)
        if match is not None:
            return stamped_sources(recordings, by_name, match, SyncMethod.STAMP, "the time stamps in the file names")
    keys = name_keys([[picture.source.stem for picture in item.pictures] for item in recordings])
    members = _by_key(keys)
    partners = (members[(members >= 0).sum(axis=1) > 1] >= 0).sum(axis=0)
    share = partners.max() / min(len(item.pictures) for item in recordings) if len(partners) else 0.0
    taken = _complete([exif_stamps(item.pictures) for item in recordings]) if by_name is None else None
    by_exif = None if taken is None else match_stamps(taken)
    if share >= _BELIEVABLE:
        if taken is None or by_exif is None or not _contradict(members, by_exif, taken):
            return _named_sources(recordings, members)
        sources = stamped_sources(recordings, taken, by_exif, SyncMethod.STAMP, "the pictures' EXIF times")
        return RigSources(sources.cameras, sources.timeline, (*sources.warnings, _DOUBT))
    if taken is not None and by_exif is not None:
        return stamped_sources(recordings, taken, by_exif, SyncMethod.STAMP, "the pictures' EXIF times")
    if by_name is not None and max(median_period(own) for own in by_name) <= _DENSE_PERIOD_S:
        return RigSources(stamped_cameras(recordings, by_name)[0], None)
    if share > 0.0:
        return _named_sources(recordings, members)
    return _in_order(recordings)


def _complete(stamps: Sequence[tuple[float, ...] | None]) -> list[tuple[float, ...]] | None:
    known = [own for own in stamps if own is not None]
    return known if len(known) == len(stamps) else None


def _by_key(keys: Sequence[Sequence[Hashable]]) -> NDArray[np.int64]:
    """(M, C) pictures with equal keys; a key that a camera has twice belongs to its first picture."""
    rows: dict[Hashable, list[int]] = {}
    extra: list[tuple[int, int]] = []
    for camera, own in enumerate(keys):
        for index, key in enumerate(own):
            row = rows.setdefault(key, [-1] * len(keys))
            if row[camera] < 0:
                row[camera] = index
            else:
                extra.append((camera, index))
    members = [list(row) for row in rows.values()]
    for camera, index in extra:
        single = [-1] * len(keys)
        single[camera] = index
        members.append(single)
    return _in_sequence(np.array(members, np.int64))


def _in_sequence(members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Moments in the order of the first camera's pictures, those without it where they fall in their own camera's."""
    places = np.where(members >= 0, members.astype(np.float64), np.inf)
    counts = np.maximum(1, members.max(axis=0))
    relative = np.where(members >= 0, places / counts, np.inf).min(axis=1)
    has_first = members[:, 0] >= 0
    relative[has_first] = places[has_first, 0] / counts[0]
    return members[np.argsort(relative, kind="stable")]


def _contradict(members: NDArray[np.int64], by_exif: StampMatch, taken: Sequence[tuple[float, ...]]) -> bool:
    """Whether pictures of one number were taken at times that differ much less steadily than the nearest ones do."""
    clocks = [np.asarray(own) for own in taken]
    stamps = moment_stamps(members, clocks, np.zeros(len(clocks)))
    nearest = moment_stamps(by_exif.members, clocks, np.zeros(len(clocks)))
    for camera in range(1, len(clocks)):
        period = min(median_period(clocks[0]), median_period(clocks[camera]))
        named, near = (_unsteadiness(table[:, camera] - table[:, 0]) for table in (stamps, nearest))
        if named > 3.0 * near + 0.1 * period:
            return True
    return False


def _unsteadiness(differences: NDArray[np.float64]) -> float:
    """How far differences of stamps, NaN where there are none, lie from their median, for most of them."""
    known = differences[np.isfinite(differences)]
    return float(np.quantile(np.abs(known - np.median(known)), 0.8)) if len(known) > 2 else 0.0


def _named_sources(recordings: Sequence[Recording], members: NDArray[np.int64]) -> RigSources:
    complete = int(((members >= 0).sum(axis=1) > 1).sum())
    moments = tuple(
        Moment(_common_name(recordings, row), None, tuple(None if index < 0 else int(index) for index in row))
        for row in members
    )
    cameras = tuple(RigInput(item.name, item.pictures, None) for item in recordings)
    sentence = f"{complete} moments, pictures matched by the numbers and words of their file names"
    return RigSources(
        cameras,
        _timeline(moments, SyncMethod.NAME, sentence, len(cameras), float("nan")),
        tuple(_singles(recordings, members)),
    )


def _common_name(recordings: Sequence[Recording], row: NDArray[np.int64]) -> str:
    """What the names of a moment's pictures have in common."""
    stems: list[str] = [recordings[camera].pictures[i].source.stem for camera, i in enumerate(row.tolist()) if i >= 0]
    if len({stem.casefold() for stem in stems}) == 1:
        return stems[0]
    runs: list[list[str]] = [re.findall(r"\d+", stem) for stem in stems]
    shared = [run for run in runs[0] if all(int(run) in map(int, other) for other in runs)]
    return "-".join(shared) if shared else stems[0]


def _singles(recordings: Sequence[Recording], members: NDArray[np.int64]) -> list[str]:
    """A warning about pictures that no other camera has a counterpart for."""
    alone = members[(members >= 0).sum(axis=1) == 1] >= 0
    counts = alone.sum(axis=0)
    if not counts.any():
        return []
    totals = ", ".join(
        f"{count} of {len(item.pictures)} of {item.name}"
        for count, item in zip(counts, recordings, strict=True)
        if count
    )
    return [f"pictures without a counterpart in another camera: {totals}; they serve their own camera only"]


def stamped_cameras(
    recordings: Sequence[Recording], times: Sequence[Sequence[float]]
) -> tuple[tuple[RigInput, ...], list[NDArray[np.int64]]]:
    """Cameras with their pictures in the order of time, and the place of each picture in that order."""
    cameras, places = [], []
    for item, own in zip(recordings, times, strict=True):
        order = np.argsort(np.asarray(own), kind="stable")
        cameras.append(RigInput(item.name, tuple(item.pictures[i] for i in order), tuple(float(own[i]) for i in order)))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        places.append(place)
    return tuple(cameras), places


def stamped_sources(
    recordings: Sequence[Recording],
    times: Sequence[Sequence[float]],
    match: StampMatch,
    method: SyncMethod,
    by: str,
) -> RigSources:
    """Pictures put together by stamps, as the inputs of a rig.

    Args:
        recordings: the cameras, all of them with pictures.
        times: stamps of their pictures, seconds.
        match: which belong together.
        method: what the stamps are of.
        by: the same in words, e.g. "the time stamps in the file names".
    """
    cameras, places = stamped_cameras(recordings, times)
    stamps = moment_stamps(match.members, [np.asarray(own, np.float64) for own in times], match.clock_shifts_s)
    members = match.members.copy()
    for camera, place in enumerate(places):
        seen = members[:, camera] >= 0
        members[seen, camera] = place[members[seen, camera]]
    timeline = stamped_timeline(
        members, stamps, match.spreads_s, match.clock_shifts_s, [item.name for item in recordings], method, by
    )
    return RigSources(cameras, timeline, tuple(_singles(recordings, members)))


def stamped_timeline(
    members: NDArray[np.int64],
    stamps: NDArray[np.float64],
    spreads_s: NDArray[np.float64],
    shifts_s: NDArray[np.float64],
    names: Sequence[str],
    method: SyncMethod,
    by: str,
) -> Timeline:
    """A timeline of moments that stamps tell.

    Args:
        members: (M, C) indices into each camera's pictures, -1 for none.
        stamps: (M, C) seconds on the first camera's clock, NaN for none.
        spreads_s: (M,) largest difference of stamps in each moment; NaN where unknown.
        shifts_s: (C,) what was added to each camera's stamps.
        names: the cameras' names, (C,).
        method: what tells.
        by: the same in words.
    """
    times = moment_times(stamps)
    moments = tuple(
        Moment(name, float(time), tuple(None if index < 0 else int(index) for index in row))
        for name, time, row in zip(time_names(times), times, members, strict=True)
    )
    several = int(((members >= 0).sum(axis=1) > 1).sum())
    sentence = f"{several} moments, frames matched by {by}"
    known = spreads_s[np.isfinite(spreads_s)]
    spread = float(known.max()) if len(known) else float("nan")
    if len(known):
        sentence += (
            f", {1000.0 * float(np.median(known)):.1f} ms apart in the median and at most {1000.0 * spread:.1f} ms"
        )
    shifted = [f"{name} {shift:+.3f} s" for name, shift in zip(names, shifts_s, strict=True) if shift]
    if shifted:
        sentence += f"; clocks corrected by a constant: {', '.join(shifted)}"
    timeline = _timeline(moments, method, sentence, len(names), spread)
    return replace(timeline, warnings=tuple(drifts(stamps, names)))


def moment_times(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M,), the first camera's stamp of each moment, else the mean of the others', seconds."""
    times = stamps[:, 0].copy()
    missing = np.isnan(times)
    times[missing] = np.nanmean(stamps[missing], axis=1)
    return times


def _timeline(
    moments: tuple[Moment, ...], method: SyncMethod, sentence: str, cameras: int, spread_s: float
) -> Timeline:
    zeros = (0.0,) * cameras
    return Timeline(moments, Synchronisation(method, sentence, zeros, zeros, spread_s))


def _in_order(recordings: Sequence[Recording]) -> RigSources:
    counts = [len(item.pictures) for item in recordings]
    if len(set(counts)) > 1:
        told = ", ".join(f"{item.name} {count}" for item, count in zip(recordings, counts, strict=True))
        examples = " and ".join(item.pictures[0].name for item in recordings[:2])
        raise InputError(
            f"nothing tells which pictures are of one moment: names such as {examples} have no number in common, there "
            f"are no time stamps, and the counts differ ({told}); give pictures of one moment the same number, or a "
            "table of stamps"
        )
    moments = tuple(Moment(f"{index + 1}", None, (index,) * len(recordings)) for index in range(counts[0]))
    cameras = tuple(RigInput(item.name, item.pictures, None) for item in recordings)
    sentence = f"{counts[0]} moments, pictures matched by their order, as nothing else tells which belong together"
    warning = (
        "the pictures' names have nothing in common and there are no time stamps: the n-th picture of each camera is "
        "taken to be of one moment"
    )
    return RigSources(cameras, _timeline(moments, SyncMethod.ORDER, sentence, len(cameras), float("nan")), (warning,))
