"""The folder that `cv3d calibrate --rig` leaves: the rig and its cameras in every format, the result, the report."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from cv3d.calibration.rig.result import RIG_SCHEMA, CameraInRig, RigCalibration
from cv3d.compute import torch_threads
from cv3d.errors import FormatError, OutputError
from cv3d.formats import FORMATS, cv3d_rig, opencv_stereo, ros_camera_info
from cv3d.formats.approximation import SaidCamera
from cv3d.formats.atomic import atomic_write_bytes, atomic_write_text
from cv3d.formats.cv3d_camera import dumps as camera_json
from cv3d.formats.json_text import to_json
from cv3d.formats.writing import write_cameras
from cv3d.geometry.cameras.rig import Rig, RigCamera
from cv3d.geometry.views.rectification import Rectification, RectifiedCamera
from cv3d.reporting.rectified_example import PairRectification, rectify_pair
from cv3d.reporting.result_folder import REPORT_FILE, RESULT_FILE, remove_earlier_result
from cv3d.reporting.rig_page import rig_page
from cv3d.reporting.rig_place import place_of

RIG_FILE = "rig.json"
STEREO_FILE = "stereo_opencv.yaml"
_WHOLE_FORMATS = ("kalibr", "colmap")
"""Formats whose file holds the rig."""
_RESERVED = frozenset(["rig", "result", "stereo"])
_UNSAFE = re.compile(r"[^\w.-]+")


def write_rig(calibration: RigCalibration, out: Path, title: str, digest: str = "") -> dict[str, object]:
    """Write every file of a rig's calibration; `result.json` comes last: its presence means that all is there.

    Args:
        calibration: the result.
        out: the folder, created where absent. Files of an earlier rig there that this one does not have are removed.
        title: heads the report.
        digest: of the inputs and options, kept so that an identical run can be skipped.

    Returns:
        The result as `result.json` holds it: :meth:`RigCalibration.as_dict`, where each camera sits relative to the
        first and what the watch-out checks found of it, and the files with how true they are.

    Raises:
        OutputError: a file cannot be written.
    """
    earlier = _files_of_earlier_run(out)
    remove_earlier_result(out)
    with torch_threads(1):
        rectification = rectify_pair(calibration)
        written = _write_cameras(calibration, out, rectification)
        page = rig_page(calibration, title, rectification)
    atomic_write_text(out / REPORT_FILE, page)
    written.files.append(REPORT_FILE)
    for name in earlier - {*written.files, RESULT_FILE}:
        _remove(out / name)
    result = calibration.as_dict() | {
        "cameras": [camera | _further(item) for camera, item in _camera_entries(calibration)],
        "formats": written.formats,
        "losses": [{"file": name, "loss": words} for name, words in written.losses],
        "files": [*written.files, RESULT_FILE],
        "run_digest": digest,
    }
    atomic_write_text(out / RESULT_FILE, to_json(result, indent=2) + "\n")
    return result


def _camera_entries(calibration: RigCalibration) -> list[tuple[dict[str, object], CameraInRig]]:
    entries = calibration.as_dict()["cameras"]
    if not isinstance(entries, list):
        raise TypeError("the cameras of a result are a list")
    return list(zip(entries, calibration.cameras, strict=True))


def _further(item: CameraInRig) -> dict[str, object]:
    place = place_of(item)
    return {
        "from_first": {
            "centre": place.centre,
            "distance": place.distance,
            "distance_std": place.distance_std,
            "angle_deg": place.angle_deg,
            "rotation_std_deg": place.rotation_std_deg,
        },
        "findings": [] if item.alone is None else [finding.as_dict() for finding in item.alone.findings],
    }


@dataclass
class _Written:
    """What has been written so far."""

    out: Path
    files: list[str] = field(default_factory=list)
    formats: list[dict[str, object]] = field(default_factory=list)
    """One entry for each format and camera."""
    losses: list[tuple[str, str]] = field(default_factory=list)
    """File, and what it does not say."""

    def put(self, name: str, data: bytes) -> None:
        """Write a file."""
        atomic_write_bytes(self.out / name, data)
        self.files.append(name)

    def say(self, format_name: str, file: str, item: CameraInRig, said: SaidCamera) -> None:
        """Note how true a camera is in a file."""
        self.formats.append(
            {
                "format": format_name,
                "camera": item.name,
                "camera_model": item.camera.model,
                "file": file,
                "model": said.camera.model,
                "fit_rms_px": said.rms_px,
                "fit_max_px": said.max_px,
            }
        )

    def refuse(self, format_name: str, camera: str | None, error: FormatError) -> None:
        """Note that a format cannot say a camera, or the rig."""
        reason = str(error)
        self.formats.append(
            {"format": format_name, "camera": camera, "camera_model": None, "file": None, "reason": reason}
        )


def _write_cameras(calibration: RigCalibration, out: Path, rectification: PairRectification | None) -> _Written:
    """The rig and its cameras in every format."""
    written = _Written(out)
    rig = calibration.rig
    extra = {
        "rms_px": calibration.rms_px,
        "pose_covariance": {item.name: item.pose_covariance for item in calibration.cameras},
    }
    written.put(RIG_FILE, cv3d_rig.dumps(rig, extra).encode("utf-8"))
    for format_name in _WHOLE_FORMATS:
        _write_whole(written, calibration, rig, format_name)
    rectified = None if rectification is None else rectification.rectified
    if rectification is not None:
        _write_stereo(written, calibration, rig, rectified)
        if rectified is None:
            written.losses.append((STEREO_FILE, f"no rectification: {rectification.reason}"))
    stems = file_stems([item.name for item in calibration.cameras])
    sides: list[RectifiedCamera | None] = [None] * len(stems)
    if rectified is not None:
        sides = [rectified.first, rectified.second]
    for item, stem, side in zip(calibration.cameras, stems, sides, strict=True):
        own = {"std": item.params_std, "covariance": item.covariance, "rms_px": item.rms_px}
        written.put(f"{stem}.json", camera_json(item.camera, own).encode("utf-8"))
        _write_member(written, item, stem, "opencv")
        _write_member(written, item, stem, "ros", side)
    return written


def _write_whole(written: _Written, calibration: RigCalibration, rig: Rig, format_name: str) -> None:
    camera_format = FORMATS[format_name]
    try:
        cameras = write_cameras(rig, camera_format)
    except FormatError as error:
        written.refuse(format_name, None, error)
        return
    for name, data in cameras.files.items():
        written.put(name, data)
    for item, said in zip(calibration.cameras, cameras.cameras, strict=True):
        written.say(format_name, camera_format.file_name, item, said)
    written.losses += [(camera_format.file_name, loss) for loss in cameras.losses]


def _write_stereo(written: _Written, calibration: RigCalibration, rig: Rig, rectified: Rectification | None) -> None:
    try:
        cameras = write_cameras(rig, FORMATS["opencv"])
    except FormatError as error:
        written.refuse("opencv", None, error)
        return
    spoken = tuple(
        RigCamera(one.name, said.camera, one.cam_from_cam0)
        for one, said in zip(rig.cameras, cameras.cameras, strict=True)
    )
    written.put(STEREO_FILE, opencv_stereo.dumps_pair(Rig(spoken, rig.is_metric), rectified).encode("utf-8"))
    for item, said in zip(calibration.cameras, cameras.cameras, strict=True):
        written.say("opencv", STEREO_FILE, item, said)
    written.losses += [(STEREO_FILE, loss) for loss in cameras.losses]


def _write_member(
    written: _Written, item: CameraInRig, stem: str, format_name: str, side: RectifiedCamera | None = None
) -> None:
    """One camera's own file; of a rectified pair ROS is told the rectification too."""
    camera_format = FORMATS[format_name]
    try:
        cameras = write_cameras(Rig((RigCamera(item.name, item.camera),)), camera_format)
    except FormatError as error:
        written.refuse(format_name, item.name, error)
        return
    name = camera_format.member_name.format(name=stem)
    said = cameras.cameras[0]
    data = cameras.files[camera_format.file_name]
    if side is not None:
        data = ros_camera_info.encode_rectified(RigCamera(item.name, said.camera), side.view_from_cam, side.projection)
    written.put(name, data)
    written.say(format_name, name, item, said)


def file_stems(names: list[str]) -> list[str]:
    """What the cameras' files begin with: their names made fit for files, distinct whatever the file system's case."""
    stems: list[str] = []
    taken = set(_RESERVED)
    for name in names:
        stem = _UNSAFE.sub("_", name).strip("._") or "camera"
        candidates = (stem, f"camera_{stem}", *(f"{stem}_{number}" for number in range(2, len(names) + 3)))
        chosen = next(candidate for candidate in candidates if candidate.casefold() not in taken)
        taken.add(chosen.casefold())
        stems.append(chosen)
    return stems


def _files_of_earlier_run(out: Path) -> set[str]:
    """The files in the folder itself that an earlier rig calibration says it wrote."""
    try:
        earlier = json.loads((out / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    if not isinstance(earlier, dict) or earlier.get("schema") != RIG_SCHEMA:
        return set()
    names = earlier.get("files")
    return (
        {name for name in names if isinstance(name, str) and Path(name).name == name}
        if isinstance(names, list)
        else set()
    )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be replaced: {error.strerror or error}") from error
