"""Picture files and their cameras: whether they belong together, and which way up the camera is meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from cv3d.errors import PictureError
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.decode import Pixels
from cv3d.media.orientation import exif_orientation, upright
from cv3d.media.picture import Picture
from cv3d.media.sized_views import camera_at

_INVERSE = {6: 8, 8: 6}
_SWAPPING = (5, 6, 7, 8)
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class StoredPicture(Picture):
    """A picture file as its pixels are stored, whatever its EXIF tags say about which way is up.

    COLMAP and the tools around it do not turn pictures, so that this is what their cameras have seen.
    """

    def read_gray(self) -> Pixels:
        """See :meth:`Picture.read_gray`."""
        return _turned_back(super().read_gray())

    def read_rgb(self) -> Pixels:
        """See :meth:`Picture.read_rgb`."""
        return _turned_back(super().read_rgb())


def open_picture(name: str, file: Path, camera: Camera) -> tuple[Picture, Camera]:
    """A picture as its camera has seen it, and the camera at its size.

    Pictures whose EXIF tags say that they lie on a side are taken as they are stored, unless only the upright picture
    is of the camera's size. A camera calibrated at another size of the same shape is scaled.

    Args:
        name: what results call it.
        file: where it is.
        camera: as the source has it.

    Raises:
        PictureError: the picture cannot be read, or its camera has another shape.
    """
    width, height, orientation = _head(name, file)
    size, turned = (width, height), (height, width)
    if orientation == 1:
        return Picture(name, file), camera_at(camera, *size, name)
    if orientation in _SWAPPING and (camera.width, camera.height) == turned:
        return Picture(name, file), camera
    return StoredPicture(name, file), camera_at(camera, *size, name)


def _head(name: str, file: Path) -> tuple[int, int, int]:
    """Width and height as stored, and the EXIF orientation; HEIF pictures are upright by themselves."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            if image.format == "TIFF":
                return width, height, int(image.getexif().get(_ORIENTATION_TAG, 1))
            return width, height, exif_orientation(image.info.get("exif") or b"")
    except UnidentifiedImageError:
        rows, columns = Picture(name, file).read_gray().array.shape
        return columns, rows, 1
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"{name}: cannot be read: {reason}") from error


def _turned_back(pixels: Pixels) -> Pixels:
    orientation = pixels.exif_orientation
    return Pixels(upright(pixels.array, _INVERSE.get(orientation, orientation)), 1, pixels.bits)
