"""KITTI odometry: image_0 … image_3, calib.txt with the projections, times.txt."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cv3d.formats.recordings import kitti
from cv3d.formats.recordings.stamps import read_stamps
from cv3d.formats.trajectories import read_trajectory
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences import FrameFiles
from cv3d.odometry.sources.assembling import Recording, truth_of_frames
from cv3d.odometry.sources.calibration import Calibration, Size
from cv3d.odometry.sources.finding import pictures_in
from cv3d.odometry.sources.pairing import note_of_missing, pair_files
from cv3d.odometry.sources.request import Request

_PAIRED_WITHIN_S = 0.005


def recognised(folder: Path) -> bool:
    """Whether a folder is of this layout."""
    calibration = folder / "calib.txt"
    return _left(folder) is not None and calibration.is_file() and kitti.looks_like_projections(calibration)


def read(folder: Path, request: Request) -> Recording:
    """The recording of a folder.

    Raises:
        FormatError: calib.txt or times.txt is not what it should be.
        InputError: a file cannot be read.
    """
    left_name = _left(folder) or "image_0"
    lefts = pictures_in(folder / left_name)
    right_folder = folder / kitti.RIGHT_FOLDERS[left_name]
    rights: list[Path | None] = [None] * len(lefts)
    notes: tuple[str, ...] = ("recognised as a recording of KITTI's odometry layout",)
    if right_folder.is_dir() and (others := pictures_in(right_folder)):
        paired = pair_files(lefts, others, _PAIRED_WITHIN_S)
        if paired is None:
            notes += (f"the pictures of {left_name} and {right_folder.name} do not go together by their names",)
        else:
            rights = paired
            notes += note_of_missing(rights, len(others) - len({*rights} - {None}), "right picture")
    times, is_timed, said = _times(folder, lefts, request)
    truth = _truth_file(folder)
    by_number = dict(enumerate(times))
    number = kitti.LEFT_FOLDERS[left_name]
    return Recording(
        "kitti",
        folder.resolve().name,
        tuple(FrameFiles(time, left, right) for time, left, right in zip(times, lefts, rights, strict=True)),
        partial(_calibration, folder / "calib.txt", number),
        is_timed=is_timed,
        read_truth=None if truth is None else truth_of_frames(partial(_path_of_left, truth, folder, number), by_number),
        notes=notes + said,
        inputs=tuple(path for path in (folder / "calib.txt", folder / "times.txt", truth) if path and path.is_file()),
    )


def _left(folder: Path) -> str | None:
    return next((name for name in kitti.LEFT_FOLDERS if (folder / name).is_dir() and pictures_in(folder / name)), None)


def _times(folder: Path, lefts: list[Path], request: Request) -> tuple[list[float], bool, tuple[str, ...]]:
    path = folder / "times.txt"
    stamps = read_stamps(path, lefts) if path.is_file() else None
    if stamps is not None:
        return stamps.times.tolist(), True, ()
    why = f"times.txt does not have a stamp for each of {len(lefts)} pictures" if path.is_file() else "no times.txt"
    fps = request.fps or kitti.FPS
    how = "as given" if request.fps else "as KITTI's cameras have it"
    return [index / fps for index in range(len(lefts))], False, (f"{why}: {fps:g} Hz is assumed, {how}",)


def _calibration(path: Path, number: int, size: Size) -> Calibration:
    found = kitti.read_projections(path)
    left = found.get(number) or next(iter(found.values()))
    right = found.get(number + 1)
    if right is None:
        return Calibration(left.camera(*size), files=(path,))
    right_from_left = right.cam_from_cam0 @ np.linalg.inv(left.cam_from_cam0)
    return Calibration(left.camera(*size), right.camera(*size), right_from_left, files=(path,))


def _truth_file(folder: Path) -> Path | None:
    """Beside the pictures, or where the benchmark has it: sequences/07 and poses/07.txt."""
    places = (folder / "poses.txt", folder.resolve().parent.parent / "poses" / f"{folder.resolve().name}.txt")
    return next((path for path in places if path.is_file()), None)


def _path_of_left(truth: Path, folder: Path, number: int) -> Trajectory:
    """The path of the camera that is read; the file's is camera 0's."""
    path = read_trajectory(truth)
    projection = kitti.read_projections(folder / "calib.txt").get(number)
    if projection is not None:
        cam0_from_cam = np.linalg.inv(projection.cam_from_cam0)
        path = Trajectory(path.times, path.world_from_cam @ cam0_from_cam, path.is_timed)
    # Stamps that its reader found beside the file are those of the frames, or of another recording.
    return Trajectory(np.arange(float(len(path))), path.world_from_cam, False)
