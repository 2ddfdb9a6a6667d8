"""The table of stamps that belongs to a rig: where it lies, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.recordings import Recording
from cv3d.calibration.rig.stamps import group_nearest, match_stamps, median_period, moment_spreads
from cv3d.calibration.rig.table_rows import CameraRows, RowReader
from cv3d.calibration.rig.tables import TABLE_SUFFIXES, Grid, read_grid
from cv3d.errors import FormatError, InputError

_TELLING_NAME = re.compile(r"time|stamp|sync", re.IGNORECASE)
"""Files so named are meant as tables of stamps, so that the user hears of one that cannot be used."""
_PLAIN_COLUMNS = 4
"""A file found beside the pictures that has more columns holds something else than stamps."""


@dataclass(frozen=True)
class TableMatch:
    """What tables of stamps say of a rig."""

    tables: tuple[Path, ...]
    """One for all cameras, or one per camera."""
    frames: tuple[NDArray[np.int64], ...]
    """For each camera the indices of its pictures or video frames that have a row, (k,), increasing."""
    stamps: tuple[NDArray[np.float64], ...] | None
    """For each camera their stamps, (k,), seconds; None where the tables hold none."""
    members: NDArray[np.int64] | None
    """(M, C), for each moment the row of each camera, -1 for none; None where the stamps are of clocks that differ by
    an unknown offset."""
    spreads_s: NDArray[np.float64]
    """(M,), the largest difference of stamps in each moment, seconds; NaN where there are none."""
    shifts_s: NDArray[np.float64]
    """(C,), what was added to each camera's stamps to get the first camera's clock, seconds."""
    warnings: tuple[str, ...]


def match_tables(
    recordings: Sequence[Recording], video_times: Sequence[NDArray[np.float64] | None], given: Path | None
) -> tuple[TableMatch | None, tuple[str, ...]]:
    """Look for a table of stamps and put the frames together by it.

    A table for all cameras lies beside their videos or folders; a camera's own lies in or just above its folder, or
    beside its video and carries its name.

    Args:
        recordings: the cameras.
        video_times: for each camera the stamps of its video's frames, seconds; None for pictures.
        given: the table, or a folder of tables, that the user names; None: looked for.

    Returns:
        What the tables say, None where there are none; and warnings about tables that cannot be used.

    Raises:
        InputError: the table named by the user is missing or cannot be used.
    """
    if given is not None and not given.exists():
        raise InputError(f"{given}: no such table of stamps")
    warnings: list[str] = []
    folders = [given] if given is not None else list(_shared_folders(recordings))
    for path in _tables_in(folders):
        try:
            grid = read_grid(path)
            reader = RowReader(recordings, video_times)
            rows = reader.shared(grid)
            if rows is not None:
                return _matched((path,), rows, [*reader.warnings, *_uneven(grid)]), tuple(warnings)
        except FormatError as error:
            if given == path:
                raise
            if _TELLING_NAME.search(path.stem):
                warnings.append(f"{error}; it is not used")
    own = _own_tables(recordings, video_times, given, warnings)
    if own is not None:
        return own, tuple(warnings)
    if given is not None:
        raise InputError(
            f"{given}: not recognised as a table of stamps of these cameras ({_known(recordings)}); it wants a row for "
            "each frame with columns for camera, frame or file, and time"
        )
    return None, tuple(dict.fromkeys(warnings))


def _known(recordings: Sequence[Recording]) -> str:
    return ", ".join(item.name for item in recordings)


def _shared_folders(recordings: Sequence[Recording]) -> Iterator[Path]:
    """Folders in which a table for all cameras may lie, the nearest first."""
    folders = {item.folder.resolve() for item in recordings}
    if len(folders) == 1:
        yield recordings[0].folder
        return
    above = {folder.parent for folder in folders}
    if len(above) == 1:
        yield recordings[0].folder.parent


def _tables_in(places: Sequence[Path]) -> list[Path]:
    """Text tables, those named like tables of stamps first."""
    found: list[Path] = []
    for place in places:
        if place.is_file():
            found.append(place)
        elif place.is_dir():
            inside = [path for path in place.iterdir() if path.suffix.lower() in TABLE_SUFFIXES and path.is_file()]
            visible = [path for path in inside if not path.name.startswith(".")]
            found += sorted(visible, key=lambda path: (_TELLING_NAME.search(path.stem) is None, path.name))
    return found


def _own_tables(
    recordings: Sequence[Recording],
    video_times: Sequence[NDArray[np.float64] | None],
    given: Path | None,
    warnings: list[str],
) -> TableMatch | None:
    """One table for each camera; None where a camera has none."""
    reader = RowReader(recordings, video_times)
    paths: list[Path] = []
    rows: list[CameraRows] = []
    uneven: list[str] = []
    for camera, recording in enumerate(recordings):
        for path in _tables_of(recording, recordings, given):
            try:
                grid = read_grid(path)
                if len(grid.heads) > _PLAIN_COLUMNS:
                    continue
                found = reader.own(grid, camera)
            except FormatError as error:
                warnings.append(f"{error}; it is not used")
                continue
            if found is not None:
                paths.append(path)
                rows.append(found)
                uneven += _uneven(grid)
                break
        else:
            return None
    return _matched(tuple(paths), rows, [*reader.warnings, *uneven])


def _tables_of(recording: Recording, recordings: Sequence[Recording], given: Path | None) -> list[Path]:
    """Tables that may be one camera's own."""
    others = [item.folder.resolve() for item in recordings if item is not recording]
    folder = recording.folder.resolve()
    around = [recording.folder, recording.folder.parent]
    places = [place for place in around if _is_own(place, folder, others)] if given is None else []
    named = {recording.name.casefold()}
    if recording.video is not None:
        named.add(recording.video.source.stem.casefold())
    beside = [
        path
        for path in _tables_in(around if given is None else [given])
        if any(path.stem.casefold() == name or _begins(path.stem.casefold(), name) for name in named)
    ]
    return [*_tables_in(places), *beside]


def _is_own(place: Path, folder: Path, others: Sequence[Path]) -> bool:
    """Whether a folder belongs to one camera alone."""
    place = place.resolve()
    return not any(other == place or place in other.parents for other in others) and (place in (folder, folder.parent))


def _begins(stem: str, name: str) -> bool:
    """Whether a table's name is that of a camera with something appended, e.g. "cam_0_times"."""
    return stem.startswith(name) and not stem[len(name)].isalnum()


def _uneven(grid: Grid) -> list[str]:
    if not grid.uneven:
        return []
    return [f"{grid.path}: {grid.uneven} rows have another number of columns than the rest; left out"]


def _matched(tables: tuple[Path, ...], rows: Sequence[CameraRows], warnings: Sequence[str]) -> TableMatch:
    """Put rows together by the number of their moment where the table has one, else by their stamps."""
    frames = tuple(item.frames for item in rows)
    known = [item.stamps for item in rows if item.stamps is not None]
    stamps = tuple(known) if len(known) == len(rows) else None
    syncs = [item.syncs for item in rows if item.syncs is not None]
    said = list(warnings)
    shifts = np.zeros(len(rows))
    members: NDArray[np.int64] | None
    spreads = np.full(0, np.nan)
    if len(syncs) == len(rows):
        members = _by_number(syncs, stamps)
        spreads = np.full(len(members), np.nan) if stamps is None else moment_spreads(members, stamps, shifts)
        said += _apart(tables[0], spreads, stamps)
    elif stamps is not None:
        match = match_stamps([own.tolist() for own in stamps])
        members = None if match is None else match.members
        if match is not None:
            shifts, spreads = match.clock_shifts_s, match.spreads_s
    else:
        raise FormatError(f"{tables[0]}: says neither when frames were taken nor which belong together")
    return TableMatch(tables, frames, stamps, members, spreads, shifts, tuple(said))


def _by_number(syncs: Sequence[NDArray[np.int64]], stamps: Sequence[NDArray[np.float64]] | None) -> NDArray[np.int64]:
    """(M, C) rows with equal numbers, ordered by time, or else by number."""
    numbers = np.unique(np.concatenate(syncs))
    members = np.full((len(numbers), len(syncs)), -1, np.int64)
    for camera, own in enumerate(syncs):
        # From the last to the first, so that of rows with one number the first one stays.
        rows = np.arange(len(own))[::-1]
        members[np.searchsorted(numbers, own[rows]), camera] = rows
    if stamps is None:
        return members
    earliest = np.full(members.shape, np.inf)
    for camera, times in enumerate(stamps):
        seen = members[:, camera] >= 0
        earliest[seen, camera] = times[members[seen, camera]]
    return members[np.argsort(earliest.min(axis=1), kind="stable")]


def _apart(table: Path, spreads: NDArray[np.float64], stamps: Sequence[NDArray[np.float64]] | None) -> list[str]:
    """A word on rows that the table puts together although their stamps say that other frames are nearer."""
    if stamps is None or not np.isfinite(spreads).any():
        return []
    period = min(median_period(own) for own in stamps)
    far = int((spreads > 0.5 * period).sum())
    if not far:
        return []
    nearest = group_nearest(list(stamps))
    better = moment_spreads(nearest, list(stamps), np.zeros(len(stamps)))
    return [
        f"{table}: in {far} of {len(spreads)} moments the stamps lie more than half a frame apart (up to "
        f"{1000.0 * np.nanmax(spreads):.0f} ms; the nearest frames are {1000.0 * np.nanmedian(better):.1f} ms apart)"
    ]
