"""`cv3d match --list`: the extractors and matchers there are, as a table and as a result."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from cv3d.features.listing import MethodRow, Presence

LISTING_SCHEMA = "cv3d.match_methods/1"
_HEAD = ("name", "kind", "licence", "MB", "speed", "weights")
_RIGHT = 3
"""The column of numbers."""
_WIDTH = 80
_SPEEDS = "fast: tens of ms, medium: hundreds, slow: more (VGA picture or pair, one core)"


def listing_result(rows: Sequence[MethodRow]) -> dict[str, object]:
    """The listing as plain data, with its schema."""
    return {"schema": LISTING_SCHEMA, "methods": [_method(row) for row in rows]}


def describe_listing(rows: Sequence[MethodRow]) -> str:
    """The listing for a person, at most 80 columns wide: a table, and what to do about weights that are not here."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    lines = []
    for row in cells:
        padded = [
            text.rjust(width) if column == _RIGHT else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    lines += ["", _SPEEDS]
    return "\n".join(lines + _hint_lines(rows))


def _hint_lines(rows: Sequence[MethodRow]) -> list[str]:
    """What brings the weights that cannot be used, methods that one line helps together."""
    hints: dict[tuple[Presence, str], list[str]] = {}
    for row in rows:
        for weights in row.weights:
            if weights.hint and row.name not in hints.setdefault((weights.presence, weights.hint), []):
                hints[weights.presence, weights.hint].append(row.name)
    lines = ["", "weights that cannot be used yet:"] if hints else []
    for (presence, hint), names in hints.items():
        lines += textwrap.wrap(f"{', '.join(names)}:", _WIDTH, initial_indent="  ", subsequent_indent="  ")
        # A command is copied from the terminal, so it is never broken.
        is_command = presence is Presence.MISSING
        indent = "    "
        lines += (
            [indent + hint]
            if is_command
            else textwrap.wrap(hint, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        )
    return lines


def _cells(row: MethodRow) -> tuple[str, ...]:
    size = f"{row.megabytes:.1f}" if row.weights else ""
    state = "none needed" if not row.weights else f"here ({row.source})" if row.is_ready else row.source
    return row.name, row.kind.value, row.licence, size, row.speed, state


def _method(row: MethodRow) -> dict[str, object]:
    return {
        "name": row.name,
        "kind": row.kind.value,
        "summary": row.summary,
        "licence": row.licence,
        "speed": row.speed,
        "megabytes": round(row.megabytes, 3),
        "extractors": list(row.extractors),
        "ready": row.is_ready,
        "weights": [
            {
                "name": weights.name,
                "bytes": weights.bytes,
                "licence": weights.licence,
                "state": weights.presence.value,
                "path": None if weights.path is None else str(weights.path),
                "source": weights.source,
                "install": weights.hint if weights.presence is Presence.MISSING else "",
                "problem": weights.hint if weights.presence is Presence.WRONG else "",
                "url": weights.url,
            }
            for weights in row.weights
        ],
    }
