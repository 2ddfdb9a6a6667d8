"""Depth of single pixels from a depth picture, with the deviation of the kind of sensor that made it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.fused import fused

Floats = NDArray[np.float64]

_AT_ONE_METRE = 0.0025
"""Deviation of a structured-light depth at one metre, metres, growing with the square of the distance: Khoshelham and
Elberink, "Accuracy and resolution of Kinect depth data", 2012, give 1.5 mm for the sensor alone; registration with the
colour picture adds as much."""
_FLOOR = 0.002
_EDGE = 0.05
"""Share of the depth by which a neighbour may differ before the pixel lies on an edge."""


def read_depths(depth: NDArray[np.float32], pixels: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Measured depth at pixels.

    Args:
        depth: (H, W), metres; 0: none.
        pixels: (n, 2) in the same picture.

    Returns:
        (n,) depth, metres, 0 where nothing was measured or an edge is near; (n,) its standard deviation, metres.
    """
    found = np.zeros(len(pixels))
    _read(depth, np.ascontiguousarray(pixels, np.float64), found)
    return found, _FLOOR + _AT_ONE_METRE * found**2


@fused
def _read(depth: NDArray[np.float32], pixels: Floats, found: Floats) -> None:
    height, width = depth.shape
    for i in range(len(pixels)):
        x, y = int(np.floor(pixels[i, 0] + 0.5)), int(np.floor(pixels[i, 1] + 0.5))
        if x < 1 or y < 1 or x > width - 2 or y > height - 2:
            continue
        least, most, total, count = np.inf, 0.0, 0.0, 0
        for v in range(y - 1, y + 2):
            for u in range(x - 1, x + 2):
                z = depth[v, u]
                if z > 0.0:
                    least = min(least, z)
                    most = max(most, z)
                    total += z
                    count += 1
        if count >= 6 and most - least < _EDGE * most:
            found[i] = total / count
