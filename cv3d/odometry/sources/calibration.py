"""The cameras of a recording, from its own files or those the user names, made to fit its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.reading import read_cameras
from cv3d.formats.recordings.kitti import looks_like_projections, read_projections
from cv3d.formats.recordings.plain_camera import read_plain_camera
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

_SAME_ASPECT = 0.02
_OFF_CENTRE = 0.25

Floats = NDArray[np.float64]
Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What is known of the cameras."""

    camera: Camera | None = None
    right_camera: Camera | None = None
    right_from_left: Floats | None = None
    depth_camera: Camera | None = None
    color_from_depth: Floats | None = None
    metres_per_unit: float | None = None
    """Of stored depth, where the file of the camera says it."""
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def read_calibration(source: Camera | Rig | Path, size: Size) -> Calibration:
    """The calibration that a user gives: a camera, a rig (left camera first), or a file of one or two.

    Args:
        source: the cameras, or any file that cv3d reads them from, bare numbers included.
        size: of the pictures, for files that do not say it.

    Raises:
        InputError: the file is not there.
        FormatError: it holds no camera, or more than two.
    """
    if isinstance(source, Camera):
        return Calibration(source)
    if isinstance(source, Rig):
        return of_rig(source, "the rig given")
    if source.is_file():
        plain = read_plain_camera(source)
        if plain is not None:
            return Calibration(plain.camera(size), metres_per_unit=plain.metres_per_unit, files=(source,))
        if source.suffix == ".txt" and looks_like_projections(source):
            return of_projections(source, size)
    rig = _cameras_with_or_without_size(source, size)
    read = of_rig(rig, str(source))
    return replace(read, files=(source,) if source.is_file() else ())


def of_projections(path: Path, size: Size) -> Calibration:
    """The first two cameras of a calibration file of KITTI's.

    Raises:
        FormatError: it holds none.
    """
    found = list(read_projections(path).values())
    left = found[0]
    if len(found) == 1:
        return Calibration(left.camera(*size), files=(path,))
    right = found[1]
    right_from_left = right.cam_from_cam0 @ np.linalg.inv(left.cam_from_cam0)
    return Calibration(left.camera(*size), right.camera(*size), right_from_left, files=(path,))


def of_rig(rig: Rig, source: str) -> Calibration:
    """The one or two cameras of a rig.

    Raises:
        FormatError: there are more.
    """
    cameras: Sequence[RigCamera] = rig.cameras
    if len(cameras) == 1:
        return Calibration(cameras[0].camera)
    if len(cameras) > 2:
        names = ", ".join(one.name for one in cameras)
        raise FormatError(
            f"{source}: holds {len(cameras)} cameras ({names}); choose one, as in '{source}#{cameras[0].name}'"
        )
    right_from_left = rig.cam_from_cam(1, 0) if rig.is_posed and rig.is_metric else None
    notes = () if right_from_left is not None else (f"{source} does not say in metres how its two cameras stand",)
    return Calibration(cameras[0].camera, cameras[1].camera, right_from_left, notes=notes)


def fitted(camera: Camera | None, size: Size, what: str) -> tuple[Camera | None, tuple[str, ...]]:
    """A camera for pictures of this size, resized where it is of the same pictures at another size, and what to note.

    Args:
        camera: the camera, if any is known.
        size: width and height of the pictures, pixels.
        what: how messages call it.

    Raises:
        InputError: the pictures have other proportions than the camera's.
    """
    if camera is None:
        return None, ()
    width, height = size
    notes: tuple[str, ...] = ()
    if (camera.width, camera.height) != size:
        across, down = width / camera.width, height / camera.height
        if abs(across / down - 1.0) > _SAME_ASPECT:
            raise InputError(
                f"{what} is for pictures of {camera.width}x{camera.height}, but these are {width}x{height}, of other "
                "proportions: they were cropped or turned, or it is of another camera"
            )
        notes = (f"{what} is for pictures of {camera.width}x{camera.height}; resized to {width}x{height}",)
        scaled = camera.scaled(across)
        camera = replace(scaled, width=width, height=height)
    cx, cy = camera.params[2:4]
    if abs(cx / width - 0.5) > _OFF_CENTRE or abs(cy / height - 0.5) > _OFF_CENTRE:
        notes += (
            f"{what} has its principal point at ({cx:.1f}, {cy:.1f}) in pictures of {width}x{height}: "
            "is it of pictures of another size?",
        )
    return camera, notes


def _cameras_with_or_without_size(source: Path, size: Size) -> Rig:
    """A size is only for files that have none: beside one that says another, it would be a contradiction."""
    try:
        return read_cameras(source)
    except FormatError as error:
        try:
            return read_cameras(source, ReadOptions(size=size))
        except FormatError:
            raise error from None
