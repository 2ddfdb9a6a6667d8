"""What every family of board detectors has in common.

A family works in three steps, because the pictures together know what one alone does not: `scan` looks at one picture
without knowing the board, `identify` reads the board off all scans, `locate` gives the points of that board in one
picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.boards import Board

Gray = NDArray[np.uint8]
"""One grey picture, (H, W), 0 to 255."""


@dataclass(frozen=True)
class Scan:
    """What one picture shows of one family of boards, before the board is known."""

    points: int
    """How many lattice points or markers support it; 0: nothing of this family is in the picture."""
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    """The family's own findings, so that they can be kept on disk between runs."""


@dataclass(frozen=True)
class Detection:
    """The points of a known board in one picture."""

    point_ids: NDArray[np.int64]
    """Index of each point in `Board.points()`, (n,)."""
    pixels: NDArray[np.float64]
    """Where it was found, (n, 2), x then y, pixel origin at the centre of the top-left pixel."""
    reason: str = ""
    """Where nothing usable was found: why, in words for the user."""

    @staticmethod
    def nothing(reason: str) -> Detection:
        """A detection without points."""
        return Detection(np.zeros(0, np.int64), np.zeros((0, 2)), reason)


class BoardDetector(Protocol):
    """One family of boards."""

    def scan(self, gray: Gray) -> Scan:
        """Look for boards of this family in one picture, not knowing their size."""

    def identify(self, scans: Sequence[Scan]) -> Board | None:
        """The board that the scans of a whole set agree on; None where there is none of this family."""

    def locate(self, gray: Gray, board: Board, scan: Scan | None = None) -> Detection:
        """The points of `board`, refined below the pixel. `scan` saves the work already done on this picture."""
