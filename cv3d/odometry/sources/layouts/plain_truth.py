"""The true path that a folder of no known tool brings, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cv3d.errors import Cv3dError
from cv3d.formats.posed_pictures import has_posed_pictures, read_posed_pictures
from cv3d.formats.recordings.pose_files import read_pose_files
from cv3d.formats.trajectories import read_trajectory_file
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.trajectory import Trajectory
from cv3d.odometry.sources.assembling import in_order
from cv3d.odometry.sources.pairing import pair_files

# fmt: off
_FILES = (
    "groundtruth.txt", "ground_truth.txt", "gt.txt", "poses.txt", "pose.txt", "trajectory.txt", "traj.txt",
    "trajectory.tum", "poses.tum", "groundtruth.tum", "groundtruth.csv", "gt_poses.txt",
)
# fmt: on
_FOLDERS = ("poses", "pose", "gt")


def truth_beside(
    folder: Path, pictures: Sequence[Path], times: Sequence[float]
) -> tuple[Callable[[], Trajectory] | None, tuple[Path, ...]]:
    """What reads the path, None where there is none, and the files that it is in.

    Args:
        folder: the recording's.
        pictures: in the order of their names.
        times: their stamps, seconds.
    """
    for path in (folder / name for name in _FILES):
        if path.is_file() and _is_trajectory(path):
            return partial(_of_file, path, times), (path,)
    for files in [*(sorted((folder / name).glob("*.txt")) for name in _FOLDERS), sorted(folder.glob("*.pose.txt"))]:
        paired = pair_files(pictures, files, 0.0) if len(files) > 1 else None
        if paired is not None:
            posed = [(time, path) for time, path in zip(times, paired, strict=True) if path is not None]
            return partial(_of_files, posed), tuple(path for _, path in posed)
    if has_posed_pictures(folder):
        return partial(_of_posed, folder, pictures, times), ()
    return None, ()


def _is_trajectory(path: Path) -> bool:
    try:
        read_trajectory_file(path)
    except Cv3dError:
        return False
    return True


def _of_file(path: Path, times: Sequence[float]) -> Trajectory:
    """A path that has stamps keeps them; poses that are only counted belong to the frames in their order."""
    read = read_trajectory_file(path)
    if read.format != "kitti":
        return read.trajectory
    poses = read.trajectory.world_from_cam
    count = min(len(poses), len(times))
    return in_order(np.array(times[:count]), poses[:count])


def _of_files(posed: Sequence[tuple[float, Path]]) -> Trajectory:
    read = read_pose_files([path for _, path in posed])
    return in_order(np.array([time for time, _ in posed])[read.known], read.world_from_cam)


def _of_posed(folder: Path, pictures: Sequence[Path], times: Sequence[float]) -> Trajectory:
    poses = {one.file.name: inverse_rigid(one.cam_from_world) for one in read_posed_pictures(folder).pictures}
    known = [index for index, path in enumerate(pictures) if path.name in poses]
    stacked = np.stack([poses[pictures[index].name] for index in known]) if known else np.zeros((0, 4, 4))
    return in_order(np.array([times[index] for index in known]), stacked)
