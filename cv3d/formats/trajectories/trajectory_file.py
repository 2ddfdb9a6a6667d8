"""What a trajectory's file holds, and the checks that every format's reader makes, with the line to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.trajectories.number_table import NumberTable
from cv3d.geometry.trajectory import Trajectory

Floats = NDArray[np.float64]

_SKEW = 5e-3
"""Departure from orthogonality, or from unit length, that rounding to three decimals explains."""
_EXACT = 5e-7


@dataclass(frozen=True)
class TrajectoryFile:
    """A trajectory as a file held it."""

    trajectory: Trajectory
    format: str
    """Which format it was in, a key of `TRAJECTORY_FORMATS`."""
    warnings: tuple[str, ...] = ()
    """What is odd about the file, one line each."""
    is_counted: bool = False
    """Whether the file says neither when nor of which frame its poses are, but only their order."""


def assembled(table: NumberTable, times: Floats, rotations: Floats, positions: Floats) -> Trajectory:
    """The timed trajectory of the lines of a table.

    Args:
        table: for the line numbers in messages.
        times: (n,), seconds.
        rotations: (n, 3, 3).
        positions: (n, 3), metres.

    Raises:
        FormatError: times go back.
    """
    back = np.flatnonzero(np.diff(times) < 0.0)
    if len(back):
        row = int(back[0]) + 1
        table.fail(row, f"its time stamp {times[row]:.6f} is earlier than {times[row - 1]:.6f} of the line before")
    return Trajectory(times, rigid(rotations, positions))


def repeated_stamps(table: NumberTable, times: Floats) -> tuple[str, ...]:
    """The warning about stamps that are there twice, if any are."""
    twice = np.flatnonzero(np.diff(times) == 0.0)
    if not len(twice):
        return ()
    more = f", and {len(twice) - 1} more repeat theirs" if len(twice) > 1 else ""
    return (f"{table.place(int(twice[0]) + 1)}: repeats the time stamp of the line before{more}",)


def rigid(rotations: Floats, positions: Floats) -> Floats:
    """Matrices (n, 4, 4) from (n, 3, 3) and (n, 3)."""
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :3, :3] = rotations
    poses[:, :3, 3] = positions
    return poses


def rotations_of_quaternions(table: NumberTable, quat_wxyz: Floats) -> Floats:
    """Rotation matrices (n, 3, 3) of quaternions (n, 4), brought to unit length.

    Raises:
        FormatError: a length is not near 1.
    """
    off = np.flatnonzero(np.abs((quat_wxyz**2).sum(axis=1) - 1.0) > _SKEW)
    if len(off):
        length = float(np.linalg.norm(quat_wxyz[off[0]]))
        table.fail(int(off[0]), f"its quaternion has the length {length:.4g}, and a rotation's has 1")
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_quat(quat_wxyz, scalar_first=True).as_matrix(), dtype=np.float64)


def nearest_rotations(matrices: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Matrices (n, 3, 3) that were rounded in writing, made rotations; and which of them are none.

    What is orthogonal to the last of seven digits, as KITTI writes them, is taken as it is: to exchange one rounding
    for another would only make figures differ from those of other tools.
    """
    skew = np.abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    broken = (skew > _SKEW) | (np.linalg.det(matrices) < 0.0)
    rounded = skew > _EXACT
    rotations = matrices.copy()
    u, _, vt = np.linalg.svd(np.where(broken[:, None, None], np.eye(3), matrices)[rounded])
    rotations[rounded] = u @ vt
    return rotations, broken


def exact_rotations(table: NumberTable, matrices: Floats) -> Floats:
    """Rotations (n, 3, 3) of a table, made exact where they were rounded off.

    Raises:
        FormatError: one is not near any rotation.
    """
    rotations, broken = nearest_rotations(matrices)
    if broken.any():
        table.fail(int(np.flatnonzero(broken)[0]), "its 3x3 part is not a rotation")
    return rotations


def check_count(table: NumberTable) -> None:
    """See that there are poses.

    Raises:
        FormatError: there are none.
    """
    if not len(table.values):
        raise FormatError(f"{table.source}: holds no poses")
