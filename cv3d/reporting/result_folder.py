"""The folder that a command leaves: whether the job is already done, and what vouches that all of it is there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import cv3d
from cv3d.calibration.detecting import Source
from cv3d.errors import OutputError, PictureError

RESULT_FILE = "result.json"
REPORT_FILE = "report.html"
JOURNAL_FILE = "detections.jsonl"


def files_digest(files: Iterable[Path], *options: object) -> str:
    """What tells one run from another: files by name, size and time of change, the options, the version."""
    hasher = sha256(repr((cv3d.__version__, options)).encode())
    for source in files:
        try:
            status = source.stat()
            seen = (str(source.resolve()), status.st_size, status.st_mtime_ns)
        except OSError:
            seen = (str(source), 0, 0)
        hasher.update(repr(seen).encode())
    return hasher.hexdigest()


@dataclass(frozen=True)
class EarlierRun:
    """What the output folder already holds."""

    result: Mapping[str, object] | None
    """The result of an identical run, which need not be repeated; None: there is none."""


def look_at_output(out: Path, digest: str, overwrite: bool, schema: str) -> EarlierRun:
    """See whether the job is already done, and whether its results may be written to `out`.

    Args:
        out: the output folder.
        digest: of the inputs, the options and the version.
        overwrite: whether another run's results may be replaced.
        schema: of the results that this job writes.

    Raises:
        OutputError: `out` cannot be written, or holds the results of another run and `overwrite` is off.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{out}: cannot be written: it is a file, not a folder") from error
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    path = out / RESULT_FILE
    if not path.exists() or overwrite:
        return EarlierRun(None)
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = None
    if not isinstance(earlier, dict) or earlier.get("schema") != schema or earlier.get("run_digest") != digest:
        raise OutputError(f"{out}: holds the results of other inputs, options or versions; --overwrite replaces them")
    complete = all((out / name).exists() for name in earlier.get("files", []))
    return EarlierRun(earlier if complete else None)


def remove_earlier_result(out: Path) -> None:
    """Take away the sign that all is there, before the first file is replaced.

    Raises:
        OutputError: the file cannot be removed.
    """
    path = out / RESULT_FILE
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be replaced: {error.strerror or error}") from error


def earlier_files(out: Path, schema: str) -> set[str]:
    """What an earlier run left in a folder by its own account; no name that leads out of it.

    Args:
        out: the output folder.
        schema: of the results that this job writes; those of another are none of its.
    """
    try:
        earlier = json.loads((out / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    if not isinstance(earlier, dict) or earlier.get("schema") != schema:
        return set()
    names = {str(name) for name in earlier.get("files", [])}
    return {name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts}


class _HasPicture(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def picture(self) -> Source: ...


class PictureLoader:
    """Decodes the pictures of views for a report."""

    def __init__(self, views: Iterable[_HasPicture]) -> None:
        self._pictures = {view.name: view.picture for view in views}

    def __call__(self, name: str) -> NDArray[np.uint8] | None:
        """The grey pixels, (H, W), of the view called `name`; None where its picture cannot be read."""
        try:
            return self._pictures[name].read_gray().array
        except PictureError:
            return None
