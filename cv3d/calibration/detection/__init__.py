"""Finding calibration boards in pictures. Every family of boards is in the table below."""

from __future__ import annotations

from enum import StrEnum

from cv3d.calibration.boards import BoardType
from cv3d.calibration.detection.base import BoardDetector, Detection, Scan
from cv3d.calibration.detection.checkerboard import CheckerboardDetector
from cv3d.calibration.detection.circles import CirclesDetector
from cv3d.calibration.detection.markers import AprilGridDetector, CharucoDetector

__all__ = ["DETECTORS", "BoardDetector", "Detection", "Family", "Scan", "family_of"]


class Family(StrEnum):
    """A family of boards that one detector finds."""

    CHARUCO = "charuco"
    APRILGRID = "aprilgrid"
    CHECKERBOARD = "checkerboard"
    CIRCLES = "circles"

    @property
    def decisive(self) -> bool:
        """Whether finding it settles the matter: decoded markers are no accident."""
        return self in (Family.CHARUCO, Family.APRILGRID)

    @property
    def weight(self) -> float:
        """What a lattice point of this family counts as evidence.

        The gaps between close dots look like a checkerboard's corners, two for every dot, while nothing on a
        checkerboard looks like a dot.
        """
        return 4.0 if self is Family.CIRCLES else 1.0


DETECTORS: dict[Family, BoardDetector] = {
    Family.CHARUCO: CharucoDetector(),
    Family.APRILGRID: AprilGridDetector(),
    Family.CHECKERBOARD: CheckerboardDetector(),
    Family.CIRCLES: CirclesDetector(),
}
"""Every family's detector, the decisive ones first."""

_FAMILIES: dict[BoardType, Family] = {
    BoardType.CHARUCO: Family.CHARUCO,
    BoardType.APRILGRID: Family.APRILGRID,
    BoardType.CHECKERBOARD: Family.CHECKERBOARD,
    BoardType.CIRCLES: Family.CIRCLES,
    BoardType.CIRCLES_ASYMMETRIC: Family.CIRCLES,
    BoardType.CIRCLES_HEX: Family.CIRCLES,
}


def family_of(board_type: BoardType) -> Family:
    """The family that finds boards of a type."""
    return _FAMILIES[board_type]
