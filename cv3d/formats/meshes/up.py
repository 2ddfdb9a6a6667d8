"""Which axis of the world is up, and the turn into formats that prescribe it."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Up(StrEnum):
    """The direction of cv3d's world that shall be up in formats whose y axis is: glTF and USD."""

    MINUS_Y = "-y"
    """As in a camera's axes, whose y points down: right for worlds that are the first camera's frame."""
    PLUS_Z = "z"
    """As in surveys, robotics and most recordings with a motion-capture system."""
    PLUS_Y = "y"
    """As in those formats themselves."""


_ROTATIONS: dict[Up, tuple[tuple[int, ...], ...]] = {
    Up.MINUS_Y: ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    Up.PLUS_Z: ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    Up.PLUS_Y: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}


def y_up_from_world(up: Up) -> NDArray[np.float64]:
    """The rotation (3, 3) into a frame whose y axis is up."""
    return np.array(_ROTATIONS[up], np.float64)
