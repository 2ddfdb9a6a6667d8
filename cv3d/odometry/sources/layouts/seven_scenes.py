"""7-Scenes: frame-000012.color, .depth and .pose in one folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cv3d.formats.recordings import seven_scenes
from cv3d.formats.recordings.pose_files import read_pose_files
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences import FrameFiles
from cv3d.odometry.sources.assembling import Recording, in_order
from cv3d.odometry.sources.calibration import Calibration, Size, read_calibration
from cv3d.odometry.sources.camera_files import calibration_beside
from cv3d.odometry.sources.depth_scale import DepthRule
from cv3d.odometry.sources.pairing import note_of_missing
from cv3d.odometry.sources.request import Request


def recognised(folder: Path) -> bool:
    """Whether a folder has frames of this layout."""
    return bool(seven_scenes.frames_of(folder))


def read(folder: Path, request: Request) -> Recording:
    """The recording of a folder."""
    frames = seven_scenes.frames_of(folder)
    fps = request.fps or seven_scenes.FPS
    times = [frame.number / fps for frame in frames]
    depths = [frame.depth for frame in frames]
    posed = [(time, frame.pose) for time, frame in zip(times, frames, strict=True) if frame.pose is not None]
    notes: tuple[str, ...] = (
        "recognised as a recording of 7-Scenes' layout",
        f"no time stamps: {fps:g} Hz is assumed, {'as given' if request.fps else 'as that sensor has it'}",
    )
    if any(depths):
        notes += note_of_missing(depths, 0, "depth picture")
    return Recording(
        "seven_scenes",
        folder.resolve().name,
        tuple(FrameFiles(time, one.color, depth=one.depth) for time, one in zip(times, frames, strict=True)),
        partial(_calibration, folder),
        DepthRule(seven_scenes.METRES_PER_UNIT, "as 7-Scenes has it", seven_scenes.NOTHING),
        is_timed=False,
        read_truth=partial(_truth, posed) if posed else None,
        notes=notes,
        inputs=tuple(path for _, path in posed),
    )


def _calibration(folder: Path, size: Size) -> Calibration:
    for place in (folder, folder.resolve().parent):
        if (place / seven_scenes.INTRINSICS_FILE).is_file():
            return read_calibration(place / seven_scenes.INTRINSICS_FILE, size)
    for place in (folder, folder.resolve().parent):
        found = seven_scenes.info_camera(place, *size)
        if found is not None:
            return Calibration(found[0], notes=(f"calibration: {found[1].name}",), files=(found[1],))
    beside = calibration_beside(folder, size)
    if beside is not None and beside.camera is not None:
        return beside
    said = () if beside is None else beside.notes
    published = seven_scenes.published_camera(*size)
    if published is None:
        return Calibration(notes=said)
    note = "calibration: what 7-Scenes' page gives for the depth camera, 585 pixels, for want of a better one"
    return Calibration(published, notes=(*said, note))


def _truth(posed: list[tuple[float, Path]]) -> Trajectory:
    read = read_pose_files([path for _, path in posed])
    return in_order(np.array([time for time, _ in posed])[read.known], read.world_from_cam)
