"""What a picture file says about the camera that took it (Exif 2.32, JEITA CP-3451)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsFloat

import pillow_heif
from PIL import Image

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKE, _MODEL, _SOFTWARE = 0x010F, 0x0110, 0x0131
_FOCAL_LENGTH, _WIDTH, _HEIGHT = 0x920A, 0xA002, 0xA003
_DIGITAL_ZOOM, _FOCAL_LENGTH_35MM = 0xA404, 0xA405
_FOCAL_PLANE_X, _FOCAL_PLANE_UNIT = 0xA20E, 0xA210
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}
"""Units of the focal plane's resolution (Exif 2.32, 4.6.5); 4 and 5 are no part of the standard, but in use."""
_UNREADABLE = (OSError, ValueError, SyntaxError, RuntimeError, EOFError, KeyError, TypeError, Warning)
"""What readers of picture headers raise on damage."""
_HEIF_SUFFIXES = frozenset([".heic", ".heif", ".hif", ".avif"])


@dataclass(frozen=True)
class CameraRecord:
    """What is recorded; None and empty where it is not."""

    camera: str = ""
    """Maker and model."""
    software: str = ""
    focal_mm: float | None = None
    focal_35mm: float | None = None
    """Focal length on a 36 mm x 24 mm frame with the same field of view, mm."""
    digital_zoom: float | None = None
    size: tuple[int, int] | None = None
    """Width and height as the camera wrote them, before any turning, pixels."""
    pixels_per_mm: float | None = None
    """Pixels of the recorded size to a millimetre of the sensor."""
    stored_size: tuple[int, int] | None = None
    """Width and height of the pixels that the file holds now; some formats turn them, some do not."""


def read_record(path: Path) -> CameraRecord | None:
    """The record of a picture file; None where there is none, or none that can be read.

    Args:
        path: the file; only its header is read.
    """
    try:
        exif, inner, stored_size = _tags(path)
    except _UNREADABLE:
        return None
    if not exif and not inner:
        return None
    make, model = _text(exif.get(_MAKE)), _text(exif.get(_MODEL))
    width, height = _number(inner.get(_WIDTH)), _number(inner.get(_HEIGHT))
    return CameraRecord(
        camera=model if model.startswith(make) else f"{make} {model}".strip(),
        software=_text(exif.get(_SOFTWARE)),
        focal_mm=_number(inner.get(_FOCAL_LENGTH)),
        focal_35mm=_number(inner.get(_FOCAL_LENGTH_35MM)),
        digital_zoom=_number(inner.get(_DIGITAL_ZOOM)),
        size=None if width is None or height is None else (int(width), int(height)),
        pixels_per_mm=_per_mm(inner),
        stored_size=stored_size,
    )


def read_gps(path: Path) -> Mapping[int, object]:
    """The tags of the GPS block of a picture file by their numbers (Exif 2.32, 4.6.6); empty where it has none.

    Args:
        path: the file; only its header is read.
    """
    try:
        return _blocks(path)[0].get_ifd(_GPS_IFD)
    except _UNREADABLE:
        return {}


def _per_mm(inner: Mapping[int, object]) -> float | None:
    resolution = _number(inner.get(_FOCAL_PLANE_X))
    unit = _number(inner.get(_FOCAL_PLANE_UNIT, 2))
    unit_mm = None if unit is None else _UNIT_MM.get(int(unit))
    return None if resolution is None or unit_mm is None else resolution / unit_mm


def _tags(path: Path) -> tuple[Mapping[int, object], Mapping[int, object], tuple[int, int]]:
    """The tags of the picture, those of its camera, and the size of what is stored."""
    exif, size = _blocks(path)
    return exif, exif.get_ifd(_EXIF_IFD), size


def _blocks(path: Path) -> tuple[Image.Exif, tuple[int, int]]:
    """The EXIF block of a file and the size of what is stored."""
    if path.suffix.lower() in _HEIF_SUFFIXES:
        exif = Image.Exif()
        picture = pillow_heif.open_heif(path)
        exif.load(picture.info.get("exif") or b"")
        return exif, picture.size
    with Image.open(path) as image:
        exif = image.getexif()
        # A TIFF's are read from the file when they are asked for.
        exif.get_ifd(_EXIF_IFD), exif.get_ifd(_GPS_IFD)
        return exif, image.size


def _text(value: object) -> str:
    return value.strip("\0 ") if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A positive number; in Exif, zero says that the value is not known or not used."""
    try:
        number = float(value) if isinstance(value, SupportsFloat) else math.nan
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0.0 else None
