"""Lines of numbers in a text, each with its line number, which is what a message about a bad one needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError

_SHOWN = 40


@dataclass(frozen=True)
class NumberTable:
    """Numbers of a text, a row each line."""

    source: str
    """How messages call it, usually the file's path."""
    values: NDArray[np.float64]
    """(n, columns)."""
    lines: tuple[int, ...]
    """Line number of each row, from 1."""
    first_fields: tuple[str, ...]
    """The first field of each row as it is written: a nanosecond stamp has more digits than a float64."""

    def place(self, row: int) -> str:
        """How messages call a row."""
        return f"{self.source}:{self.lines[row]}"

    def fail(self, row: int, message: str) -> NoReturn:
        """Raise a :class:`FormatError` that names file and line."""
        raise FormatError(f"{self.place(row)}: {message}")


def data_lines(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers, from 1, without comments (#) and empty ones."""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def fields_of(line: str) -> list[str]:
    """The fields of a line, apart by commas if it has any, else by blanks."""
    return [field.strip() for field in line.rstrip(",").split(",")] if "," in line else line.split()


def is_heading(fields: list[str]) -> bool:
    """Whether none of the fields is a number."""
    return all(_number(field) is None for field in fields)


def read_table(text: str, source: str, columns: int, layout: str, at_least: bool = False) -> NumberTable:
    """The numbers of a text; a first line of names is left out.

    Args:
        text: the file.
        source: how messages call it.
        columns: how many numbers a line has.
        layout: what the numbers are, for the message about a line that has others.
        at_least: whether lines may have more, which are not read.

    Raises:
        FormatError: a line has another number of fields, or a field is not a finite number.
    """
    rows, numbers, firsts = [], [], []
    for position, (number, line) in enumerate(data_lines(text)):
        fields = fields_of(line)
        if position == 0 and is_heading(fields):
            continue
        if len(fields) < columns or (len(fields) > columns and not at_least):
            raise FormatError(f"{source}:{number}: has {len(fields)} fields, but should have {columns}: {layout}")
        row = [_number(field) for field in fields[:columns]]
        for field, value in zip(fields, row, strict=False):
            if value is None:
                raise FormatError(f"{source}:{number}: '{field[:_SHOWN]}' is not a number")
            if not math.isfinite(value):
                raise FormatError(f"{source}:{number}: holds '{field[:_SHOWN]}', which is no part of a pose")
        rows.append(row)
        numbers.append(number)
        firsts.append(fields[0])
    values = np.array(rows, dtype=np.float64).reshape(-1, columns)
    return NumberTable(source, values, tuple(numbers), tuple(firsts))


def _number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None
