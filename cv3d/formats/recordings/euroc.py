"""EuRoC's recordings (Burri et al., "The EuRoC micro aerial vehicle datasets", IJRR 2016).

`mav0/cam0/data.csv` lists `stamp [ns],file`, the pictures are in `mav0/cam0/data`, and `mav0/cam0/sensor.yaml` has the
camera with `T_BS`, body_from_cam. The ground truth, `mav0/state_groundtruth_estimate0/data.csv`, is world_from_body.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats import euroc as sensor_file
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.recordings.text import read_text
from cv3d.formats.recordings.tum import StampedFile
from cv3d.formats.trajectories import read_trajectory
from cv3d.formats.trajectories.number_table import data_lines, fields_of
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.trajectory import Trajectory

TRUTH_FILE = "state_groundtruth_estimate0/data.csv"
_NANOSECONDS = 10**9

Floats = NDArray[np.float64]


def read_pictures(camera_folder: Path) -> list[StampedFile]:
    """The pictures of a camera's folder, as its data.csv lists them, else as their names say.

    Raises:
        FormatError: a line of the list is not a stamp in whole nanoseconds and a file.
        InputError: there are no pictures.
    """
    listed = camera_folder / "data.csv"
    data = camera_folder / "data"
    if listed.is_file():
        entries = [_entry(fields_of(line), listed, number, data) for number, line in data_lines(read_text(listed))]
    else:
        named = sorted(path for path in data.glob("*.*") if path.stem.isdigit())
        entries = [StampedFile(int(path.stem) / _NANOSECONDS, path) for path in named]
    if not entries:
        raise InputError(f"{camera_folder}: has no pictures: neither a data.csv that lists them nor data/STAMP.png")
    return entries


def read_camera(camera_folder: Path) -> tuple[Camera, Floats | None] | None:
    """The camera of a folder's sensor.yaml, and body_from_cam (4, 4) where it says it; None: there is no such file.

    Raises:
        FormatError: the file is not what it should be.
    """
    path = camera_folder / "sensor.yaml"
    if not path.is_file():
        return None
    one = sensor_file.decode(Content.of_file(path), ReadOptions()).rig.cameras[0]
    cam_from_body = one.cam_from_cam0
    return one.camera, None if cam_from_body is None else inverse_rigid(cam_from_body)


def read_truth(path: Path, body_from_cam: Floats) -> Trajectory:
    """The camera's path from the body's.

    Raises:
        FormatError: the file is no ground truth of this layout.
    """
    body = read_trajectory(path)
    return Trajectory(body.times, body.world_from_cam @ body_from_cam)


def _entry(fields: list[str], path: Path, number: int, data: Path) -> StampedFile:
    if len(fields) < 2 or not fields[0].isdigit():
        raise FormatError(f"{path}:{number}: should hold a stamp in whole nanoseconds and a file")
    return StampedFile(int(fields[0]) / _NANOSECONDS, data / fields[1])
