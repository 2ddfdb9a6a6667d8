"""A file for every pose, world_from_cam in four rows of four numbers, metres: 7-Scenes' and ScanNet's way.

Where the tool that made them was lost, ScanNet writes -inf, and others NaN: those frames have no pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.recordings.text import read_text
from cv3d.formats.trajectories.trajectory_file import nearest_rotations, rigid

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PoseFiles:
    """Poses that were read from a file each."""

    known: NDArray[np.intp]
    """(k,) which of the files hold a pose."""
    world_from_cam: Floats
    """(k, 4, 4), metres."""


def read_pose_files(files: Sequence[Path]) -> PoseFiles:
    """The poses of files; those that are not finite are left out.

    Raises:
        FormatError: a file does not hold 16 numbers, or they are no rigid motion.
        InputError: it cannot be read.
    """
    known, matrices = [], []
    for index, path in enumerate(files):
        matrix = read_matrix(path, (4, 4))
        if np.isfinite(matrix).all():
            known.append(index)
            matrices.append(matrix)
    if not matrices:
        return PoseFiles(np.zeros(0, np.intp), np.zeros((0, 4, 4)))
    stacked = np.stack(matrices)
    rotations, broken = nearest_rotations(stacked[:, :3, :3])
    if broken.any():
        raise FormatError(f"{files[known[int(np.flatnonzero(broken)[0])]]}: its 3x3 part is not a rotation")
    return PoseFiles(np.array(known, np.intp), rigid(rotations, stacked[:, :3, 3]))


def read_matrix(path: Path, shape: tuple[int, int]) -> Floats:
    """The numbers of a file as a matrix; commas and line ends are as blanks.

    Raises:
        FormatError: there are not as many, or one is no number.
        InputError: the file cannot be read.
    """
    fields = read_text(path).replace(",", " ").replace(";", " ").split()
    try:
        numbers = np.array([float(field) for field in fields])
    except ValueError:
        raise FormatError(f"{path}: holds something that is no number") from None
    if numbers.size != shape[0] * shape[1]:
        raise FormatError(f"{path}: holds {numbers.size} numbers, not a matrix of {shape[0]}x{shape[1]}")
    return numbers.reshape(shape)
