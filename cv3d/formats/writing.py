"""Cameras into the files of a format: one for all of them, or one each where the format has it so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cv3d.errors import FormatError
from cv3d.formats import FORMATS, CameraFormat
from cv3d.formats.approximation import SaidCamera, say
from cv3d.formats.camera_file import WORST_PX
from cv3d.geometry.cameras.rig import Rig, RigCamera

_SAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, eq=False)
class WrittenCameras:
    """The files of several cameras, in memory."""

    files: Mapping[str, bytes]
    """Content by name, which may begin with a folder's; where one file holds all cameras, it is the first."""
    is_single: bool
    """Whether one file holds all cameras."""
    cameras: tuple[SaidCamera, ...]
    """What the files hold of each camera, in the rig's order."""
    losses: tuple[str, ...]
    """What the cameras had and the files have not, a sentence each."""


def write_cameras(
    rig: Rig, camera_format: CameraFormat, allow_error_px: float = WORST_PX, within: float = 1.0
) -> WrittenCameras:
    """The files of a rig in a format; each camera exactly where the format knows its model, else as the closest.

    Args:
        rig: the cameras.
        camera_format: one of `cv3d.formats.FORMATS`.
        allow_error_px: how far a stand-in may be off anywhere in the image, pixels.
        within: the middle part of width and height that counts for a stand-in, 0 to 1.

    Raises:
        FormatError: no model that the format knows comes near one of the cameras, or it cannot say these together.
    """
    said = []
    for one in rig.cameras:
        try:
            said.append(say(one.camera, camera_format, allow_error_px, within))
        except FormatError as error:
            raise FormatError(f"camera {one.name}: {error}" if len(rig.cameras) > 1 else str(error)) from error
    spoken = replace(
        rig,
        cameras=tuple(
            RigCamera(one.name, camera.camera, one.cam_from_cam0) for one, camera in zip(rig.cameras, said, strict=True)
        ),
    )
    losses = _losses(rig, camera_format)
    if camera_format.max_cameras is None or len(rig.cameras) <= camera_format.max_cameras:
        files = {camera_format.file_name: camera_format.encode(spoken), **_companions(spoken, camera_format)}
        return WrittenCameras(files, True, tuple(said), losses)
    members = {
        camera_format.member_name.format(name=name): camera_format.encode(Rig((one,), rig.is_metric))
        for name, one in zip(_file_names(rig), spoken.cameras, strict=True)
    }
    if rig.is_posed and camera_format.max_cameras == 2:
        losses = (*losses, f"{camera_format.title} holds the pose of a pair only; each camera has a file without it")
    return WrittenCameras(members, False, tuple(said), losses)


def _companions(rig: Rig, camera_format: CameraFormat) -> dict[str, bytes]:
    """The files beside the main one that other tools look for."""
    from cv3d.formats import colmap, colmap_binary

    match camera_format.name:
        case "colmap":
            return colmap.companions(rig)
        case "colmap-bin":
            return colmap_binary.companions(rig)
        case _:
            return {}


def _losses(rig: Rig, camera_format: CameraFormat) -> tuple[str, ...]:
    if len(rig.cameras) < 2:
        return ()
    if not rig.is_posed:
        known = sum(one.cam_from_cam0 is not None for one in rig.cameras)
        partly = known > 1 and camera_format.name != "cv3d"
        return ("not all poses are known: only the cameras themselves are written",) if partly else ()
    if not camera_format.has_poses:
        others = ", ".join(name for name, other in FORMATS.items() if other.has_poses)
        return (f"{camera_format.title} does not say how the cameras stand to each other ({others} do)",)
    if not rig.is_metric and camera_format.name != "cv3d":
        return ("translations are in squares of the board, not in metres: its square was not known",)
    return ()


def _file_names(rig: Rig) -> list[str]:
    """The cameras' names fit for files, told apart by numbers where that makes two alike."""
    names = [_SAFE.sub("_", one.name).strip("._") or "camera" for one in rig.cameras]
    if len({name.lower() for name in names}) < len(names):
        return [f"{name}_{index}" for index, name in enumerate(names)]
    return names
