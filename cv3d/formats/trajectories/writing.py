"""Writing a trajectory in a format that other tools read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cv3d.errors import UsageError
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.trajectories import euroc, kitti, pose_folder, tum
from cv3d.geometry.trajectory import Trajectory


def _as_text(encode: Callable[[Trajectory], str]) -> Callable[[Trajectory, Path], None]:
    return lambda trajectory, path: atomic_write_text(path, encode(trajectory))


TRAJECTORY_FORMATS: dict[str, Callable[[Trajectory, Path], None]] = {
    "tum": _as_text(tum.encode),
    "kitti": _as_text(kitti.encode),
    "euroc": _as_text(euroc.encode),
    "7scenes": pose_folder.write,
}
"""What writes a trajectory to a file, or to a folder for "7scenes", by the format's name in options."""


def write_trajectory(
    path: str | os.PathLike[str],
    trajectory: Trajectory,
    format: str = "tum",
    times: str | os.PathLike[str] | None = None,
) -> None:
    """Write a trajectory.

    Args:
        path: the file, or for "7scenes" the folder.
        trajectory: the poses.
        format: a key of :data:`TRAJECTORY_FORMATS`.
        times: where to write the time stamps, for the formats that have none; None: nowhere.

    Raises:
        UsageError: there is no such format.
        OutputError: a file cannot be written.
    """
    if format not in TRAJECTORY_FORMATS:
        raise UsageError(f"no trajectory format '{format}'; known: {', '.join(TRAJECTORY_FORMATS)}")
    if times is not None:
        atomic_write_text(times, kitti.encode_times(trajectory))
    TRAJECTORY_FORMATS[format](trajectory, Path(path))
