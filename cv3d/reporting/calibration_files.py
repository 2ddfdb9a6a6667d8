"""The folder that `cv3d calibrate` leaves: the camera in every format, the result, the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cv3d.calibration.result import Calibration
from cv3d.compute import torch_threads
from cv3d.errors import FormatError
from cv3d.formats import CAMERA_FORMATS
from cv3d.formats.approximation import write_camera
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.cv3d_camera import dumps as camera_json
from cv3d.formats.json_text import to_json
from cv3d.geometry.cameras.camera import Camera
from cv3d.reporting.calibration_page import calibration_page
from cv3d.reporting.result_folder import REPORT_FILE, RESULT_FILE, PictureLoader, remove_earlier_result


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
    remove_earlier_result(out)
    with torch_threads(1):
        extra = {"std": calibration.params_std, "covariance": calibration.covariance, "rms_px": calibration.rms_px}
        files, formats = write_cameras(calibration.camera, extra, out)
        page = calibration_page(calibration, PictureLoader(calibration.views), title)
    atomic_write_text(out / REPORT_FILE, page)
    files.append(REPORT_FILE)
    result = calibration.as_dict()
    result |= {"formats": formats, "files": [*files, RESULT_FILE], "run_digest": digest}
    atomic_write_text(out / RESULT_FILE, to_json(result, indent=2) + "\n")
    return result


def write_cameras(camera: Camera, extra: Mapping[str, object], out: Path) -> tuple[list[str], dict[str, object]]:
    """Write a camera in every format.

    Args:
        camera: what was found.
        extra: how sure that is, for cv3d's own file.
        out: the folder.

    Returns:
        The files written, and how true each other tool's file is.

    Raises:
        OutputError: a file cannot be written.
    """
    files: list[str] = []
    formats: dict[str, object] = {}
    for name, camera_format in CAMERA_FORMATS.items():
        if name == "cv3d":
            atomic_write_text(out / camera_format.file_name, camera_json(camera, extra))
            files.append(camera_format.file_name)
            continue
        try:
            written = write_camera(camera, camera_format)
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
