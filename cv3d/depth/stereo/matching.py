"""Dense disparity of a rectified pair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.depth.stereo.options import StereoOptions
from cv3d.depth.stereo.result import Disparity
from cv3d.errors import EstimationError


def stereo_disparity(
    left: NDArray[np.uint8],
    right: NDArray[np.uint8],
    *,
    options: StereoOptions | None = None,
    compute: Compute | None = None,
) -> Disparity:
    """Disparity of every pixel of the left of two rectified pictures, by semi-global matching.

    Args:
        left: (h, w) grey or (h, w, 3) RGB, uint8.
        right: the right picture, of the same shape: a point has the same row as in the left one and no larger column.
        options: range, penalties, what is taken out.
        compute: where dense work runs; the best device of this machine by default.

    Returns:
        Disparities, with 0 where nothing is borne out.

    Raises:
        InputError: the pictures are not uint8, or not of one shape.
        EstimationError: no range was given, and the pair shows none.
    """
    raise EstimationError("dense matching is being written")
