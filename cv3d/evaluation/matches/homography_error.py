"""How far a homography is from the true one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def corner_error(estimated: Floats, true: Floats, width: int, height: int) -> float:
    """Mean distance between where two homographies carry the corners of the first picture, pixels of the second.

    The corners are the centres of the corner pixels (DeTone et al. 2018, "SuperPoint", section 5).

    Args:
        estimated: H with x1 ~ H x0, (3, 3).
        true: likewise.
        width: of the first picture, pixels.
        height: of the first picture, pixels.

    Returns:
        The distance; infinite where a corner is carried to infinity or behind the camera by either.
    """
    right, bottom = width - 1.0, height - 1.0
    corners = np.array([[0.0, 0.0, 1.0], [right, 0.0, 1.0], [right, bottom, 1.0], [0.0, bottom, 1.0]])
    places = []
    for matrix in (estimated, true):
        carried = corners @ matrix.T
        # One sign for all four, or the horizon runs through the picture.
        if not (carried[:, 2] > 0.0).all() and not (carried[:, 2] < 0.0).all():
            return float("inf")
        places.append(carried[:, :2] / carried[:, 2:])
    return float(np.linalg.norm(places[0] - places[1], axis=1).mean())
