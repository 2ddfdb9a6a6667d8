"""`cv3d schema`: the form of what cv3d prints and writes as JSON."""

from __future__ import annotations

import json
import textwrap
from typing import Annotated

import typer

from cv3d.cli.common import Run


def schema(
    run: Run,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="As in the field 'schema' of a result: cv3d.match/1, or match for its latest version.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the JSON Schema (2020-12) of a result, of the events of --progress json, or of a camera file.

    Without NAME, lists what there is. With --json, one object holds the list and the schema asked for.

    Example: cv3d schema match > match.schema.json
    """
    from cv3d.schemas import load, names

    content = None if name is None else load(name)
    forms = [{"name": one, "description": str(load(one)["description"])} for one in names()]
    result: dict[str, object] = {"schema": "cv3d.schema/1", "forms": forms, "content": content}
    run.emit(result, lambda: listing(forms) if content is None else json.dumps(content, indent=2, ensure_ascii=True))


def listing(forms: list[dict[str, str]]) -> str:
    """The forms for a person, at most 80 columns wide."""
    width = max(len(form["name"]) for form in forms) + 2
    lines = []
    for form in forms:
        words = form["description"].removeprefix("The result of ")
        lines += textwrap.wrap(f"{form['name']:<{width}}{words}", 80, subsequent_indent=" " * width)
    return "\n".join([*lines, "", "'cv3d schema NAME' prints one of them"])
