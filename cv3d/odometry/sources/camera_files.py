"""Where recordings keep their calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cv3d.errors import InputError
from cv3d.odometry.sources.calibration import Calibration, Size, read_calibration

_FILES = (
    "camera.json",
    "rig.json",
    "intrinsics.json",
    "camera_intrinsics.json",
    "camera-intrinsics.json",
    "camera_intrinsic.json",
    "intrinsic.json",
    "calibration.json",
    "calib.json",
    "cam_params.json",
    "camera-intrinsics.txt",
    "camera_intrinsics.txt",
    "intrinsics.txt",
    "intrinsic.txt",
    "K.txt",
    "k.txt",
    "calib.txt",
    "calibration.txt",
    "camera.txt",
    "cam.txt",
    "camera_matrix.csv",
    "camera_matrix.txt",
    "intrinsics.csv",
    "camchain.yaml",
    "camera.yaml",
    "camera.yml",
    "calib.yaml",
    "calibration.yaml",
    "intrinsics.yaml",
    "intrinsics.yml",
    "sensor.yaml",
    "camera_info.yaml",
    "camera_opencv.yaml",
    "transforms.json",
    "cameras.bin",
    "cameras.txt",
    "intrinsic/intrinsic_color.txt",
)
"""Below a recording's folder, the first of them that is there."""


def calibration_beside(folder: Path, size: Size) -> Calibration | None:
    """The calibration that a folder has under a usual name; None where there is none.

    A file of such a name that holds something else is passed over, with a note.

    Args:
        folder: the recording's.
        size: of its pictures.
    """
    notes: list[str] = []
    for path in (folder / name for name in _FILES):
        if not path.is_file():
            continue
        try:
            found = read_calibration(path, size)
        except InputError as error:
            notes.append(f"not taken as calibration: {error}")
            continue
        return replace(found, notes=(*notes, f"calibration: {path.relative_to(folder)}", *found.notes))
    return Calibration(notes=tuple(notes)) if notes else None
