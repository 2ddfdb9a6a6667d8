"""The turn into formats that prescribe which axis is up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.formats.up_axis import Up

__all__ = ["Up", "up_of_cameras", "y_up_from_world"]


_ROTATIONS: dict[Up, tuple[tuple[int, ...], ...]] = {
    Up.MINUS_Y: ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    Up.PLUS_Z: ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    Up.PLUS_Y: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}


def y_up_from_world(up: Up) -> NDArray[np.float64]:
    """The rotation (3, 3) into a frame whose y axis is up."""
    return np.array(_ROTATIONS[up], np.float64)


def up_of_cameras(world_from_cam: NDArray[np.float64]) -> Up:
    """The axis nearest to what is up for cameras that are mostly held upright.

    Args:
        world_from_cam: (n, 4, 4) or (n, 3, 3).
    """
    if not len(world_from_cam):
        return Up.MINUS_Y
    mean = -world_from_cam[:, :3, 1].mean(axis=0)
    return max(Up, key=lambda up: float(y_up_from_world(up)[1] @ mean))
