"""Whether the picture shows the edge between two neighbouring corners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.checkerboard.pyramid import Float64, Level, Pyramid

POSITIONS = np.linspace(0.2, 0.8, 7)
"""Where along the link the edge is looked for."""
ASIDE = 0.11
"""How far on either side of the link, relative to its length: farther than a lens bends the edge."""
LEAST_ASIDE_PX = 1.3
"""The same in pixels of the level: farther than the smoothing reaches."""
LEAST_STEP = 0.25
"""Least step across the link, relative to the weaker corner's contrast, at all but one of the positions."""


def weakest_step(level: Level, start: Float64, end: Float64, rising: NDArray[np.bool_]) -> Float64:
    """The second smallest step of grey values across links, (n,); -inf where the picture ends.

    Args:
        level: where to look.
        start: one end of each link in the picture, (n, 2).
        end: the other end, (n, 2).
        rising: whether the side towards which +x turns to +y is expected to be the lighter one, (n,).
    """
    chord = end - start
    length = np.linalg.norm(chord, axis=1)
    side = np.stack([-chord[:, 1], chord[:, 0]], axis=1) / np.maximum(length, 1e-9)[:, None]
    aside = (np.maximum(ASIDE * length, LEAST_ASIDE_PX * level.scale)[:, None] * side)[:, None]
    middle = start[:, None] + POSITIONS[:, None] * chord[:, None]
    step = level.sample(middle + aside) - level.sample(middle - aside)
    signed = np.where(rising[:, None], step, -step)
    return np.asarray(np.sort(np.where(np.isfinite(signed), signed, -np.inf), axis=1)[:, 1], dtype=np.float64)


def edges_seen(
    pyramid: Pyramid, start: Float64, end: Float64, rising: NDArray[np.bool_], contrast: Float64
) -> NDArray[np.bool_]:
    """Whether each link (arguments as in :func:`weakest_step`) has an edge, for corners of this contrast, (n,)."""
    weakest = np.full(len(start), -np.inf)
    scales = pyramid.scale_for(np.linalg.norm(end - start, axis=1))
    for scale in np.unique(scales):
        members = scales == scale
        weakest[members] = weakest_step(pyramid.level(int(scale)), start[members], end[members], rising[members])
    return np.asarray(weakest > LEAST_STEP * contrast)
