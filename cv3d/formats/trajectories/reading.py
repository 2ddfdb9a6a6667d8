"""Reading a trajectory without being told its format."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.trajectories import euroc, kitti, pose_folder, tum
from cv3d.formats.trajectories.number_table import data_lines, fields_of, is_heading
from cv3d.formats.trajectories.trajectory_file import TrajectoryFile
from cv3d.geometry.trajectory import Trajectory

_FILES_OF_FOLDERS = (
    "trajectory.tum",
    "groundtruth.txt",
    "poses.txt",
    "data.csv",
    "mav0/state_groundtruth_estimate0/data.csv",
    "state_groundtruth_estimate0/data.csv",
)
"""Where the trajectory of a folder is, the first of them that is there."""
_KNOWN = "TUM (8 columns), KITTI (12), EuRoC csv (8 or more, apart by commas), folders of *.pose.txt"


def read_trajectory(path: str | os.PathLike[str], times: str | os.PathLike[str] | None = None) -> Trajectory:
    """The trajectory of a file or folder, in whatever known format; see :func:`read_trajectory_file`."""
    return read_trajectory_file(path, times).trajectory


def read_trajectory_file(path: str | os.PathLike[str], times: str | os.PathLike[str] | None = None) -> TrajectoryFile:
    """A trajectory, its format and what is odd about it.

    Args:
        path: a file of TUM's, KITTI's or EuRoC's format, a folder of 7-Scenes, or a folder that holds one of them under
            its usual name.
        times: a file with a time a line, for formats without time stamps. Otherwise the `times.txt` beside them is
            taken, and where there is none poses are known by the numbers of their frames.

    Returns:
        The trajectory as the file has it: a EuRoC ground truth is the body's.

    Raises:
        InputError: the file is missing or cannot be read.
        FormatError: it is in no known format, or a line of it is wrong.
    """
    place = Path(path)
    if place.is_dir():
        files = pose_folder.pose_files(place)
        if files:
            return pose_folder.decode(files, *_times(times, place))
        place = _file_of_folder(place)
    text = _read(place)
    format_ = recognised(text, str(place))
    if format_ == "kitti":
        return kitti.decode(text, str(place), *_times(times, place.parent))
    return tum.decode(text, str(place)) if format_ == "tum" else euroc.decode(text, str(place))


def recognised(text: str, source: str) -> str:
    """The format of a trajectory's text by its first line: "tum", "kitti" or "euroc".

    Raises:
        FormatError: it is none of them.
    """
    lines = data_lines(text)
    if lines and is_heading(fields_of(lines[0][1])):
        lines = lines[1:]
    if not lines:
        raise FormatError(f"{source}: holds no poses")
    number, line = lines[0]
    fields = fields_of(line)
    if "," in line:
        if len(fields) >= euroc.COLUMNS:
            return "euroc"
    elif len(fields) == tum.COLUMNS:
        return "tum"
    elif len(fields) == kitti.COLUMNS:
        return "kitti"
    raise FormatError(f"{source}:{number}: has {len(fields)} fields: no trajectory that cv3d knows: {_KNOWN}")


def _file_of_folder(folder: Path) -> Path:
    for name in _FILES_OF_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    names = ", ".join(["*.pose.txt", *_FILES_OF_FOLDERS])
    raise InputError(f"{folder}: holds no trajectory: none of {names}")


def _times(given: str | os.PathLike[str] | None, folder: Path) -> tuple[NDArray[np.float64] | None, str]:
    """The times of poses that have no stamps, and how messages call their file."""
    place = folder / kitti.TIMES_FILE if given is None else Path(given)
    if given is None and not place.is_file():
        return None, ""
    return kitti.decode_times(_read(place), str(place)), str(place)


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not data.strip():
        raise FormatError(f"{path}: is empty")
    try:
        if b"\0" in data:
            raise ValueError
        return data.decode("utf-8-sig")
    except ValueError as error:
        raise FormatError(f"{path}: is no trajectory: it is no text") from error
