"""EuRoC's ground truth (Burri et al., "The EuRoC micro aerial vehicle datasets", IJRR 2016), and csv files like it.

A line is `t,px,py,pz,qw,qx,qy,qz` with whatever else after that (velocity and biases in `state_groundtruth_estimate0`):
whole nanoseconds, metres, world_from_body, the quaternion's real part first. # starts a comment.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from cv3d.formats.trajectories.number_table import NumberTable, read_table
from cv3d.formats.trajectories.trajectory_file import (
    TrajectoryFile,
    assembled,
    check_count,
    repeated_stamps,
    rotations_of_quaternions,
)
from cv3d.geometry.trajectory import Trajectory

COLUMNS = 8
_NANOSECONDS = 10**9


def encode(trajectory: Trajectory) -> str:
    """The text of a trajectory; times are rounded to nanoseconds, which a float64 of today's date does not have."""
    lines = ["#timestamp [ns],p_x [m],p_y [m],p_z [m],q_w [],q_x [],q_y [],q_z []"]
    rows = np.concatenate([trajectory.positions, trajectory.quat_wxyz], axis=1).tolist()
    for time, row in zip(trajectory.times.tolist(), rows, strict=True):
        lines.append(",".join([str(round(Fraction(time) * _NANOSECONDS)), *map(repr, row)]))
    return "\n".join(lines) + "\n"


def decode(text: str, source: str) -> TrajectoryFile:
    """The trajectory of a text.

    Raises:
        FormatError: a line is not as above, or its time is before that of the line above it.
    """
    table = read_table(text, source, COLUMNS, "t [ns], px, py, pz, qw, qx, qy, qz", at_least=True)
    check_count(table)
    times = np.array([_seconds(table, row) for row in range(len(table.lines))])
    rotations = rotations_of_quaternions(table, table.values[:, 4:8])
    trajectory = assembled(table, times, rotations, table.values[:, 1:4])
    return TrajectoryFile(trajectory, "euroc", repeated_stamps(table, times))


def _seconds(table: NumberTable, row: int) -> float:
    field = table.first_fields[row]
    try:
        return int(field) / _NANOSECONDS
    except ValueError:
        value = float(table.values[row, 0])
    if not value.is_integer():
        table.fail(row, f"its time stamp '{field}' is not in whole nanoseconds, as EuRoC's csv has them")
    return value / _NANOSECONDS
