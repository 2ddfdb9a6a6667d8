"""ScanNet as its reader exports it: color/, depth/, pose/ and intrinsic/ with a file for every frame.

Dai et al., "ScanNet", CVPR 2017: 30 Hz, depth in millimetres, at another size than the colours; `pose` is
world_from_cam, -inf where there is none; `extrinsic_depth.txt` and `extrinsic_color.txt` take points of each camera to
a common frame.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cv3d.errors import InputError
from cv3d.formats.recordings.pose_files import read_matrix, read_pose_files
from cv3d.geometry.cameras import Camera
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences import FrameFiles
from cv3d.odometry.sources.assembling import Recording, in_order
from cv3d.odometry.sources.calibration import Calibration, Floats, Size
from cv3d.odometry.sources.camera_files import calibration_beside
from cv3d.odometry.sources.depth_scale import DepthRule, first_depth_size
from cv3d.odometry.sources.finding import depths_in, pictures_in
from cv3d.odometry.sources.pairing import note_of_missing, number_of, pair_files
from cv3d.odometry.sources.request import ASSUMED_FPS, Request

_COLORS = ("color", "rgb")
_INTRINSICS = ("intrinsic", "intrinsics")
_RULE = DepthRule(0.001, "as ScanNet has it")
_IDENTICAL = 1e-6


def recognised(folder: Path) -> bool:
    """Whether a folder is of this layout."""
    has_poses = (folder / "pose").is_dir() and any((folder / "pose").glob("*.txt"))
    return _colors(folder) is not None and (folder / "depth").is_dir() and (has_poses or _intrinsic(folder) is not None)


def read(folder: Path, request: Request) -> Recording:
    """The recording of a folder.

    Raises:
        InputError: there are no pictures.
    """
    color_folder = _colors(folder)
    if color_folder is None:
        raise InputError(f"{folder}: has no folder of colour pictures")
    colors, depths = pictures_in(color_folder), depths_in(folder / "depth")
    partners = pair_files(colors, depths, 0.02) or [None] * len(colors)
    numbers = [number_of(path) for path in colors]
    order = sorted(range(len(colors)), key=lambda index: (numbers[index] or 0, index))
    fps = request.fps or ASSUMED_FPS
    times = {index: (index if numbers[index] is None else numbers[index] or 0) / fps for index in order}
    poses = {number_of(path): path for path in sorted((folder / "pose").glob("*.txt"))}
    posed = [(times[index], poses[numbers[index]]) for index in order if numbers[index] in poses]
    notes = (
        "recognised as a recording of ScanNet's layout",
        f"no time stamps: {fps:g} Hz is {'taken as given' if request.fps else 'assumed'}",
        *note_of_missing(partners, len(depths) - len({*partners} - {None}), "depth picture"),
    )
    return Recording(
        "scannet",
        folder.resolve().name,
        tuple(FrameFiles(times[index], colors[index], depth=partners[index]) for index in order),
        partial(_calibration, folder, depths),
        _RULE,
        is_timed=False,
        read_truth=partial(_truth, posed) if posed else None,
        notes=notes,
        inputs=tuple(path for _, path in posed),
    )


def _colors(folder: Path) -> Path | None:
    return next((folder / name for name in _COLORS if (folder / name).is_dir() and pictures_in(folder / name)), None)


def _intrinsic(folder: Path) -> Path | None:
    places = (folder / inner / f"{name}_color.txt" for inner in _INTRINSICS for name in ("intrinsic", "intrinsics"))
    return next((path for path in places if path.is_file()), None)


def _calibration(folder: Path, depths: list[Path], size: Size) -> Calibration:
    color_file = _intrinsic(folder)
    if color_file is None:
        return calibration_beside(folder, size) or Calibration()
    camera = _camera(color_file, size)
    depth_file = color_file.with_name(color_file.name.replace("_color", "_depth"))
    depth_size = first_depth_size(depths)
    depth_camera = _camera(depth_file, depth_size) if depth_file.is_file() and depth_size is not None else None
    placed = [color_file.with_name(f"extrinsic_{name}.txt") for name in ("color", "depth")]
    color_from_depth: Floats | None = None
    if depth_camera is not None and all(path.is_file() for path in placed):
        common_from_color, common_from_depth = (read_matrix(path, (4, 4)) for path in placed)
        relative = np.linalg.inv(common_from_color) @ common_from_depth
        color_from_depth = None if np.allclose(relative, np.eye(4), atol=_IDENTICAL) else relative
    if depth_camera is not None and depth_camera == camera and color_from_depth is None:
        depth_camera = None
    files = tuple(path for path in (color_file, depth_file, *placed) if path.is_file())
    note = f"calibration: {color_file.relative_to(folder)}"
    return Calibration(camera, None, None, depth_camera, color_from_depth, notes=(note,), files=files)


def _camera(path: Path, size: Size) -> Camera:
    matrix = read_matrix(path, (4, 4))
    return Camera("pinhole", *size, tuple(matrix[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()))


def _truth(posed: list[tuple[float, Path]]) -> Trajectory:
    read = read_pose_files([path for _, path in posed])
    return in_order(np.array([time for time, _ in posed])[read.known], read.world_from_cam)
