"""Saying a camera in a format that does not know its model: the closest model that the format does know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from cv3d.errors import FormatError
from cv3d.formats import CameraFormat
from cv3d.formats.camera_file import WORST_PX
from cv3d.formats.sights import sights_of_camera
from cv3d.formats.stand_ins import StandIns, best, worst_px
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

_CAMERAS_KEPT = 16
"""Cameras whose stand-ins are remembered: those of a large rig."""


@dataclass(frozen=True)
class SaidCamera:
    """A camera in terms of a format."""

    camera: Camera
    """What the file holds."""
    rms_px: float
    """RMS difference of the two cameras' projections over the image, pixels; 0 where it is the camera itself."""
    max_px: float
    """Largest difference, pixels."""
    share: float
    """The share of the image that this was judged on: where the camera's own model is valid, and what was asked for."""


@dataclass(frozen=True)
class WrittenCamera:
    """The content of a camera file, and how true it is."""

    data: bytes
    """The file."""
    model: str
    """The model that the file holds."""
    rms_px: float
    """RMS difference of the two cameras' projections over the image, pixels; 0 where the file holds the camera
    itself."""
    max_px: float
    """Largest difference, pixels."""

    @property
    def text(self) -> str:
        """The file as text; it has to be one."""
        return self.data.decode("utf-8")


def write_camera(
    camera: Camera, camera_format: CameraFormat, allow_error_px: float = WORST_PX, within: float = 1.0
) -> WrittenCamera:
    """The camera in a format; exactly where the format knows its model, else as the closest model that it knows.

    Args:
        camera: the camera.
        camera_format: one of `cv3d.formats.FORMATS`.
        allow_error_px: how far a stand-in may be off anywhere in the image, pixels.
        within: the middle part of width and height that counts for a stand-in, 0 to 1.

    Returns:
        The file with its fit error over the image.

    Raises:
        FormatError: no model that the format knows comes near this camera.
    """
    said = say(camera, camera_format, allow_error_px, within)
    return WrittenCamera(_encode(said.camera, camera_format), said.camera.model, said.rms_px, said.max_px)


def say(camera: Camera, camera_format: CameraFormat, allow_error_px: float, within: float) -> SaidCamera:
    """The camera as the format can say it; arguments and errors as of :func:`write_camera`."""
    try:
        _encode(camera, camera_format)
    except FormatError as refusal:
        return _stand_in(camera, camera_format, refusal, allow_error_px, within)
    return SaidCamera(camera, 0.0, 0.0, 1.0)


def _encode(camera: Camera, camera_format: CameraFormat) -> bytes:
    return camera_format.encode(Rig((RigCamera("camera", camera),)))


def _can_encode(camera: Camera, camera_format: CameraFormat) -> bool:
    try:
        _encode(camera, camera_format)
    except FormatError:
        return False
    return True


@lru_cache(maxsize=_CAMERAS_KEPT)
def _candidates(camera: Camera, within: float) -> StandIns:
    """The models that can stand for a camera, kept: whoever writes one format of it usually writes others too."""
    return StandIns(sights_of_camera(camera, within))


def _stand_in(
    camera: Camera, camera_format: CameraFormat, refusal: FormatError, allow_error_px: float, within: float
) -> SaidCamera:
    candidates = _candidates(camera, within)
    sights = candidates.sights
    if sights.share == 0.0:
        raise FormatError(f"{refusal}; and the camera itself sees nothing: its model is not valid in its image")
    found = candidates.among(camera_format.models, lambda candidate: _can_encode(candidate, camera_format))
    if not found:
        raise FormatError(f"{refusal}; none of these sees as wide as this camera")
    chosen = best(found)
    max_px = worst_px(chosen, sights)
    if max_px > allow_error_px:
        raise FormatError(
            f"{refusal}; the nearest, {chosen.camera.model}, is too far off: {max_px:.3g} px at worst, "
            f"{chosen.rms_px:.2g} px RMS; 'cv3d convert' writes it with --allow-error {math.ceil(max_px)}px"
        )
    return SaidCamera(chosen.camera, chosen.rms_px, max_px, sights.share)
