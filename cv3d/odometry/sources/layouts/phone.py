"""Recordings of phone apps with a depth sensor: Stray Scanner's and Record3D's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cv3d.errors import InputError
from cv3d.formats.recordings import record3d, stray_scanner
from cv3d.geometry.cameras import Camera
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.sequences import FrameFiles
from cv3d.odometry.sources.assembling import Recording, assemble, in_order
from cv3d.odometry.sources.calibration import Calibration, Size
from cv3d.odometry.sources.depth_scale import UNSAID, DepthRule
from cv3d.odometry.sources.finding import depths_in, pictures_in
from cv3d.odometry.sources.pairing import number_of, numbers_of, pair_files
from cv3d.odometry.sources.request import ASSUMED_FPS, Request
from cv3d.odometry.sources.sequence import Sequence
from cv3d.odometry.sources.video import Clip, open_clip

_COLORS = ("rgb", "color", "images")


def is_stray(folder: Path) -> bool:
    """Whether a folder is of Stray Scanner's layout."""
    return stray_scanner.is_recording(folder)


def open_stray(folder: Path, request: Request) -> Sequence:
    """The recording of a folder of Stray Scanner.

    Raises:
        FormatError: one of its tables is not what it should be.
        InputError: it has neither a video nor pictures.
    """
    odometry = stray_scanner.read_odometry(folder)
    times = dict(zip(odometry.frames.tolist(), odometry.trajectory.times.tolist(), strict=True))
    depths = {number_of(path): path for path in depths_in(folder / "depth")} if (folder / "depth").is_dir() else {}
    by_number = {number: path for number, path in depths.items() if number is not None}
    rule = DepthRule(stray_scanner.METRES_PER_UNIT, "as Stray Scanner has it")
    tables = (folder / stray_scanner.CAMERA_FILE, folder / stray_scanner.ODOMETRY_FILE)
    notes = ("recognised as a recording of Stray Scanner's layout",)

    def calibrate(size: Size) -> Calibration:
        return Calibration(Camera("pinhole", *size, stray_scanner.read_params(folder)))

    video = folder / stray_scanner.VIDEO
    if video.is_file():
        return open_clip(
            Clip(
                "stray_scanner",
                folder.resolve().name,
                video,
                calibrate,
                times,
                by_number,
                rule,
                is_turned=False,
                read_truth=lambda: odometry.trajectory,
                notes=notes,
                inputs=tables,
            ),
            request,
        )
    colors = _colors(folder)
    known = [(number, path) for path in colors if (number := number_of(path)) in times and number is not None]
    if not known:
        raise InputError(f"{folder}: has neither {stray_scanner.VIDEO} nor pictures of the frames in {tables[1].name}")
    moments = tuple(FrameFiles(times[number], path, depth=by_number.get(number)) for number, path in known)
    return assemble(
        Recording(
            "stray_scanner",
            folder.resolve().name,
            moments,
            calibrate,
            rule,
            read_truth=lambda: odometry.trajectory,
            notes=notes,
            inputs=tables,
        ),
        request,
    )


def is_record3d(folder: Path) -> bool:
    """Whether a folder is of Record3D's layout."""
    return record3d.is_recording(folder) and bool(_colors(folder))


def open_record3d(folder: Path, request: Request) -> Sequence:
    """The recording of a folder of Record3D.

    Raises:
        FormatError: metadata.json is not what it should be.
        InputError: a folder cannot be read.
    """
    metadata = record3d.read_metadata(folder)
    colors = _colors(folder)
    numbers = numbers_of(colors) or list(range(len(colors)))
    depths = depths_in(folder / "depth") if (folder / "depth").is_dir() else []
    partners = pair_files(colors, depths, 0.0) if depths else None
    fps = request.fps or metadata.fps or ASSUMED_FPS
    stamps = metadata.times
    times = {
        number: float(stamps[number]) if stamps is not None and number < len(stamps) else number / fps
        for number in numbers
    }
    notes = ["recognised as a recording of Record3D's layout"]
    if stamps is None:
        notes.append(f"no time stamps: {fps:g} Hz is taken")
    poses = metadata.world_from_cam

    def truth() -> Trajectory:
        known = [number for number in numbers if poses is not None and number < len(poses)]
        stacked = np.zeros((0, 4, 4)) if poses is None else poses[known]
        return in_order(np.array([times[number] for number in known]), stacked)

    moments = tuple(
        FrameFiles(times[number], path, depth=None if partners is None else partners[index])
        for index, (number, path) in enumerate(zip(numbers, colors, strict=True))
    )
    return assemble(
        Recording(
            "record3d",
            folder.resolve().name,
            moments,
            partial(_of_metadata, metadata.camera),
            UNSAID,
            is_timed=stamps is not None,
            read_truth=None if poses is None else truth,
            notes=tuple(notes),
            inputs=(folder / record3d.FILE,),
        ),
        request,
    )


def _of_metadata(camera: Camera, size: Size) -> Calibration:
    return Calibration(camera)


def _colors(folder: Path) -> list[Path]:
    found = next((folder / name for name in _COLORS if (folder / name).is_dir()), None)
    return [] if found is None else pictures_in(found)
