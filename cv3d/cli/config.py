"""The file behind `--config`: common options at its top level, and a table per command for that command's own.

`device = "cpu"` at the top is for every command; `model = "auto"` belongs under `[calibrate]`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from cv3d.errors import UsageError


def read_config(path: Path, command: str, commands: Iterable[str], common: Iterable[str]) -> dict[str, object]:
    """The values that a file gives for one command, keyed by option as the file spells them, dashes as underscores.

    A value in the command's table goes before the same key at the top level. The tables of other commands are not
    looked into; the names of all tables are.

    Args:
        path: the TOML file.
        command: the command that is about to run.
        commands: every command there is.
        common: the keys that may stand at the top level (the common options), with underscores.

    Raises:
        UsageError: the file cannot be read, is not TOML, or its top level holds an unknown key.
    """
    content = _parse(path)
    known_commands, known_common = set(commands), set(common)
    values: dict[str, object] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            if key not in known_commands:
                raise UsageError(f"{path}: no command '{key}'; tables: {', '.join(sorted(known_commands))}")
        elif _normal(key) not in known_common:
            raise UsageError(f"{path}: unknown key '{key}' at the top level; known: {_listed(known_common)}")
        else:
            values[_normal(key)] = value
    table = content.get(command, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: '{command}' is a command and takes a table: [{command}]")
    return values | {_normal(key): value for key, value in table.items()}


def option_values(
    path: Path, command: str, values: Mapping[str, object], options: Mapping[str, bool]
) -> dict[str, object]:
    """`values` as the texts that the option parser would be given in the environment, or lists of them.

    Args:
        path: the file, for messages.
        command: the command that is about to run, for messages.
        values: what :func:`read_config` gave.
        options: every option of the command with underscores, and whether it may be repeated (takes a list).

    Raises:
        UsageError: a key is no option of the command, or its value is a table or a list where one value belongs.
    """
    result: dict[str, object] = {}
    for key, value in values.items():
        if key not in options:
            raise UsageError(f"{path}: unknown key '{key}' for {command}; known: {_listed(options)}")
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict | list) for item in items):
            raise UsageError(f"{path}: '{key}' takes {'a list of values' if options[key] else 'one value'}")
        if isinstance(value, list) and not options[key]:
            raise UsageError(f"{path}: '{key}' takes one value, not a list")
        texts = [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
        result[key] = texts if options[key] else texts[0]
    return result


def _parse(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from error


def _normal(key: str) -> str:
    return key.replace("-", "_")


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(sorted(key.replace("_", "-") for key in keys))
