"""The folder of `cv3d evaluate matches`: the result, and a table with a row for every pair."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from cv3d.evaluation.matches.result import MatchEvaluation
from cv3d.formats.atomic import atomic_directory, atomic_write_text
from cv3d.formats.json_text import to_json

RESULT_FILE = "result.json"
PAIRS_FILE = "pairs.csv"


def write_matches(
    evaluation: MatchEvaluation, settings: Mapping[str, object], out: Path, overwrite: bool = False
) -> dict[str, object]:
    """Write the result and the table of pairs as one folder, which appears whole.

    Args:
        evaluation: what was measured.
        settings: what was measured with; part of the result.
        out: the folder.
        overwrite: whether a folder that is there may be replaced.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: the folder is there and not empty, or cannot be written.
    """
    result = matches_result(evaluation, settings) | {"files": [RESULT_FILE, PAIRS_FILE]}
    with atomic_directory(out, overwrite) as folder:
        atomic_write_text(folder / PAIRS_FILE, pairs_table(evaluation))
        atomic_write_text(folder / RESULT_FILE, to_json(result, indent=2) + "\n")
    return result


def matches_result(evaluation: MatchEvaluation, settings: Mapping[str, object]) -> dict[str, object]:
    """An evaluation as plain data, with what it was made with."""
    return evaluation.as_dict() | {"settings": dict(settings)}


def pairs_table(evaluation: MatchEvaluation) -> str:
    """A row for every pair, as CSV; empty where there is no number."""
    rows = evaluation.rows()
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return stream.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    return f"{value:.6g}" if math.isfinite(value) else ""
