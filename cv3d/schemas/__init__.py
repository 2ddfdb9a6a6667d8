"""The forms of what cv3d writes as JSON (results, events of progress, camera files), as JSON Schemas of 2020-12.

Every result has a field `schema`, such as "cv3d.match/1": the name of its form and that form's version, which changes
when a program that reads the old form could not read the new one. The file `NAME-VERSION.json` here describes it.
"""

from __future__ import annotations

import difflib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from cv3d.errors import UsageError

__all__ = ["load", "names"]

_PREFIX = "cv3d."
_FILE = re.compile(r"(?P<name>[a-z_]+)-(?P<version>\d+)")


@cache
def names() -> tuple[str, ...]:
    """The name of every form, as `schema` fields hold them, in alphabetical order."""
    files = (_FILE.fullmatch(path.stem) for path in Path(__file__).parent.glob("*.json"))
    found = [(match["name"], int(match["version"])) for match in files if match is not None]
    return tuple(f"{_PREFIX}{name}/{version}" for name, version in sorted(found))


def load(name: str) -> dict[str, Any]:
    """The JSON Schema of a form.

    Args:
        name: "cv3d.match/1", or "match/1", or "match" for the latest version; "evaluate matches" is as good as
            "evaluate_matches".

    Raises:
        UsageError: there is no such form.
    """
    plain = name.strip().removeprefix(_PREFIX).replace(" ", "_").replace("-", "_")
    known = {one.removeprefix(_PREFIX): one for one in names()}
    # Versions ascend, so that the latest one stays.
    known |= {short.partition("/")[0]: one for short, one in known.items()}
    if plain not in known:
        near = difflib.get_close_matches(plain, known, 1, 0.5)
        hint = f"did you mean {known[near[0]]}? " if near else ""
        raise UsageError(f"no form is called '{name}': {hint}'cv3d schema' lists them all")
    file = known[plain].removeprefix(_PREFIX).replace("/", "-")
    content: dict[str, Any] = json.loads((Path(__file__).parent / f"{file}.json").read_text(encoding="utf-8"))
    return content
