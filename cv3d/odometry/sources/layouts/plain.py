"""Folders of no known tool, recognised by the names that people give: rgb, depth, left, right, times, poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cv3d.errors import Cv3dError, InputError
from cv3d.formats.posed_pictures import has_posed_pictures, read_posed_pictures
from cv3d.formats.recordings.pose_files import read_pose_files
from cv3d.formats.recordings.stamps import read_stamps, stamps_of_names
from cv3d.formats.trajectories import read_trajectory_file
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences import FrameFiles
from cv3d.odometry.sources.assembling import Recording, in_order
from cv3d.odometry.sources.calibration import Calibration, Size
from cv3d.odometry.sources.camera_files import calibration_beside
from cv3d.odometry.sources.depth_scale import UNSAID
from cv3d.odometry.sources.finding import depths_in, pictures_in
from cv3d.odometry.sources.pairing import note_of_missing, numbers_of, pair_files
from cv3d.odometry.sources.request import ASSUMED_FPS, Request

COLOR_FOLDERS = (
    "rgb",
    "color",
    "colour",
    "colors",
    "colours",
    "images",
    "image",
    "imgs",
    "img",
    "frames",
    "rgbs",
    "gray",
    "grey",
)
LEFT_FOLDERS = (
    "left",
    "image_left",
    "images_left",
    "left_images",
    "img_left",
    "cam0",
    "image_0",
    "image_l",
    "cam_left",
    "l",
)
RIGHT_FOLDERS = (
    "right",
    "image_right",
    "images_right",
    "right_images",
    "img_right",
    "cam1",
    "image_1",
    "image_r",
    "cam_right",
    "r",
)
DEPTH_FOLDERS = (
    "depth",
    "depths",
    "depth_maps",
    "depth_map",
    "depthmaps",
    "depth_images",
    "aligned_depth",
    "depth_aligned",
    "depth_png",
)
_TIME_FILES = (
    "times.txt",
    "timestamps.txt",
    "timestamp.txt",
    "time.txt",
    "stamps.txt",
    "times.csv",
    "timestamps.csv",
    "associations.txt",
    "rgb.txt",
    "images.txt",
    "data.csv",
)
_POSE_FILES = (
    "groundtruth.txt",
    "ground_truth.txt",
    "gt.txt",
    "poses.txt",
    "pose.txt",
    "trajectory.txt",
    "traj.txt",
    "trajectory.tum",
    "poses.tum",
    "groundtruth.tum",
    "groundtruth.csv",
    "gt_poses.txt",
)
_POSE_FOLDERS = ("poses", "pose", "gt", ".")
_DEPTH_WITHIN_S = 0.02
_STEREO_WITHIN_S = 0.005
_SPARSE = 10
"""Numbers in names that span so many times as many frames as there are do not count frames."""


@dataclass(frozen=True)
class PlainFolders:
    """Where the pictures of a folder are."""

    pictures: Path
    """Of the only, the left or the colour camera."""
    right: Path | None = None
    depth: Path | None = None


def find_folders(folder: Path) -> PlainFolders | None:
    """The folders of pictures below a folder; None where it has none under a usual name.

    Raises:
        InputError: two folders could be the colour pictures'.
    """
    below = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    depth = _first(below, DEPTH_FOLDERS, depth=True)
    left, right = _first(below, LEFT_FOLDERS), _first(below, RIGHT_FOLDERS)
    if left is not None and right is not None:
        return PlainFolders(left, right, depth)
    candidates = [below[name] for name in COLOR_FOLDERS if name in below and pictures_in(below[name])]
    if len(candidates) > 1:
        seen = ", ".join(f"{path.name} ({len(pictures_in(path))} pictures)" for path in candidates)
        raise InputError(f"{folder}: several of its folders could be meant: {seen}; name the one, e.g. {candidates[0]}")
    if candidates:
        return PlainFolders(candidates[0], None, depth)
    if left is not None:
        return PlainFolders(left, None, depth)
    if depth is not None and pictures_in(folder):
        return PlainFolders(folder, None, depth)
    return None


def read(
    folder: Path,
    pictures: Sequence[Path],
    request: Request,
    *,
    right: Sequence[Path] = (),
    depth: Sequence[Path] = (),
    kind: str = "folder",
    name: str = "",
    notes: tuple[str, ...] = (),
) -> Recording:
    """The recording of pictures.

    Args:
        folder: where times, calibration and poses may lie.
        pictures: of the only, the left or the colour camera, in order.
        request: what the user said.
        right: pictures of the right camera, if any.
        depth: depth pictures, if any.
        kind: what the recording is called.
        name: how results call it; the folder's name where empty.
        notes: to put before the others.

    Raises:
        InputError: depth or right pictures do not go with the others.
    """
    rights, said = _partners(pictures, right, _STEREO_WITHIN_S, "right picture")
    depths, also_said = _partners(pictures, depth, _DEPTH_WITHIN_S, "depth picture")
    times, is_timed, of_times, times_file = _times(folder, pictures, request)
    read_truth, truth_files = _truth(folder, pictures, times, is_timed)
    order = np.argsort(times, kind="stable") if times_file is None else np.arange(len(times))
    moments = tuple(FrameFiles(times[i], pictures[i], rights[i], depths[i]) for i in order.tolist())
    return Recording(
        kind,
        name or folder.resolve().name,
        moments,
        partial(_calibration, folder),
        UNSAID,
        is_timed,
        read_truth,
        (*notes, *said, *also_said, *of_times),
        tuple([] if times_file is None else [times_file]) + truth_files,
    )


def _first(below: dict[str, Path], names: Sequence[str], *, depth: bool = False) -> Path | None:
    found = (below[name] for name in names if name in below)
    return next((path for path in found if (depths_in(path) if depth else pictures_in(path))), None)


def _partners(
    pictures: Sequence[Path], others: Sequence[Path], within_s: float, what: str
) -> tuple[list[Path | None], tuple[str, ...]]:
    if not others:
        return [None] * len(pictures), ()
    paired = pair_files(pictures, others, within_s)
    if paired is None:
        raise InputError(
            f"{others[0].parent}: its {len(others)} {what}s do not go with the {len(pictures)} pictures of "
            f"{pictures[0].parent}: neither by stamps nor by numbers in their names, and they are not as many"
        )
    return paired, note_of_missing(paired, len(others) - len({*paired} - {None}), what)


def _times(
    folder: Path, pictures: Sequence[Path], request: Request
) -> tuple[list[float], bool, tuple[str, ...], Path | None]:
    """The stamps of the pictures, whether they are the source's own, what to note, and the file they are from."""
    notes: tuple[str, ...] = ()
    for path in [folder / name for name in _TIME_FILES] + [pictures[0].parent / name for name in _TIME_FILES]:
        if not path.is_file():
            continue
        stamps = read_stamps(path, pictures)
        if stamps is not None:
            unit = "" if stamps.unit == "seconds" else f", in {stamps.unit}"
            return stamps.times.tolist(), True, (f"time stamps: {path.name}{unit}",), path
        notes = (f"{path.name} does not have a time stamp for each of the {len(pictures)} pictures",)
    named = stamps_of_names(pictures)
    if named is not None:
        return named.times.tolist(), True, (*notes, f"time stamps: the pictures' names, in {named.unit}"), None
    fps = request.fps or ASSUMED_FPS
    numbers = _frame_numbers(pictures)
    how = "as given" if request.fps else "assumed: --fps says another"
    note = f"no time stamps: {fps:g} Hz, {how}"
    return [number / fps for number in numbers], False, (*notes, note), None


def _frame_numbers(pictures: Sequence[Path]) -> list[int]:
    """The number of every picture's frame from 0: by the names where they count frames, else by the order."""
    numbers = numbers_of(pictures)
    if numbers is None or numbers != sorted(numbers) or numbers[-1] - numbers[0] >= _SPARSE * len(numbers):
        return list(range(len(pictures)))
    first = numbers[0] if numbers[0] > 1 else min(numbers[0], 0)
    return [number - first for number in numbers]


def _calibration(folder: Path, size: Size) -> Calibration:
    beside = calibration_beside(folder, size)
    if beside is not None and beside.camera is not None:
        return beside
    said = () if beside is None else beside.notes
    if not has_posed_pictures(folder):
        return Calibration(notes=said)
    cameras = {one.camera for one in read_posed_pictures(folder).pictures}
    if len(cameras) > 1:
        return Calibration(notes=(*said, f"its posed pictures are of {len(cameras)} cameras: none of them is taken"))
    return Calibration(cameras.pop(), notes=(*said, "calibration: that of its posed pictures"))


def _truth(
    folder: Path, pictures: Sequence[Path], times: list[float], is_timed: bool
) -> tuple[partial[Trajectory] | None, tuple[Path, ...]]:
    for name in _POSE_FILES:
        path = folder / name
        if path.is_file() and _is_trajectory(path):
            return partial(_of_file, path, times), (path,)
    for name in _POSE_FOLDERS:
        files = sorted((folder / name).glob("*.txt")) if name != "." else sorted(folder.glob("*.pose.txt"))
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


def _of_file(path: Path, times: list[float]) -> Trajectory:
    """A path that has stamps keeps them; poses that are only counted belong to the frames in their order."""
    text_only = read_trajectory_file(path)
    if text_only.format != "kitti":
        return text_only.trajectory
    poses = text_only.trajectory.world_from_cam
    count = min(len(poses), len(times))
    return in_order(np.array(times[:count]), poses[:count])


def _of_files(posed: list[tuple[float, Path]]) -> Trajectory:
    read = read_pose_files([path for _, path in posed])
    return in_order(np.array([time for time, _ in posed])[read.known], read.world_from_cam)


def _of_posed(folder: Path, pictures: Sequence[Path], times: list[float]) -> Trajectory:
    poses = {one.file.name: inverse_rigid(one.cam_from_world) for one in read_posed_pictures(folder).pictures}
    known = [index for index, path in enumerate(pictures) if path.name in poses]
    stacked = np.stack([poses[pictures[index].name] for index in known]) if known else np.zeros((0, 4, 4))
    return in_order(np.array([times[index] for index in known]), stacked)
