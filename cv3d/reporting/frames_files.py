"""What `cv3d frames` leaves beside the pictures: the table and the result."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.json_text import to_json
from cv3d.media.key_choice import FramesResult
from cv3d.reporting.result_folder import RESULT_FILE

TABLE_FILE = "frames.csv"
COLUMNS = ("file", "frame", "time", "sharpness", "motion", "scene")


def write_frames_files(result: FramesResult, out: Path, digest: str = "") -> dict[str, object]:
    """Write the table and, last, so that its presence means that all is there, the result.

    Args:
        result: of a clip whose pictures are in `out` already.
        out: the folder.
        digest: of the input and options, kept as `run_digest` so that an identical run can be told.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: a file cannot be written.
    """
    rows = result.rows()
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for row in rows if row["file"] is not None)
    atomic_write_text(out / TABLE_FILE, table.getvalue())
    pictures = [file for file in result.files if file is not None]
    content = result.as_result() | {"files": [*pictures, TABLE_FILE, RESULT_FILE], "run_digest": digest}
    atomic_write_text(out / RESULT_FILE, to_json(content, indent=2) + "\n")
    return content
