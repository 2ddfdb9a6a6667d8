"""Trajectories as other tools write them: TUM, KITTI, EuRoC and folders of poses, recognised by what is in them."""

from cv3d.formats.trajectories.reading import read_trajectory, read_trajectory_file
from cv3d.formats.trajectories.trajectory_file import TrajectoryFile
from cv3d.formats.trajectories.writing import TRAJECTORY_FORMATS, write_trajectory

__all__ = ["TRAJECTORY_FORMATS", "TrajectoryFile", "read_trajectory", "read_trajectory_file", "write_trajectory"]
