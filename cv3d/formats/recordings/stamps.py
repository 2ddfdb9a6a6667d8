"""Time stamps of pictures: in a file beside them, or in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.formats.recordings.text import read_text
from cv3d.formats.trajectories.number_table import data_lines, fields_of, is_heading

Floats = NDArray[np.float64]

_UNITS = ((1e17, 1e-9, "nanoseconds"), (1e14, 1e-6, "microseconds"), (1e11, 1e-3, "milliseconds"))
"""From which size on a count since 1970 is in which unit; what is less is in seconds."""
_STEPS = ((1e6, 1e-9, "nanoseconds"), (2e3, 1e-6, "microseconds"), (2.0, 1e-3, "milliseconds"))
"""The same by the step from one picture to the next, for clocks that start with the recording."""
_DECIMAL = re.compile(r"\d+\.\d+")
_LONG = re.compile(r"\d{12,}")


@dataclass(frozen=True, eq=False)
class Stamps:
    """Time stamps of pictures."""

    times: Floats
    """(n,), seconds, in the order of the pictures."""
    unit: str
    """What they were written in."""


def read_stamps(path: Path, pictures: Sequence[Path]) -> Stamps | None:
    """The stamps that a file has for pictures; None where it is of another kind, or is not of as many pictures.

    A line is a stamp, a number and a stamp, or a stamp with the picture's name in either order.

    Raises:
        FormatError: the file is no text.
        InputError: it cannot be read.
    """
    rows = [fields_of(line) for _, line in data_lines(read_text(path))]
    if rows and is_heading(rows[0]):
        rows = rows[1:]
    if not rows or any(len(row) != len(rows[0]) for row in rows) or len(rows[0]) > 4:
        return None
    named = _by_name(rows, pictures)
    column = named if named is not None else _in_order(rows, len(pictures))
    if column is None:
        return None
    return Stamps(*_in_seconds(column))


def stamps_of_names(pictures: Sequence[Path]) -> Stamps | None:
    """The stamps that the names of pictures are, such as 1305031102.175304.png; None where they are no stamps.

    They are where every name holds a decimal number, or whole numbers of twelve digits or more, and they increase.
    """
    for pattern in (_DECIMAL, _LONG):
        found = [pattern.findall(path.stem) for path in pictures]
        if found and all(len(numbers) == 1 for numbers in found):
            texts = [numbers[0] for numbers in found]
            values = np.array([float(text) for text in texts])
            if len(values) > 1 and not (np.diff(values) > 0.0).all():
                return None
            return Stamps(*_in_seconds(texts)) if pattern is _LONG else Stamps(values, "seconds")
    return None


def _by_name(rows: list[list[str]], pictures: Sequence[Path]) -> list[str] | None:
    """The stamps by the names beside them."""
    for name_column, time_column in ((1, 0), (0, 1)):
        if len(rows[0]) <= max(name_column, time_column):
            continue
        listed = {Path(row[name_column]).name: row[time_column] for row in rows}
        listed |= {Path(name).stem: time for name, time in listed.items() if not name.replace(".", "").isdigit()}
        found = [listed.get(path.name, listed.get(path.stem)) for path in pictures]
        if all(text is not None and _is_number(text) for text in found):
            return [text for text in found if text is not None]
    return None


def _in_order(rows: list[list[str]], count: int) -> list[str] | None:
    """The stamps of a list that has a line for every picture: its only numeric column, or the second after a count."""
    if len(rows) != count:
        return None
    columns = [list(column) for column in zip(*rows, strict=True)]
    numeric = [column for column in columns if all(_is_number(text) for text in column)]
    if len(numeric) > 1 and _counts(numeric[0]):
        numeric = numeric[1:]
    return numeric[0] if numeric else None


def _counts(column: list[str]) -> bool:
    values = np.array([float(text) for text in column])
    return bool((np.diff(values) == 1.0).all()) and values[0] in (0.0, 1.0)


def _in_seconds(texts: list[str]) -> tuple[Floats, str]:
    """Numbers in seconds, by their size or their steps, and the unit they are in."""
    values = np.array([float(text) for text in texts])
    is_whole = all(text.lstrip("+-").isdigit() for text in texts)
    step = float(np.median(np.diff(values))) if len(values) > 1 else 0.0
    limits = [(abs(values).max(initial=0.0), _UNITS)] + ([(step, _STEPS)] if is_whole else [])
    for size, table in limits:
        for least, seconds, unit in table:
            if size >= least:
                # Whole nanoseconds since 1970 have more digits than a float64: divided as integers, they keep them.
                per_second = round(1.0 / seconds)
                return np.array(
                    [int(text) / per_second if is_whole else float(text) / per_second for text in texts]
                ), unit
    return values, "seconds"


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
