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
    """Whether a folder, or its mav0, is of this layout."""
    camera = _root(folder) / "cam0"
    return (camera / "data.csv").is_file() or ((camera / "sensor.yaml").is_file() and (camera / "data").is_dir())


def read(folder: Path, request: Request) -> Recording:
    """The recording of a folder.

    Raises:
        FormatError: a list is not what it should be.
        InputError: there are no pictures.
    """
    root = _root(folder)
    lefts = euroc.read_pictures(root / "cam0")
    notes: tuple[str, ...] = ("recognised as a recording of EuRoC's layout",)
    rights: list[Path | None] = [None] * len(lefts)
    if (root / "cam1").is_dir():
        others = euroc.read_pictures(root / "cam1")
        rights = pair_stamped(lefts, others, _PAIRED_WITHIN_S)
        notes += note_of_missing(rights, len(others) - len({*rights} - {None}), "right picture")
    truth = root / euroc.TRUTH_FILE
    left = euroc.read_camera(root / "cam0")
    body_from_cam = None if left is None else left[1]
    if truth.is_file() and body_from_cam is None:
        notes += ("its ground truth is of the body, and nothing says how the camera stands on it (T_BS): left out",)
    has_truth = truth.is_file() and body_from_cam is not None
    sensors = [root / name / "sensor.yaml" for name in ("cam0", "cam1")]
    lists = [root / name / "data.csv" for name in ("cam0", "cam1")]
    return Recording(
        "euroc",
        folder.resolve().name if folder.name != "mav0" else folder.resolve().parent.name,
        tuple(FrameFiles(one.time, one.file, right) for one, right in zip(lefts, rights, strict=True)),
        partial(_calibration, root),
        read_truth=partial(euroc.read_truth, truth, _array(body_from_cam)) if has_truth else None,
        notes=notes,
        inputs=tuple(path for path in (*lists, *sensors, truth) if path.is_file()),
    )


def _root(folder: Path) -> Path:
    return folder / "mav0" if (folder / "mav0").is_dir() else folder


def _array(pose: euroc.Floats | None) -> euroc.Floats:
    return np.eye(4) if pose is None else pose


def _calibration(root: Path, size: Size) -> Calibration:
    left, right = euroc.read_camera(root / "cam0"), euroc.read_camera(root / "cam1")
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
