"""The folder that `cv3d calibrate` leaves: the camera in every format, the result, the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.result import RESULT_SCHEMA, Calibration
from cv3d.compute import torch_threads
from cv3d.errors import FormatError, OutputError, PictureError
from cv3d.formats import CAMERA_FORMATS
from cv3d.formats.approximation import write_camera
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.cv3d_camera import dumps as camera_json
from cv3d.formats.json_text import to_json
from cv3d.reporting.calibration_page import calibration_page

RESULT_FILE = "result.json"
REPORT_FILE = "report.html"
JOURNAL_FILE = "detections.jsonl"


@dataclass(frozen=True)
class EarlierRun:
    """What the output folder already holds."""

    result: Mapping[str, object] | None
    """The result of an identical run, which need not be repeated; None: there is none."""


def look_at_output(out: Path, digest: str, overwrite: bool) -> EarlierRun:
    """See whether the job is already done, and whether its results may be written to `out`.

    Args:
        out: the output folder.
        digest: of the inputs, the options and the version.
        overwrite: whether another run's results may be replaced.

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
    if not isinstance(earlier, dict) or earlier.get("schema") != RESULT_SCHEMA or earlier.get("run_digest") != digest:
        raise OutputError(f"{out}: holds the results of other inputs, options or versions; --overwrite replaces them")
    complete = all((out / name).exists() for name in earlier.get("files", []))
    return EarlierRun(earlier if complete else None)


def write_calibration(calibration: Calibration, out: Path, title: str, digest: str = "") -> dict[str, object]:
    """Write every file of a calibration; `result.json` comes last, so that its presence means that all is there.

    Args:
        calibration: the result.
        out: the folder, created where absent.
        title: heads the report.
        digest: of the inputs and options, kept so that an identical run can be skipped.

    Returns:
        The result as `result.json` holds it.

    Raises:
        OutputError: a file cannot be written.
    """
    _remove_earlier_result(out / RESULT_FILE)
    with torch_threads(1):
        files, formats = _write_cameras(calibration, out)
        page = calibration_page(calibration, _Loader(calibration), title)
    atomic_write_text(out / REPORT_FILE, page)
    files.append(REPORT_FILE)
    result = calibration.as_dict()
    result |= {"formats": formats, "files": [*files, RESULT_FILE], "run_digest": digest}
    atomic_write_text(out / RESULT_FILE, to_json(result, indent=2) + "\n")
    return result


def _remove_earlier_result(path: Path) -> None:
    """Take away the sign that all is there, before the first file is replaced."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be replaced: {error.strerror or error}") from error


def _write_cameras(calibration: Calibration, out: Path) -> tuple[list[str], dict[str, object]]:
    """The camera in every format: the files written, and how true each other tool's file is."""
    files: list[str] = []
    formats: dict[str, object] = {}
    for name, camera_format in CAMERA_FORMATS.items():
        if name == "cv3d":
            extra = {"std": calibration.params_std, "covariance": calibration.covariance, "rms_px": calibration.rms_px}
            atomic_write_text(out / camera_format.file_name, camera_json(calibration.camera, extra))
            files.append(camera_format.file_name)
            continue
        try:
            written = write_camera(calibration.camera, camera_format)
        except FormatError as error:
            formats[name] = {"file": None, "reason": str(error)}
            (out / camera_format.file_name).unlink(missing_ok=True)
            continue
        atomic_write_text(out / camera_format.file_name, written.text)
        files.append(camera_format.file_name)
        formats[name] = {
            "file": camera_format.file_name,
            "model": written.model,
            "fit_rms_px": written.rms_px,
            "fit_max_px": written.max_px,
        }
    return files, formats


class _Loader:
    """Decodes a view's picture for the report."""

    def __init__(self, calibration: Calibration) -> None:
        self._pictures = {view.name: view.picture for view in calibration.views}

    def __call__(self, name: str) -> NDArray[np.uint8] | None:
        try:
            return self._pictures[name].read_gray().array
        except PictureError:
            return None
