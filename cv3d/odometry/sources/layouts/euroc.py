"""EuRoC: mav0/cam0, cam1 with data.csv and sensor.yaml each."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cv3d.formats.recordings import euroc
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.media.sequences import FrameFiles
from cv3d.odometry.sources.assembling import Recording
from cv3d.odometry.sources.calibration import Calibration, Size
from cv3d.odometry.sources.pairing import note_of_missing, pair_stamped
from cv3d.odometry.sources.request import Request

_PAIRED_WITHIN_S = 0.003


def recognised(folder: Path) -> bool:
    """Whether a folder, its mav0, or a camera's folder alone is of this layout."""
    return _is_camera(_left(folder))


def read(folder: Path, request: Request) -> Recording:
    """The recording of a folder.

    Raises:
        FormatError: a list is not what it should be.
        InputError: there are no pictures.
    """
    left_folder = _left(folder)
    root, right_folder = left_folder.parent, left_folder.with_name("cam1")
    lefts = euroc.read_pictures(left_folder)
    notes: tuple[str, ...] = ("recognised as a recording of EuRoC's layout",)
    rights: list[Path | None] = [None] * len(lefts)
    if left_folder != folder and right_folder.is_dir():
        others = euroc.read_pictures(right_folder)
        rights = pair_stamped(lefts, others, _PAIRED_WITHIN_S)
        notes += note_of_missing(rights, len(others) - len({*rights} - {None}), "right picture")
    truth = root / euroc.TRUTH_FILE
    left = euroc.read_camera(left_folder)
    body_from_cam = None if left is None else left[1]
    if truth.is_file() and body_from_cam is None:
        notes += ("its ground truth is of the body, and nothing says how the camera stands on it (T_BS): left out",)
    has_truth = truth.is_file() and body_from_cam is not None
    tables = [place / name for place in (left_folder, right_folder) for name in ("data.csv", "sensor.yaml")]
    return Recording(
        "euroc",
        folder.resolve().name if folder.name != "mav0" else folder.resolve().parent.name,
        tuple(FrameFiles(one.time, one.file, right) for one, right in zip(lefts, rights, strict=True)),
        partial(_calibration, left_folder, right_folder),
        read_truth=partial(euroc.read_truth, truth, _array(body_from_cam)) if has_truth else None,
        notes=notes,
        inputs=tuple(path for path in (*tables, truth) if path.is_file()),
    )


def _left(folder: Path) -> Path:
    """The folder of the left, or only, camera."""
    places = (folder / "mav0" / "cam0", folder / "cam0", folder)
    return next((place for place in places if _is_camera(place)), folder / "cam0")


def _is_camera(folder: Path) -> bool:
    is_listed = (folder / "data.csv").is_file() or (folder / "sensor.yaml").is_file()
    return is_listed and (folder / "data").is_dir()


def _array(pose: euroc.Floats | None) -> euroc.Floats:
    return np.eye(4) if pose is None else pose


def _calibration(left_folder: Path, right_folder: Path, size: Size) -> Calibration:
    left, right = euroc.read_camera(left_folder), euroc.read_camera(right_folder)
    if left is None:
        return Calibration()
    camera, body_from_left = left
    if right is None:
        return Calibration(camera)
    right_camera, body_from_right = right
    if body_from_left is None or body_from_right is None:
        note = "the sensor.yaml files do not say how the two cameras stand (T_BS)"
        return Calibration(camera, right_camera, notes=(note,))
    return Calibration(camera, right_camera, inverse_rigid(body_from_right) @ body_from_left)
