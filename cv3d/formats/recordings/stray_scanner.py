"""Stray Scanner's recordings (github.com/strayrobots/scanner, docs/format.md).

`rgb.mp4`; `depth/000000.png`, 16 bits, millimetres, of the same camera at 256x192; `confidence/`; `camera_matrix.csv`,
K for the video's pixels as they are stored; `odometry.csv`: `timestamp, frame, x, y, z, qx, qy, qz, qw` for every
frame, seconds, metres, world_from_cam with the axes x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.formats.recordings.pose_files import read_matrix
from cv3d.formats.recordings.text import read_text
from cv3d.formats.trajectories.number_table import read_table
from cv3d.formats.trajectories.trajectory_file import assembled, check_count, rotations_of_quaternions
from cv3d.geometry.trajectory import Trajectory

VIDEO = "rgb.mp4"
CAMERA_FILE = "camera_matrix.csv"
ODOMETRY_FILE = "odometry.csv"
METRES_PER_UNIT = 0.001


@dataclass(frozen=True, eq=False)
class StrayOdometry:
    """What odometry.csv holds."""

    frames: NDArray[np.int64]
    """(n,) numbers of the frames."""
    trajectory: Trajectory
    """Their stamps and poses, (n,)."""


def is_recording(folder: Path) -> bool:
    """Whether a folder is of this layout."""
    return (folder / CAMERA_FILE).is_file() and (folder / ODOMETRY_FILE).is_file()


def read_odometry(folder: Path) -> StrayOdometry:
    """The stamps and poses of the frames.

    Raises:
        FormatError: a line is not as above.
        InputError: the file cannot be read.
    """
    path = folder / ODOMETRY_FILE
    table = read_table(read_text(path), str(path), 9, "timestamp, frame, x, y, z, qx, qy, qz, qw", at_least=True)
    check_count(table)
    rotations = rotations_of_quaternions(table, table.values[:, [8, 5, 6, 7]])
    trajectory = assembled(table, table.values[:, 0], rotations, table.values[:, 2:5])
    return StrayOdometry(np.round(table.values[:, 1]).astype(np.int64), trajectory)


def read_params(folder: Path) -> tuple[float, float, float, float]:
    """Focal lengths and principal point, fx fy cx cy, of the video's frames as they are stored, pixels.

    Raises:
        FormatError: the file holds no matrix.
    """
    matrix = read_matrix(folder / CAMERA_FILE, (3, 3))
    fx, fy, cx, cy = matrix[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    return fx, fy, cx, cy
