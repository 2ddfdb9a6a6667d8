"""What reading a camera file gives, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cv3d.errors import FormatError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

WORST_PX = 2.0
"""A stand-in that is off by more than this anywhere in the image is not taken unless the user says so."""
UNSEEN_PX = 0.1
"""A camera of a foreign model that is read as one of ours without a word about it is no further off than this."""
_OUTSIDE = 0.5


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may be told beside the file."""

    size: tuple[int, int] | None = None
    """Width and height of the pictures, pixels, for files that do not say it."""
    max_error_px: float = UNSEEN_PX
    """How far a camera that stands for one of a foreign model may be off anywhere in the image, pixels. What nobody is
    told of has to be too small to matter."""


@dataclass(frozen=True)
class StandIn:
    """How true one camera model is that stands for another."""

    original: str
    """The model that it stands for, by the name that its own tool gives it."""
    model: str
    """The model that was fitted to it."""
    rms_px: float
    """RMS difference of the two projections over the image, pixels."""
    max_px: float
    """Largest difference, pixels."""


@dataclass(frozen=True, eq=False)
class CameraFile:
    """The cameras of a file."""

    rig: Rig
    """The cameras; their poses where the file has them."""
    format: str
    """Name of the file's format, a key of `cv3d.formats.FORMATS`."""
    stand_ins: Mapping[str, StandIn] = field(default_factory=dict)
    """By camera name, those that the file says in a model that cv3d does not have."""


def alone(camera: Camera, name: str = "camera") -> Rig:
    """The rig of one camera."""
    return Rig((RigCamera(name, camera),))


def the_one(rig: Rig, source: str) -> Camera:
    """The camera of a rig of one.

    Raises:
        FormatError: there are several.
    """
    if len(rig.cameras) > 1:
        names = ", ".join(one.name for one in rig.cameras)
        raise FormatError(
            f"{source}: holds {len(rig.cameras)} cameras ({names}) where one is expected; "
            f"choose one, as in '{source}#{rig.cameras[0].name}'"
        )
    return rig.cameras[0].camera


def check_plausible(rig: Rig, source: str) -> None:
    """See that each principal point lies in its picture or near it.

    One far outside means that size and parameters are of different pictures: a file whose size was edited, or one
    made for another resolution.

    Raises:
        FormatError: one does not.
    """
    for one in rig.cameras:
        width, height = one.camera.width, one.camera.height
        cx, cy = one.camera.params[2:4]
        if abs(cx - 0.5 * width) > (0.5 + _OUTSIDE) * width or abs(cy - 0.5 * height) > (0.5 + _OUTSIDE) * height:
            which = f", camera {one.name}" if len(rig.cameras) > 1 else ""
            raise FormatError(
                f"{source}{which}: contradicts itself: a picture of {width}x{height} cannot have its principal point "
                f"at ({cx:.6g}, {cy:.6g}); is the size that of other pictures?"
            )
