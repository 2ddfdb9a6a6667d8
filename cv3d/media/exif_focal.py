"""The focal length in pixels that a picture file's own record implies, and how far it may be off."""

from __future__ import annotations

import math
from pathlib import Path

from cv3d.media.exif import CameraRecord, read_record

_FILM = (36.0, 24.0)
_DESIGN = 0.02
"""Relative deviation of a lens from what is engraved on it, and by focusing."""
_ROUNDED_MM = 0.29
"""Standard deviation of rounding the 35 mm equivalent to whole millimetres."""
_CUT = 0.1
"""Relative deviation more where the picture was cropped after capture."""
_DIGITAL_ZOOM = 0.2
"""Relative deviation more with digital zoom: makers disagree whether the record includes it."""
_SAME_ASPECT = 0.01
_LEAST_DISAGREEMENT = 0.1
"""Relative difference of two records from which both are doubted."""
_PLAUSIBLE = (0.2, 40.0)
"""Focal lengths in diagonals of the picture that a camera can have."""


def exif_focal_px(path: str | Path) -> tuple[float, float] | None:
    """The focal length that a picture's EXIF tags imply, for its pixels as the file holds them.

    It is the same whichever way the picture is turned. Taken from the length in millimetres and the resolution of the
    focal plane where both are recorded, else from the 35 mm equivalent (by the diagonal, as CIPA DCG-001-2018 has it;
    the deviation covers makers that go by the width). Scaling after capture is allowed for, and cropping doubted.

    Args:
        path: a picture file; only its header is read.

    Returns:
        The focal length and its plausible standard deviation, pixels; None where the record does not say it.
    """
    record = read_record(Path(path))
    return None if record is None else focal_of_record(record)


def focal_of_record(record: CameraRecord) -> tuple[float, float] | None:
    """As :func:`exif_focal_px`, of a record that was read already."""
    size = record.stored_size or record.size
    if size is None:
        return None
    by_film, by_plane = _by_film(record, size), _by_plane(record, size)
    if by_film is not None and by_plane is not None:
        difference = abs(math.log(by_film[0] / by_plane[0]))
        focal, relative = min(by_film, by_plane, key=lambda found: found[1])
        if difference > _LEAST_DISAGREEMENT:
            # Resolutions of the focal plane are wrong more often: software leaves them when it scales a picture.
            focal, relative = by_film[0], difference
    elif by_film is not None or by_plane is not None:
        focal, relative = by_film or by_plane or (0.0, 0.0)
    else:
        return None
    scale, is_cut = _since_capture(record, size)
    extra = math.hypot(
        _CUT if is_cut else 0.0, _DIGITAL_ZOOM if record.digital_zoom is not None and record.digital_zoom > 1.01 else 0
    )
    focal *= scale
    if not _PLAUSIBLE[0] <= focal / math.hypot(*size) <= _PLAUSIBLE[1]:
        return None
    return focal, focal * math.hypot(relative, extra)


def _by_film(record: CameraRecord, size: tuple[int, int]) -> tuple[float, float] | None:
    """By the 35 mm equivalent: focal length in pixels of the recorded size, and its relative deviation."""
    if record.focal_35mm is None:
        return None
    width, height = record.size or size
    by_diagonal = record.focal_35mm * math.hypot(width, height) / math.hypot(*_FILM)
    by_width = record.focal_35mm * max(width, height) / _FILM[0]
    return by_diagonal, math.hypot(_DESIGN, _ROUNDED_MM / record.focal_35mm, math.log(by_width / by_diagonal) / 2.0)


def _by_plane(record: CameraRecord, size: tuple[int, int]) -> tuple[float, float] | None:
    """By the resolution of the focal plane; as :func:`_by_film`."""
    if record.focal_mm is None or record.pixels_per_mm is None:
        return None
    width_mm = max(record.size or size) / record.pixels_per_mm
    # From the smallest sensor of a phone to a technical camera's; elsewhere the unit is wrong.
    return (record.focal_mm * record.pixels_per_mm, _DESIGN) if 2.0 < width_mm < 80.0 else None


def _since_capture(record: CameraRecord, size: tuple[int, int]) -> tuple[float, bool]:
    """How much the picture was scaled after capture, and whether it was cropped."""
    if record.size is None:
        return 1.0, False
    short, long = (now / before for now, before in zip(sorted(size), sorted(record.size), strict=True))
    if abs(math.log(long / short)) < _SAME_ASPECT:
        return math.sqrt(long * short), False
    return max(long, short), True
