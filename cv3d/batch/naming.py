"""Names of outputs from a template, and the same fields in a job's arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from cv3d.batch.places import is_url
from cv3d.errors import UsageError

RESERVED = frozenset({".batch", "logs", "summary.csv", "summary.parquet", "result.json"})
"""What a batch keeps in OUT for itself."""

_FIELD = re.compile(r"\{([a-z_]+)(?::([^{}]*))?\}")
FIELDS = ("stem", "name", "suffix", "parent", "folder", "index", "verb")
"""Of an input: file name without and with its ending, the ending, name and path of its folder; place in the list from
0; the command."""


def input_fields(source: str, index: int, verb: str) -> dict[str, str | int]:
    """What the fields of a template stand for.

    Args:
        source: path or URL of the input.
        index: its place in the list, from 0.
        verb: the command.
    """
    path = PurePosixPath(source.rstrip("/").replace("\\", "/"))
    folder = source.rstrip("/").rpartition("/")[0] if is_url(source) else str(path.parent)
    suffix = "" if source.endswith("/") else path.suffix
    return {
        "stem": path.name.removesuffix(suffix) if suffix else path.name,
        "name": path.name,
        "suffix": suffix,
        "parent": path.parent.name,
        "folder": folder,
        "index": index,
        "verb": verb.replace(" ", "_"),
    }


def fill(template: str, fields: Mapping[str, str | int]) -> str:
    """`template` with its known fields filled in, e.g. `{stem}` or `{index:06d}`; other braces stay.

    Raises:
        UsageError: a field's format does not go with its value.
    """

    def value(match: re.Match[str]) -> str:
        name, form = match.group(1), match.group(2) or ""
        if name not in fields:
            return match.group(0)
        try:
            return format(fields[name], form)
        except ValueError as error:
            raise UsageError(f"'{match.group(0)}' in '{template}': {error}") from error

    return _FIELD.sub(value, template)


def check_template(template: str) -> None:
    """See that a template of names has known fields only.

    Raises:
        UsageError: it has others, or is empty.
    """
    unknown = [match.group(0) for match in _FIELD.finditer(template) if match.group(1) not in FIELDS]
    rest = _FIELD.sub("", template)
    if unknown or "{" in rest or "}" in rest:
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise UsageError(f"--name '{template}': unknown field {(unknown or ['{…}'])[0]}; known: {known}")
    if not template.strip("/ "):
        raise UsageError("--name: is empty; e.g. --name '{stem}'")


def output_name(template: str, fields: Mapping[str, str | int], source: str) -> str:
    """The name of an output below OUT.

    Raises:
        UsageError: it would lie outside OUT or where a batch keeps its own files.
    """
    name = fill(template, fields)
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise UsageError(f"{source}: its output '{name}' has no name of its own within OUT; choose another --name")
    if parts[0] in RESERVED:
        raise UsageError(f"{source}: its output '{name}' is where the batch keeps its own files; choose another --name")
    return name
