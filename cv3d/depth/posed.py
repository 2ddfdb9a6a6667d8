"""What multi-view stereo starts from: pictures whose cameras and poses are known, and points that they see."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.media.picture import Picture

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class PosedView:
    """A picture whose camera and pose are known."""

    picture: Picture
    camera: Camera
    """Of any model, of the picture's own size."""
    cam_from_world: Floats
    """(4, 4)."""
    points: Ints
    """Which of the set's points it sees, (k,)."""


@dataclass(frozen=True, eq=False)
class PosedSet:
    """Pictures in one world, with sparse points."""

    views: tuple[PosedView, ...]
    points: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    """In the world, (m, 3), in the set's own unit of length."""
    warnings: tuple[str, ...] = ()
    """What is odd about the set, such as poses that do not fit the pictures."""
    is_metric: bool = False
    """Whether the unit of length is known to be the metre."""
