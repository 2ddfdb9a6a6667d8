"""The TUM RGB-D benchmark's trajectories (Sturm et al., "A benchmark for the evaluation of RGB-D SLAM", IROS 2012).

A line is `t tx ty tz qx qy qz qw`: seconds, metres, world_from_cam, the quaternion's real part last. Comments start
with #.
"""

from __future__ import annotations

import numpy as np

from cv3d.formats.trajectories.number_table import read_table
from cv3d.formats.trajectories.trajectory_file import (
    TrajectoryFile,
    assembled,
    check_count,
    repeated_stamps,
    rotations_of_quaternions,
)
from cv3d.geometry.trajectory import Trajectory

COLUMNS = 8


def encode(trajectory: Trajectory) -> str:
    """The text of a trajectory, exact to the last bit of its times and positions."""
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    quat_xyzw = np.roll(trajectory.quat_wxyz, -1, axis=1)
    rows = np.concatenate([trajectory.times[:, None], trajectory.positions, quat_xyzw], axis=1)
    lines += [" ".join(map(repr, row)) for row in rows.tolist()]
    return "\n".join(lines) + "\n"


def decode(text: str, source: str) -> TrajectoryFile:
    """The trajectory of a text.

    Raises:
        FormatError: a line is not as above, or its time is before that of the line above it.
    """
    table = read_table(text, source, COLUMNS, "t tx ty tz qx qy qz qw")
    check_count(table)
    times = table.values[:, 0]
    rotations = rotations_of_quaternions(table, table.values[:, [7, 4, 5, 6]])
    trajectory = assembled(table, times, rotations, table.values[:, 1:4])
    return TrajectoryFile(trajectory, "tum", repeated_stamps(table, times))
