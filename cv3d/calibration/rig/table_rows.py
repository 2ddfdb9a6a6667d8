"""From the rows of a table of stamps to the pictures and frames that the cameras recorded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.recordings import Recording
from cv3d.calibration.rig.tables import Columns, Grid, recognise, stamp_scale
from cv3d.errors import FormatError

_BACKWARDS = 0.05
"""Share of stamps that may go backwards before a table is refused."""
_MOST_SHIFTS = 2000
_CLEARLY_BETTER = 0.5
"""How much smaller the scatter between a table's clock and a video's must be for another relation to be preferred."""


@dataclass(frozen=True)
class CameraRows:
    """What a table says of one camera, in the order of its frames."""

    frames: NDArray[np.int64]
    """Index of the picture or of the video's frame, (k,), increasing."""
    stamps: NDArray[np.float64] | None
    """Seconds, (k,)."""
    syncs: NDArray[np.int64] | None
    """Number of the moment, (k,)."""


@dataclass
class RowReader:
    """Reads the rows of tables for the cameras of one rig, and gathers what the user should know."""

    recordings: Sequence[Recording]
    video_times: Sequence[NDArray[np.float64] | None]
    """For each camera the stamps of its video's frames, seconds; None for pictures."""
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.files = [_by_file_name(recording) for recording in self.recordings]

    def shared(self, grid: Grid) -> list[CameraRows] | None:
        """Rows of one table for all cameras: a row for each frame of each camera, or one for each moment.

        Returns:
            For each camera its rows; None where the table is none for all cameras.

        Raises:
            FormatError: it is one, but cannot be used.
        """
        columns = recognise(grid, lambda cell: self._camera_of(cell) is not None, self._is_file)
        if columns.camera is not None and (columns.stamp is not None or columns.sync is not None):
            return self._long(grid, columns)
        return self._wide(grid)

    def own(self, grid: Grid, camera: int) -> CameraRows | None:
        """Rows of one camera's own table, with or without file names or frame numbers; None where it is none."""
        columns = recognise(grid, lambda cell: False, lambda cell: _stem(cell) in self.files[camera])
        if columns.stamp is None or columns.camera is not None:
            return None
        return self._rows(grid, columns, camera, list(range(len(grid.cells))))

    def _long(self, grid: Grid, columns: Columns) -> list[CameraRows]:
        assert columns.camera is not None
        values = grid.column(columns.camera)
        cameras = {value: self._camera_of(value) for value in set(values)}
        if not any(camera is not None for camera in cameras.values()) and len(cameras) == len(self.recordings):
            ordered = sorted(cameras, key=lambda value: (len(value), value))
            cameras = {value: camera for camera, value in enumerate(ordered)}
            pairs = ", ".join(f"{value} = {self.recordings[camera].name}" for camera, value in enumerate(ordered))
            self.warnings.append(f"{grid.path}: names none of the cameras; taken in order: {pairs}")
        named = {camera for camera in cameras.values() if camera is not None}
        missing = [item.name for camera, item in enumerate(self.recordings) if camera not in named]
        if missing:
            raise FormatError(
                f"{grid.path}: has no rows for {', '.join(missing)}; its cameras are {', '.join(sorted(cameras))}"
            )
        return [
            self._rows(grid, columns, camera, [row for row, value in enumerate(values) if cameras[value] == camera])
            for camera in range(len(self.recordings))
        ]

    def _wide(self, grid: Grid) -> list[CameraRows] | None:
        """A table with a column of file names or frame numbers for each camera, and a row for each moment."""
        places: list[int] = []
        for camera in range(len(self.recordings)):
            place = self._column_of(grid, camera)
            if place is None or place in places:
                return None
            places.append(place)
        columns = Columns(None, None, None, None, None)
        found = []
        for camera, place in enumerate(places):
            frames = self._named_frames(grid, place, camera)
            kept = np.flatnonzero(frames >= 0)
            self._say_missing(grid, camera, len(frames) - len(kept))
            order = kept[np.argsort(frames[kept], kind="stable")]
            found.append(self._without_repeats(grid, columns, CameraRows(frames[order], None, order), camera))
        return found

    def _column_of(self, grid: Grid, camera: int) -> int | None:
        own = self.files[camera]
        if own and not any(set(own) & set(other) for index, other in enumerate(self.files) if index != camera):
            named = [sum(_stem(cell) in own for cell in grid.column(c)) for c in range(len(grid.heads))]
            if max(named) > 0.5 * len(grid.cells):
                return named.index(max(named))
        headed = [c for c, head in enumerate(grid.heads) if head and self._camera_of(head) == camera]
        return headed[0] if len(headed) == 1 else None

    def _named_frames(self, grid: Grid, column: int, camera: int) -> NDArray[np.int64]:
        """(k,) the frame that each cell names; -1 for one that is not there."""
        cells = grid.column(column)
        count = self._count(camera)
        if self.files[camera]:
            return np.array([self.files[camera].get(_stem(cell), -1) for cell in cells], np.int64)
        numbers = np.array([int(cell) if re.fullmatch(r"\d+", cell) else -1 for cell in cells], np.int64)
        return np.where(numbers < count, numbers, -1)

    def _rows(self, grid: Grid, columns: Columns, camera: int, rows: list[int]) -> CameraRows:
        """The rows of one camera, cleaned and in order."""
        index = np.asarray(rows, np.int64)
        stamps = self._column(grid, columns.stamp, index)
        if stamps is not None and columns.stamp is not None:
            stamps = stamps * stamp_scale(grid.heads[columns.stamp], stamps)
        syncs = self._column(grid, columns.sync, index)
        counters = self._column(grid, columns.frame, index)
        if columns.file is not None and self.files[camera]:
            frames = self._named_frames(grid, columns.file, camera)[index]
        else:
            if counters is not None:
                order = np.argsort(counters, kind="stable")
                if (order != np.arange(len(order))).any():
                    self.warnings.append(
                        f"{grid.path}: rows of {self.recordings[camera].name} are unsorted; sorted now"
                    )
                counters = counters[order]
                distinct = np.concatenate([[True], np.diff(counters) > 0])
                self._say_repeated(grid, camera, int((~distinct).sum()))
                order = order[distinct]
                counters = counters[distinct]
                stamps = None if stamps is None else stamps[order]
                syncs = None if syncs is None else syncs[order]
            frames = self._related(
                grid, camera, None if counters is None else counters.astype(np.int64), stamps, len(index)
            )
        kept = np.flatnonzero(frames >= 0)
        self._say_missing(grid, camera, len(frames) - len(kept))
        kept = kept[np.argsort(frames[kept], kind="stable")]
        found = CameraRows(
            frames[kept],
            None if stamps is None else stamps[kept],
            None if syncs is None else syncs[kept].astype(np.int64),
        )
        return self._without_repeats(grid, columns, found, camera)

    @staticmethod
    def _column(grid: Grid, column: int | None, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        values = None if column is None else grid.numbers(column)
        return None if values is None else values[rows]

    def _without_repeats(self, grid: Grid, columns: Columns, rows: CameraRows, camera: int) -> CameraRows:
        """One row per frame, and stamps that go forward.

        Raises:
            FormatError: no row is left, or stamps go backwards again and again.
        """
        name = self.recordings[camera].name
        if not len(rows.frames):
            raise FormatError(f"{grid.path}: none of its rows is of a frame that {name} has recorded")
        keep = np.concatenate([[True], np.diff(rows.frames) > 0])
        self._say_repeated(grid, camera, int((~keep).sum()))
        if rows.stamps is not None:
            stamps = rows.stamps
            keep &= np.isfinite(stamps)
            latest = np.maximum.accumulate(np.where(keep, stamps, -np.inf))
            before = np.concatenate([[-np.inf], latest[:-1]])
            backwards = keep & (stamps <= before)
            if backwards.sum() > max(1.0, _BACKWARDS * len(stamps)):
                frame = int(rows.frames[np.argmax(backwards)])
                raise FormatError(
                    f"{grid.path}: the stamps of {name} go backwards at {int(backwards.sum())} of {len(stamps)} frames "
                    f"(first at frame {frame}); the table does not belong to these frames, or its columns are mixed up"
                )
            if backwards.any():
                frame = int(rows.frames[np.argmax(backwards)])
                self.warnings.append(f"{grid.path}: the stamp of {name}'s frame {frame} goes backwards; row left out")
            keep &= ~backwards
        return CameraRows(
            rows.frames[keep],
            None if rows.stamps is None else rows.stamps[keep],
            None if rows.syncs is None else rows.syncs[keep],
        )

    def _related(
        self,
        grid: Grid,
        camera: int,
        counters: NDArray[np.int64] | None,
        stamps: NDArray[np.float64] | None,
        rows: int,
    ) -> NDArray[np.int64]:
        """Which frame each row is about, (k,); -1 where there is no such frame.

        Recorders count from when the camera was opened, from 0 or from 1, and leave rows out; a file may have lost its
        end. What the number of frames admits is compared; where it admits several relations, the one is taken in which
        the intervals of the table agree with those of the video's own clock, if there is one that clearly does.
        """
        count = self._count(camera)
        relations = _relations(counters, rows if counters is None else len(counters), count)
        name = self.recordings[camera].name
        video = self.video_times[camera]
        first = relations[0]
        if video is not None and stamps is not None and (len(relations) > 1 or len(first) < count):
            if counters is not None:
                relations += _shifted(counters, count)
            scatters = [_scatter(frames, stamps, video) for frames in relations]
            best = int(np.argmin(scatters))
            if scatters[best] < _CLEARLY_BETTER * scatters[0]:
                return relations[best]
        listed = len(first)
        if listed != count and (counters is None or first[0] != counters[0]):
            what = "frames" if video is not None else "pictures"
            self.warnings.append(
                f"{grid.path}: lists {listed} frames of {name}, which has {count} {what}; "
                "both are taken to start together"
            )
        return first

    def _count(self, camera: int) -> int:
        video = self.video_times[camera]
        return len(self.recordings[camera].pictures) if video is None else len(video)

    def _is_file(self, cell: str) -> bool:
        return any(_stem(cell) in own for own in self.files)

    def _camera_of(self, cell: str) -> int | None:
        """The camera that a cell names: by its name, by its file, or by its number where all names have one."""
        folded = cell.casefold()
        for camera, recording in enumerate(self.recordings):
            video = recording.video
            known = {recording.name.casefold(), recording.folder.name.casefold() if video is None else ""}
            if video is not None:
                known |= {video.source.name.casefold(), video.source.stem.casefold()}
            if folded and folded in known:
                return camera
        number = re.fullmatch(r"(?:[^\W\d]|[_ -])*0*(\d+)(?:\.0*)?", cell)
        own = [re.search(r"(\d+)\D*$", recording.name) for recording in self.recordings]
        numbers = [int(match.group(1)) for match in own if match]
        if number and len(set(numbers)) == len(self.recordings) and int(number.group(1)) in numbers:
            return numbers.index(int(number.group(1)))
        return None

    def _say_missing(self, grid: Grid, camera: int, count: int) -> None:
        if count:
            self.warnings.append(
                f"{grid.path}: {count} of its rows are of frames that {self.recordings[camera].name} does not have; "
                "left out"
            )

    def _say_repeated(self, grid: Grid, camera: int, count: int) -> None:
        if count:
            self.warnings.append(
                f"{grid.path}: {count} rows repeat a frame of {self.recordings[camera].name}; the first of each is used"
            )


def _by_file_name(recording: Recording) -> dict[str, int]:
    """Index of each picture by its file name without suffix, lower case."""
    return {picture.source.stem.casefold(): index for index, picture in reversed(list(enumerate(recording.pictures)))}


def _stem(cell: str) -> str:
    """A cell's file name without folder and picture suffix, lower case."""
    return re.sub(r"\.(?:jpe?g|png|bmp|tiff?|webp|p[gp]m|hei[cf])$", "", Path(cell).name.casefold())


def _relations(counters: NDArray[np.int64] | None, rows: int, count: int) -> list[NDArray[np.int64]]:
    """The ways in which rows may be about frames, the most likely first; -1 where there is no such frame."""

    def within(frames: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where((frames >= 0) & (frames < count), frames, -1)

    in_order = within(np.arange(rows))
    if counters is None:
        return [in_order]
    start, end = int(counters[0]), int(counters[-1])
    from_first = within(counters - start)
    found = []
    if start >= 0 and end < count:
        found.append(counters)
    if start >= 1 and end == count:
        found.append(counters - 1)
    if end - start + 1 == count:
        found.append(from_first)
    if rows == count:
        found.append(in_order)
    found += [from_first, in_order]
    return list({item.tobytes(): item for item in found}.values())


def _shifted(counters: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Every shift of the rows' numbers under which all rows are about frames that there are."""
    start, end = int(counters[0]), int(counters[-1])
    room = min(count - 1 - (end - start), _MOST_SHIFTS)
    return [counters - start + shift for shift in range(room + 1)]


def _scatter(frames: NDArray[np.int64], stamps: NDArray[np.float64], video: NDArray[np.float64]) -> float:
    """How far a table's clock scatters about a straight line in a video's, seconds, with a microsecond as the least."""
    known = frames >= 0
    if known.sum() < 3:
        return float("inf")
    own, table = video[frames[known]], stamps[known]
    if np.ptp(own) == 0.0:
        return float("inf")
    line = np.polyfit(own - own.mean(), table - table.mean(), 1)
    return max(1e-6, float(np.std(table - table.mean() - np.polyval(line, own - own.mean()))))
