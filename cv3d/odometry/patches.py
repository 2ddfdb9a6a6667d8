"""Reference patches of points, and where they are in a new frame: sparse direct alignment.

Every point keeps the surroundings of the place where it was found, on every level of a pyramid. In a new frame its
patch is warped as the predicted motion tells, and its place is where the warped patch fits, found from coarse to fine
by the inverse compositional Gauss-Newton (Baker and Matthews, "Lucas-Kanade 20 years on", 2004). Brightness is
normalised patch by patch, so a change of exposure does not matter. The warp stays as predicted, as in Forster et al.,
"SVO: fast semi-direct monocular visual odometry", 2014.

:mod:`cv3d.odometry.patches_reference` has the torch expressions that run everywhere, and
:mod:`cv3d.odometry.patches_kernel` their twins for the CPU. What is called is an
:class:`cv3d.odometry.aligners.Aligner`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Levels = tuple[Image, ...]

RADIUS = 5
"""Half the side of the patch that is compared, less half a pixel, on every level."""
STORED = 9
"""Half the side of what is kept of the reference, less half a pixel: room for a warp."""
LEVELS = 4
"""Levels of the pyramid, each of half the size of the one before."""
ITERATIONS = 8
"""Most steps on a level."""
CONVERGED = 0.03
"""A step of less ends a level, pixels of that level."""
LONGEST_STEP = 2.0
"""Pixels of a level."""
LEAST_DEVIATION = 1.5
"""Grey levels: a flatter patch has nothing to align."""
LEAST_NOISE = 2.0
"""Grey levels by which the pixels of a patch and of its reference differ at least."""
CORRELATED = 4.0
"""Neighbouring pixels that err alike: what the variance of a place is larger by than of independent ones."""
MODEL_VARIANCE = 0.5**2
"""Of a place, for what warp, lens and shutter leave unexplained, pixels squared."""
UNKNOWN = 1e6
"""Variance of a place that was not found, pixels squared."""
SIDE = 2 * RADIUS + 1
"""Side of the patch that is compared, pixels."""
COUNT = SIDE * SIDE
LEAST_SQUARE = COUNT * LEAST_DEVIATION**2
"""Sum of squares about the mean of the flattest patch that is aligned."""
GRADIENT_NOISE = 0.5 * COUNT * LEAST_NOISE**2
"""What noise alone adds to both eigenvalues of a patch's structure tensor: half the square of its deviation a pixel."""


def build_levels(image: Image, levels: int = LEVELS) -> Levels:
    """Pyramid of a picture (H, W), finest first.

    Every pixel of a level is the mean of four of the level before, rounded; an odd row or column is left out. Pixel x
    of level l is thus at 2^l (x + 0.5) - 0.5 of the picture, whatever its size.
    """
    stack = [np.ascontiguousarray(image)]
    for _ in range(levels - 1):
        if min(stack[-1].shape) < 4 * RADIUS:
            break
        height, width = (side // 2 for side in stack[-1].shape)
        even = stack[-1][: 2 * height, : 2 * width]
        stack.append(np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8))
    return tuple(stack)
