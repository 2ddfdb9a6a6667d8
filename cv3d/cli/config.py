"""The file behind `--config`: common options at its top level, and a table per command for that command's own.

`device = "cpu"` at the top is for every command; `model = "auto"` belongs under `[calibrate]`, and what is for
`cv3d evaluate matches` under `[evaluate.matches]`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cv3d.errors import UsageError


def read_config(path: Path, command: str, commands: Collection[str], common: Iterable[str]) -> dict[str, object]:
    """The values that a file gives for one command, keyed by option as the file spells them, dashes as underscores.

    A value in the command's table goes before the same key at the top level. The tables of other commands are not
    looked into; the names of all tables are.

    Args:
        path: the TOML file.
        command: the command that is about to run, after its group where it has one.
        commands: every command there is, likewise.
        common: the keys that may stand at the top level (the common options), with underscores.

    Raises:
        UsageError: the file cannot be read, is not TOML, or its top level holds an unknown key.
    """
    known_common = set(common)
    values: dict[str, object] = {}
    tables: dict[str, dict[str, object]] = {}
    for key, value in _parse(path).items():
        if isinstance(value, dict):
            tables |= _tables(path, key, value, commands)
        elif key in commands or key in _groups(commands):
            raise UsageError(f"{path}: '{key}' is a command and takes a table: [{key}]")
        elif _normal(key) not in known_common:
            raise UsageError(f"{path}: unknown key '{key}' at the top level; known: {_listed(known_common)}")
        else:
            values[_normal(key)] = value
    return values | {_normal(key): value for key, value in tables.get(command, {}).items()}


def _tables(
    path: Path, name: str, content: dict[str, object], commands: Collection[str]
) -> dict[str, dict[str, object]]:
    """The tables of commands in the table `name`, keyed by command: itself, or one for each verb of a group."""
    if name in commands:
        return {name: content}
    if name not in _groups(commands):
        known = sorted(_table(command) for command in commands)
        raise UsageError(f"{path}: no command '{_table(name)}'; tables: {', '.join(known)}")
    result: dict[str, dict[str, object]] = {}
    for key, value in content.items():
        if not isinstance(value, dict):
            verbs = ", ".join(f"[{_table(command)}]" for command in commands if command.startswith(f"{name} "))
            raise UsageError(f"{path}: key '{key}' does not belong under [{_table(name)}] but under one of {verbs}")
        result |= _tables(path, f"{name} {key}", value, commands)
    return result


def _groups(commands: Iterable[str]) -> set[str]:
    return {command.rpartition(" ")[0] for command in commands if " " in command}


def _table(command: str) -> str:
    return command.replace(" ", ".")


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
