"""KITTI's odometry poses (Geiger et al., "Are we ready for autonomous driving?", CVPR 2012).

A line is the upper 3x4 part of world_from_cam, row by row, of one frame after the other, metres. When the frames were
stands in another file, `times.txt`, a line each, seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.trajectories.number_table import read_table
from cv3d.formats.trajectories.trajectory_file import TrajectoryFile, check_count, exact_rotations, rigid
from cv3d.geometry.trajectory import Trajectory

COLUMNS = 12
TIMES_FILE = "times.txt"

Floats = NDArray[np.float64]


def encode(trajectory: Trajectory) -> str:
    """The text of the poses, exact to the last bit."""
    rows = trajectory.world_from_cam[:, :3].reshape(-1, COLUMNS).tolist()
    return "".join(" ".join(map(repr, row)) + "\n" for row in rows)


def encode_times(trajectory: Trajectory) -> str:
    """The text of a `times.txt`."""
    return "".join(f"{time!r}\n" for time in trajectory.times.tolist())


def decode(text: str, source: str, times: Floats | None = None, times_source: str = "") -> TrajectoryFile:
    """The trajectory of a text.

    Args:
        text: the poses.
        source: how messages call them.
        times: of every pose, (n,), seconds, from another file. None: poses are numbered.
        times_source: how messages call that.

    Raises:
        FormatError: a line is not as above, or there are not as many times as poses.
    """
    table = read_table(text, source, COLUMNS, "the upper 3x4 part of a pose, row by row")
    check_count(table)
    matrices = table.values.reshape(-1, 3, 4)
    poses = rigid(exact_rotations(table, matrices[:, :, :3]), matrices[:, :, 3])
    if times is None:
        return TrajectoryFile(Trajectory(np.arange(float(len(poses))), poses, False), "kitti", is_counted=True)
    if len(times) != len(poses):
        raise FormatError(f"{times_source}: holds {len(times)} times, and {source} {len(poses)} poses")
    return TrajectoryFile(Trajectory(times, poses), "kitti")


def decode_times(text: str, source: str) -> Floats:
    """The times of a `times.txt`, (n,), seconds.

    Raises:
        FormatError: a line is not one number, or less than that of the line above it.
    """
    table = read_table(text, source, 1, "a time in seconds")
    times = table.values[:, 0]
    back = np.flatnonzero(np.diff(times) < 0.0)
    if len(back):
        table.fail(int(back[0]) + 1, "is earlier than the line before")
    return times
