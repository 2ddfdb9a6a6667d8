"""Folders with a file for every pose, as 7-Scenes has them (Shotton et al., CVPR 2013): `frame-000012.pose.txt`.

A file is world_from_cam, four rows of four numbers, metres. The number in its name is the frame's; times stand in
`times.txt`, if anywhere: a line for every pose, or for every frame from 0.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.trajectories.number_table import read_table
from cv3d.formats.trajectories.trajectory_file import TrajectoryFile, nearest_rotations, rigid
from cv3d.geometry.trajectory import Trajectory

PATTERN = "*.pose.txt"

Floats = NDArray[np.float64]
_NUMBER = re.compile(r"(\d+)(?!.*\d)")


def pose_files(folder: Path) -> list[Path]:
    """The files of poses in a folder, in the order of their frames; none where it is of another kind.

    Raises:
        FormatError: two are of one frame, or a name has no number.
    """
    numbered: dict[int, Path] = {}
    for path in sorted(folder.glob(PATTERN)):
        found = _NUMBER.search(path.name.removesuffix(".pose.txt"))
        if found is None:
            raise FormatError(f"{path}: its name has no frame number, as in frame-000012.pose.txt")
        number = int(found[1])
        if number in numbered:
            raise FormatError(f"{path}: is of the same frame as {numbered[number].name}")
        numbered[number] = path
    return [numbered[number] for number in sorted(numbered)]


def frame_number(path: Path) -> int:
    """The number in the name of a file of :func:`pose_files`."""
    found = _NUMBER.search(path.name.removesuffix(".pose.txt"))
    return int(found[1]) if found else 0


def decode(files: list[Path], times: Floats | None = None, times_source: str = "") -> TrajectoryFile:
    """The trajectory of the files of a folder.

    Args:
        files: as of :func:`pose_files`, one at least.
        times: of every pose or of every frame, seconds. None: poses are known by their frames' numbers.
        times_source: how messages call that.

    Raises:
        FormatError: a file does not hold a pose, or the times do not suffice.
        InputError: a file cannot be read.
    """
    matrices = np.stack([_read_pose(path) for path in files])
    rotations, broken = nearest_rotations(matrices[:, :3, :3])
    if broken.any():
        raise FormatError(f"{files[int(np.flatnonzero(broken)[0])]}: its 3x3 part is not a rotation")
    poses = rigid(rotations, matrices[:, :3, 3])
    numbers = np.array([frame_number(path) for path in files])
    if times is None:
        return TrajectoryFile(Trajectory(numbers.astype(np.float64), poses, False), "7scenes")
    if len(times) == len(files):
        return TrajectoryFile(Trajectory(times, poses), "7scenes")
    if len(times) <= numbers[-1]:
        raise FormatError(f"{times_source}: holds {len(times)} times, but {files[-1].name} is of a later frame")
    return TrajectoryFile(Trajectory(times[numbers], poses), "7scenes")


def write(trajectory: Trajectory, folder: Path) -> None:
    """Write a file for every pose, numbered from 0, or with its frame's number where there is one.

    Raises:
        OutputError: a file cannot be written.
    """
    numbers = np.arange(len(trajectory)) if trajectory.is_timed else np.round(trajectory.times).astype(np.int64)
    for number, matrix in zip(numbers.tolist(), trajectory.world_from_cam.tolist(), strict=True):
        text = "".join("\t".join(map(repr, row)) + "\n" for row in matrix)
        atomic_write_text(folder / f"frame-{number:06d}.pose.txt", text)


def _read_pose(path: Path) -> Floats:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    table = read_table(text, str(path), 4, "a row of a 4x4 pose")
    if len(table.values) != 4:
        raise FormatError(f"{path}: holds {len(table.values)} rows, but a pose has 4")
    if not np.allclose(table.values[3], (0.0, 0.0, 0.0, 1.0), atol=1e-9):
        table.fail(3, f"the last row of a pose is 0 0 0 1, here it is {table.values[3].tolist()}")
    return table.values
