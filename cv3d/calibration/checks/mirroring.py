"""Pictures with left and right exchanged, as selfie cameras and webcams give them.

Markers cannot be read in a mirror, and are then read as if they were: which way round a picture is follows without
doubt. A plain checkerboard or a circle grid looks the same in a mirror; its calibration is that of the mirrored camera.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cv3d.calibration.checks.base import listed
from cv3d.calibration.detection.base import Scan
from cv3d.errors import EstimationError

MIRRORED = "the picture is mirrored (left and right exchanged): flip it back"


def mirrored_pictures(scans: Mapping[int, Scan]) -> list[int]:
    """Which scans for markers show them in a mirror.

    Args:
        scans: by picture, of a family of markers.
    """
    return [index for index, scan in scans.items() if int(scan.arrays.get("mirrored", 0)) > 0]


def refuse_mirrored(scans: Mapping[int, Scan], names: Sequence[str]) -> None:
    """Refuse a set of which most pictures with markers are mirrored.

    Args:
        scans: by picture, of a family of markers.
        names: of all pictures.

    Raises:
        EstimationError: they are.
    """
    mirrored = mirrored_pictures(scans)
    upright = sum(scan.points > 0 for scan in scans.values())
    if mirrored and len(mirrored) > upright:
        raise EstimationError(
            f"the pictures are mirrored (left and right exchanged): {listed([names[i] for i in mirrored])}; their "
            "markers can be read only in a mirror; flip them back, or switch mirroring off in the camera's settings"
        )
