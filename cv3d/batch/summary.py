"""The tables of a batch: `summary.csv`, and `summary.parquet` where pyarrow is installed."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from cv3d.batch.journal import Journal
from cv3d.errors import OutputError

CSV_FILE = "summary.csv"
PARQUET_FILE = "summary.parquet"
COLUMNS = ("name", "input", "state", "exit_code", "seconds", "attempts", "output", "error")
"""Of every table; behind them come the figures of the jobs' results."""
MOST_FIGURE_COLUMNS = 500
NO_PARQUET = "summary.parquet is not written: pyarrow is not installed (pip install pyarrow)"

_AT_ONCE = 5000

Row = dict[str, object]


def write_tables(journal: Journal, folder: Path, place: Callable[[str], str]) -> tuple[list[str], list[str]]:
    """Write the tables of a run, row by row.

    Args:
        journal: of the run.
        folder: where they go.
        place: path or URL of an output by its name.

    Returns:
        Names of the files, and notes to the user.

    Raises:
        OutputError: they cannot be written.
    """
    columns = [*COLUMNS, *_figure_columns(journal)]
    _whole(folder / CSV_FILE, lambda path: _write_csv(path, columns, _rows(journal, place)))
    if find_spec("pyarrow") is None:
        (folder / PARQUET_FILE).unlink(missing_ok=True)
        return [CSV_FILE], [NO_PARQUET]
    _whole(folder / PARQUET_FILE, lambda path: _write_parquet(path, columns, journal, place))
    return [CSV_FILE, PARQUET_FILE], []


def _figure_columns(journal: Journal) -> list[str]:
    names: dict[str, None] = {}
    for row in journal.table():
        if row["figures"] and len(names) < MOST_FIGURE_COLUMNS:
            names |= dict.fromkeys(json.loads(str(row["figures"])))
    return [name for name in names if name not in COLUMNS]


def _rows(journal: Journal, place: Callable[[str], str]) -> Iterator[Row]:
    for row in journal.table():
        figures = json.loads(str(row["figures"])) if row["figures"] else {}
        output = place(str(row["name"])) if row["output_digest"] is not None else ""
        yield {**figures, **{name: row.get(name) for name in COLUMNS}, "output": output}


def _write_csv(path: Path, columns: list[str], rows: Iterator[Row]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(path: Path, columns: list[str], journal: Journal, place: Callable[[str], str]) -> None:
    """With the types that the columns' values have: whole numbers, numbers, truth values, else text."""
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    kinds: dict[str, type] = {"name": str, "input": str, "state": str, "output": str, "error": str}
    for row in _rows(journal, place):
        for name in columns:
            value = row.get(name)
            if value is not None and kinds.get(name) is not type(value):
                kinds[name] = _wider(kinds.get(name), type(value))
    types = {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    schema = pyarrow.schema([(name, types[kinds.get(name, str)]) for name in columns])
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _groups(_rows(journal, place)):
            cells = {name: [_as(row.get(name), kinds.get(name, str)) for row in rows] for name in columns}
            writer.write_table(pyarrow.table(cells, schema=schema))


def _wider(known: type | None, new: type) -> type:
    if known is None or known is new:
        return new
    return float if {known, new} == {int, float} else str


def _as(value: object, kind: type) -> object:
    if value is None or (value == "" and kind is not str):
        return None
    return value if isinstance(value, kind) else kind(value)


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == _AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _whole(target: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name, then rename it."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            write(temporary)
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
