"""Where a picture was taken, from the GPS tags of its file (Exif 2.32, JEITA CP-3451, 4.6.6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsFloat

from cv3d.media.exif import read_gps

_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4
_ALTITUDE_REF, _ALTITUDE, _ERROR_M = 5, 6, 31
_BELOW_SEA_LEVEL = (1, b"\x01")


@dataclass(frozen=True)
class ExifPosition:
    """A place on the earth (WGS 84)."""

    latitude_deg: float
    """North of the equator positive."""
    longitude_deg: float
    """East of Greenwich positive."""
    altitude_m: float | None = None
    """Above sea level; None where it is not recorded."""
    error_m: float | None = None
    """Horizontal error as the camera knows it; None where it does not."""


def exif_position(path: str | Path) -> ExifPosition | None:
    """Where a picture file says it was taken; None where it does not say, or nothing that can be.

    Args:
        path: a picture file; only its header is read.
    """
    tags = read_gps(Path(path))
    latitude = _degrees(tags.get(_LATITUDE), tags.get(_LATITUDE_REF), "NS")
    longitude = _degrees(tags.get(_LONGITUDE), tags.get(_LONGITUDE_REF), "EW")
    if latitude is None or longitude is None or abs(latitude) > 90.0 or abs(longitude) > 180.0:
        return None
    if latitude == longitude == 0.0:
        # Where cameras without a fix say they are.
        return None
    error = _finite(tags.get(_ERROR_M))
    return ExifPosition(latitude, longitude, _altitude(tags), error if error is not None and error > 0.0 else None)


def _degrees(value: object, reference: object, signs: str) -> float | None:
    """Degrees, minutes and seconds with the letter of the hemisphere, as degrees."""
    letter = reference.strip("\0 ").upper()[:1] if isinstance(reference, str) else ""
    if not isinstance(value, tuple | list) or not 1 <= len(value) <= 3 or not letter or letter not in signs:
        return None
    parts = [_finite(part) for part in value]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or min(known) < 0.0:
        return None
    degrees = sum(part / 60.0**place for place, part in enumerate(known))
    return -degrees if letter == signs[1] else degrees


def _altitude(tags: Mapping[int, object]) -> float | None:
    metres = _finite(tags.get(_ALTITUDE))
    if metres is None:
        return None
    return -metres if tags.get(_ALTITUDE_REF) in _BELOW_SEA_LEVEL else metres


def _finite(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, SupportsFloat) else math.nan
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None
