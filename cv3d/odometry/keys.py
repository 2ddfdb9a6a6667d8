"""Key frames as the estimator keeps them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(eq=False)
class Key:
    """A key frame: its place changes as the window and loops are adjusted."""

    number: int
    """Its index among the key frames."""
    frame: int
    """The source's index of the frame."""
    time: float
    name: str
    segment: int
    cam_from_world: Floats
    """(4, 4)"""
    rows: Rows
    """(n,) points seen."""
    pixels: Pixels
    """(n, 2) where, in the tracked picture."""
    covariance: Pixels
    """(n, 3) of the pixels (xx, xy, yy), pixels squared."""
    depth: Floats
    """(n,) measured depth, 0: none."""
    depth_sigma: Floats
    """(n,)"""
    follows: int | None = None
    """The key frame that it moves along with, once the map needs it no more; None while it is part of the map."""
    from_followed: Floats | None = None
    """(4, 4) from that one."""
    from_last: Floats | None = None
    """(4, 4) from the key frame before it, as it was tracked; None where it was not tracked from one."""

    def see(self, rows: Rows, pixels: Pixels, covariance: Pixels, depth: Floats, depth_sigma: Floats) -> None:
        """Add observations."""
        self.rows = np.concatenate([self.rows, rows])
        self.pixels = np.concatenate([self.pixels, pixels])
        self.covariance = np.concatenate([self.covariance, covariance])
        self.depth = np.concatenate([self.depth, depth])
        self.depth_sigma = np.concatenate([self.depth_sigma, depth_sigma])

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Forget the other observations."""
        self.rows, self.pixels = self.rows[kept], self.pixels[kept]
        self.covariance = self.covariance[kept]
        self.depth, self.depth_sigma = self.depth[kept], self.depth_sigma[kept]

    @property
    def world_from_cam(self) -> Floats:
        """Its place, (4, 4)."""
        return inverse(self.cam_from_world)


def inverse(b_from_a: Floats) -> Floats:
    """The rigid transform the other way, (4, 4)."""
    result = np.eye(4)
    result[:3, :3] = b_from_a[:3, :3].T
    result[:3, 3] = -b_from_a[:3, :3].T @ b_from_a[:3, 3]
    return result
