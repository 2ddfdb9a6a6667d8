"""What dense depth says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class DepthMap:
    """The depth of one picture, as an ideal pinhole camera would have taken it."""

    name: str
    """The picture's."""
    camera: Camera
    """Pinhole, of the map's size."""
    cam_from_world: NDArray[np.float64]
    """(4, 4)."""
    depth: Floats
    """(h, w) along z, in the set's unit of length; 0 where nothing was found or what was found was not borne out."""
    confidence: Floats
    """(h, w), 0 to 1; 0 where there is no depth. The chance that the depth is within its own noise of the surface."""
    color: NDArray[np.uint8]
    """(h, w, 3) RGB, undistorted."""

    @property
    def coverage(self) -> float:
        """Share of the pixels with depth."""
        return float((self.depth > 0.0).mean())


@dataclass(frozen=True, eq=False)
class LeftOutView:
    """A view without a depth map."""

    name: str
    reason: str
    """One sentence."""


@dataclass(frozen=True, eq=False)
class DepthResult:
    """Depth maps of a set."""

    maps: tuple[DepthMap, ...]
    left_out: tuple[LeftOutView, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of the parts, and "total"."""
    device: str = "cpu"
    seed: int = 0
