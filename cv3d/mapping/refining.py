"""Observations aligned photometrically along their tracks: from a pixel to a fraction of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.features.refinement.options import RefinementOptions, SetOptions
from cv3d.features.refinement.tracks import refine_tracks
from cv3d.geometry.bundle import BundleResult
from cv3d.mapping.adjusting import adjust
from cv3d.mapping.intrinsics import KnownCamera
from cv3d.mapping.state import MapState, Tolerances
from cv3d.progress import SILENT, Progress

Floats = NDArray[np.float64]

_SHIFT = 6.0
"""How far a keypoint may be from where it belongs, pixels as matched."""
_LEAST_NOISE = 0.2
"""Deviation that no alignment is better than, pixels: what patches say of themselves is of their noise alone."""
_MAX_DEVIATIONS = 5.0
"""Largest error of a refined observation, in its deviations."""
_ALIKE = 0.15
"""Share of the observations that align, below which a map is one of chance."""
_FEWEST = 30
"""Refined observations of a picture below which it keeps the others, too."""


def refine_map(
    state: MapState,
    known: Sequence[KnownCamera],
    stage: int,
    read_gray: Callable[[int], NDArray[np.uint8]],
    compute: Compute,
    progress: Progress = SILENT,
) -> bool:
    """Align the active rows of a map, leave out those that do not align, and adjust.

    Args:
        state: the map, changed in place.
        known: what is known of each camera beforehand.
        stage: which intrinsics are free.
        read_gray: gives a picture's grey pixels by its number.
        compute: where the alignment runs.
        progress: told how far it is, in observations.

    Returns:
        Whether enough of them look alike; else the map is one of chance, and stays as it is.
    """
    table, rows = state.table, np.flatnonzero(state.active)
    found = refine_tracks(
        read_gray,
        [state.camera(picture) for picture in range(len(state.graph))],
        state.poses,
        state.points,
        table.picture[rows],
        table.track[rows],
        state.pixels[rows],
        compute,
        SetOptions(RefinementOptions(max_shift=_SHIFT * float(state.graph.noise.max()))),
        progress,
    )
    if int(found.mask.sum()) < max(_FEWEST, _ALIKE * len(rows)):
        return False
    pixels, sigma = state.pixels.copy(), state.sigma.copy()
    pixels[rows] = found.pixels
    covariance = state.sigma[:, None, None] ** 2 * np.eye(2)
    aligned = np.nan_to_num(found.covariances) + _LEAST_NOISE**2 * np.eye(2)
    covariance[rows[found.mask]] = aligned[found.mask]
    sigma[rows[found.mask]] = np.sqrt(0.5 * np.trace(aligned[found.mask], axis1=1, axis2=2))
    state.set_pixels(pixels, sigma, covariance)

    left = rows[~found.mask]
    refined = np.bincount(table.picture[rows[found.mask]], minlength=len(state.graph))
    state.active[left[refined[table.picture[left]] >= _FEWEST]] = False
    state.tolerances = Tolerances(_MAX_DEVIATIONS, state.tolerances.min_angle_deg)
    state.drop_undetermined()
    _calibrate_noise(state, known, stage)
    return True


def _calibrate_noise(state: MapState, known: Sequence[KnownCamera], stage: int) -> None:
    """Adjust, take the residuals' word for the noise, filter, and adjust again."""
    for turn in range(2):
        adjusted = adjust(state, known, stage=stage, iterations=30, tolerance=1e-5)
        if adjusted is None:
            return
        if turn == 0 and state.covariance is not None:
            factor = max(noise_factor(adjusted.result), 1e-3)
            state.set_pixels(state.pixels, state.sigma * factor, state.covariance * factor**2)
        state.keep_agreeing()


def noise_factor(result: BundleResult) -> float:
    """What errors are over their deviations.

    Residuals are smaller than errors, by as many unknowns as there are: a point seen twice fits nearly always.
    """
    measured = 2 * int(result.used.sum())
    left_over = measured - 3 * len(result.points) - 6 * len(result.poses)
    return result.noise * math.sqrt(measured / max(left_over, 1))
