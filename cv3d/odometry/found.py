"""Points as they are found in a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Rows = NDArray[np.int64]

BEGUN = 0.5**2, 0.0, 0.5**2
"""Covariance of the place where a point begins (xx, xy, yy), pixels squared."""


@dataclass(frozen=True, eq=False)
class Found:
    """Where points are seen."""

    rows: Rows
    """(n,)"""
    pixels: Pixels
    """(n, 2)"""
    ncc: Pixels
    """(n,) correlation with the reference; -1: not found."""
    covariance: Pixels
    """(n, 3) of the places (xx, xy, yy), pixels squared."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Found:
        return Found(self.rows[index], self.pixels[index], self.ncc[index], self.covariance[index])

    @staticmethod
    def begun(rows: Rows, pixels: Pixels) -> Found:
        """Points where they begin: by definition there."""
        covariance = np.tile(np.array(BEGUN, np.float32), (len(rows), 1))
        return Found(rows, pixels, np.ones(len(rows), np.float32), covariance)

    @staticmethod
    def nothing() -> Found:
        """No point."""
        return Found.begun(np.zeros(0, np.int64), np.zeros((0, 2), np.float32))

    def and_then(self, other: Found) -> Found:
        """These, then others."""
        return Found(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.pixels, other.pixels]),
            np.concatenate([self.ncc, other.ncc]),
            np.concatenate([self.covariance, other.covariance]),
        )
