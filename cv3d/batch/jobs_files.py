"""Jobs files: mixed work, as TOML or as a table.

```toml
[defaults]                       # for every job that does not say otherwise
name = "{verb}/{stem}"

[[job]]
run = "odometry"
input = "clips/*.mp4"            # or a list of them
args = ["--camera", "cam.json"]  # or as a shell has them: "--camera cam.json"
```

A table has the columns run, input, args, name, of which the last two may be missing or empty.
"""

from __future__ import annotations

import csv
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from cv3d.batch.naming import check_template
from cv3d.batch.planning import Order
from cv3d.errors import FormatError, InputError

SUFFIXES = (".toml", ".csv")
KEYS = ("run", "input", "args", "name")


def read_orders(path: Path) -> Iterator[Order]:
    """The orders of a jobs file; a table's as they are read.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not what the format says; the message names the job.
    """
    try:
        yield from _from_toml(path) if path.suffix.lower() == ".toml" else _from_table(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is no UTF-8 text: {error}") from error


def _from_toml(path: Path) -> Iterator[Order]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path}: not a TOML file: {error}") from error
    unknown = sorted(set(content) - {"job", "defaults"})
    if unknown:
        raise FormatError(f"{path}: unknown key '{unknown[0]}'; a jobs file has [defaults] and [[job]]")
    defaults, jobs = content.get("defaults", {}), content.get("job", [])
    if not isinstance(defaults, dict) or not isinstance(jobs, list) or not jobs:
        raise FormatError(f"{path}: holds no jobs; each is a table [[job]] with run and input")
    for number, job in enumerate(jobs, 1):
        where = f"{path}: job {number}"
        if not isinstance(job, dict):
            raise FormatError(f"{where}: is no table; write [[job]]")
        merged = {**defaults, **job}
        inputs = merged.get("input", "")
        for one in inputs if isinstance(inputs, list) else [inputs]:
            yield _order(where, {**merged, "input": one})


def _from_table(path: Path) -> Iterator[Order]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        table = csv.DictReader(stream)
        if table.fieldnames is None or "run" not in table.fieldnames:
            raise FormatError(f"{path}: has no column 'run'; the columns are {', '.join(KEYS)}")
        for row in table:
            where = f"{path}: line {table.line_num}"
            if None in row:
                raise FormatError(f"{where}: has more values than the table has columns")
            yield _order(where, {key: value for key, value in row.items() if value})


def _order(where: str, content: Mapping[str, object]) -> Order:
    unknown = sorted(set(content) - set(KEYS))
    if unknown:
        raise FormatError(f"{where}: unknown '{unknown[0]}'; known: {', '.join(KEYS)}")
    run, source, name = content.get("run", ""), content.get("input", ""), content.get("name", "{stem}")
    if not isinstance(run, str) or not run.strip():
        raise FormatError(f'{where}: says no command: run = "odometry"')
    if not isinstance(source, str) or not isinstance(name, str):
        raise FormatError(f"{where}: input and name are texts")
    check_template(name)
    if not source and "name" not in content:
        raise FormatError(f"{where}: has no input, so that its output needs a name")
    arguments = content.get("args", ())
    if isinstance(arguments, str):
        try:
            arguments = shlex.split(arguments)
        except ValueError as error:
            raise FormatError(f"{where}: args: {error}") from error
    if not isinstance(arguments, list | tuple):
        raise FormatError(f"{where}: args is a list of texts, or one text")
    return Order(" ".join(run.split()), source, tuple(str(argument) for argument in arguments), name)
