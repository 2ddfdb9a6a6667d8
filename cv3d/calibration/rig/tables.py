"""Tables of time stamps: text files whose columns are recognised by their heads and their content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError

TABLE_SUFFIXES = frozenset([".csv", ".txt", ".tsv"])
_MOST_BYTES = 64 << 20
_CAMERA_HEAD = re.compile(r"cam|port|sensor|serial|device|view|source", re.IGNORECASE)
_STAMP_HEAD = re.compile(r"time|stamp|(?:^|[^a-z])(?:ts|t|sec|seconds|ns|us|ms)(?:[^a-z]|$)", re.IGNORECASE)
_SYNC_HEAD = re.compile(r"sync|moment|group|(?<![a-z])set", re.IGNORECASE)
_FRAME_HEAD = re.compile(r"frame|index|idx|number|image|picture|^#$|^n$|^i$", re.IGNORECASE)
_UNIT = re.compile(r"(?:\[|\(|_|\b)(ns|nsec|us|usec|ms|msec|s|sec)(?:\]|\)|\b)", re.IGNORECASE)
_SCALES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "s": 1.0}
_LONGEST_PERIOD_S = 20.0
"""Whole numbers further apart than this are no seconds."""
_EPOCH_S = 1e8
"""Seconds since 1970 of the year 1973: whole numbers as large count seconds, or parts of them, since then."""


@dataclass(frozen=True)
class Grid:
    """The cells of a text table."""

    path: Path
    heads: tuple[str, ...]
    """Names of the columns; empty strings where there is no head line."""
    cells: tuple[tuple[str, ...], ...]
    """Rows of cells, all of one length."""
    uneven: int
    """Rows left out for another number of cells."""

    def column(self, index: int) -> list[str]:
        """One column's cells."""
        return [row[index] for row in self.cells]

    def numbers(self, index: int) -> NDArray[np.float64] | None:
        """One column as numbers; None where a cell is none."""
        try:
            return np.array([float(row[index]) for row in self.cells], np.float64)
        except ValueError:
            return None


@dataclass(frozen=True)
class Columns:
    """Which column says what; None where none does."""

    camera: int | None
    sync: int | None
    frame: int | None
    stamp: int | None
    file: int | None


def read_grid(path: Path) -> Grid:
    """Read a table separated by commas, semicolons, tabs or blanks, with or without a head line.

    Raises:
        FormatError: it is empty, unreadable or no table.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise FormatError(f"{path}: empty table of stamps (0 bytes)")
        if size > _MOST_BYTES:
            raise FormatError(f"{path}: too large for a table of stamps ({size >> 20} MiB)")
        text = path.read_text("utf-8-sig", errors="strict")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not a text table ({error.reason})") from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    plain = [line for line in lines if not line.startswith("#")]
    if not plain:
        raise FormatError(f"{path}: a table of stamps without rows")
    split = _splitter(plain)
    rows = [split(line) for line in plain]
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    heads: list[str] = []
    if _is_head(rows[0], rows[1:]):
        heads = rows.pop(0)
    elif lines[0].startswith("#"):
        heads = split(lines[0].lstrip("# "))
    cells = tuple(tuple(row) for row in rows if len(row) == width)
    if not cells:
        raise FormatError(f"{path}: a table of stamps without rows")
    names = tuple(heads) if len(heads) == width else ("",) * width
    return Grid(path, names, cells, len(rows) - len(cells))


def _splitter(lines: Sequence[str]) -> Callable[[str], list[str]]:
    """How lines fall into cells: the first separator that most lines have."""
    for separator in (",", ";", "\t"):
        if sum(separator in line for line in lines) > 0.5 * len(lines):
            return lambda line: [cell.strip().strip('"').strip() for cell in line.split(separator)]
    return str.split


def _is_head(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether a line names columns: where the lines below have a number, it has none."""
    if not rest:
        return not any(_is_number(cell) for cell in first)
    return any(_is_number(below) and not _is_number(cell) for cell, below in zip(first, rest[0], strict=False))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def recognise(grid: Grid, is_camera: Callable[[str], bool], is_file: Callable[[str], bool]) -> Columns:
    """Find out which column says what.

    Args:
        grid: the table.
        is_camera: whether a cell names a camera of the rig.
        is_file: whether a cell names a picture of the rig.
    """
    columns = range(len(grid.heads))
    file = next((c for c in columns if _share(grid.column(c), is_file) > 0.5 and grid.numbers(c) is None), None)
    camera = _camera_column(grid, is_camera, file)
    left = [c for c in columns if c not in (camera, file) and grid.numbers(c) is not None]
    whole = [c for c in left if _is_whole(grid.numbers(c))]
    sync = next((c for c in whole if _SYNC_HEAD.search(grid.heads[c])), None) if camera is not None else None
    stamp = _stamp_column(grid, [c for c in left if c != sync])
    counters = [c for c in whole if c not in (sync, stamp)]
    frame = next((c for c in counters if _FRAME_HEAD.search(grid.heads[c])), counters[0] if counters else None)
    if stamp is None and sync is None and camera is None and file is None and len(grid.heads) == 1:
        stamp, frame = frame, None
    if file is None and camera is None and stamp is not None:
        named = [c for c in columns if grid.numbers(c) is None]
        file = named[0] if len(named) == 1 else None
    return Columns(camera, sync, frame, stamp, file)


def _share(cells: Sequence[str], holds: Callable[[str], bool]) -> float:
    return sum(holds(cell) for cell in cells) / len(cells)


def _camera_column(grid: Grid, is_camera: Callable[[str], bool], file: int | None) -> int | None:
    """The column of few values that name cameras."""
    candidates = []
    for column in range(len(grid.heads)):
        values = set(grid.column(column))
        if column == file or not 1 <= len(values) <= 64 or len(grid.cells) < 2 * len(values):
            continue
        is_headed = bool(_CAMERA_HEAD.search(grid.heads[column]))
        named = sum(is_camera(value) for value in values)
        if is_headed or (named >= 2 and named == len(values)):
            candidates.append((not is_headed, -named, len(values), column))
    return min(candidates)[-1] if candidates else None


def _is_whole(values: NDArray[np.float64] | None) -> bool:
    return values is not None and bool((np.isfinite(values) & (values == np.round(values))).all())


def _stamp_column(grid: Grid, columns: Sequence[int]) -> int | None:
    """The column headed as a time, else the one with fractions or with numbers as large as stamps."""
    headed = [c for c in columns if _STAMP_HEAD.search(grid.heads[c])]
    if headed:
        return headed[0]
    telling = []
    for column in columns:
        values = grid.numbers(column)
        if values is not None and (not _is_whole(values) or float(np.abs(values).max()) > _EPOCH_S):
            telling.append(column)
    return telling[0] if telling else None


def stamp_scale(head: str, values: NDArray[np.float64]) -> float:
    """Seconds per unit of a column of stamps.

    The head may say the unit. Else numbers counted since 1970 tell by their size, others are seconds, unless they are
    whole and so far apart that they must be milli-, micro- or nanoseconds.

    Args:
        head: the column's name.
        values: its numbers, of one camera, (n,).
    """
    if match := _UNIT.search(head):
        return _SCALES[match.group(1)[0].lower()]
    largest = float(np.abs(values).max())
    if largest > _EPOCH_S:
        return next(scale for scale in (1.0, 1e-3, 1e-6, 1e-9, 1e-12) if largest * scale < 1e11)
    steps = np.diff(np.unique(values))
    if len(steps) and _is_whole(values):
        period = float(np.median(steps))
        return next((scale for scale in (1.0, 1e-3, 1e-6) if period * scale <= _LONGEST_PERIOD_S), 1e-9)
    return 1.0
