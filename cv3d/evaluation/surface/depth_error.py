"""Depth rendered from a mesh against depth that was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.evaluation.surface.observed import SurfaceView
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.rasterizing import render

Floats = NDArray[np.float64]

_BINS = 4000
_REACH_M = 0.4
"""Errors are counted in steps of 0.1 mm up to here; a median beyond it is no surface's."""


@dataclass(frozen=True, eq=False)
class DepthErrors:
    """How far a mesh lies in front of or behind measured depth, over all pixels where both are."""

    frames: int
    mean_abs_m: float
    """Mean of the absolute difference, metres."""
    rmse_m: float
    median_abs_m: float
    """Over all pixels, to 0.1 mm."""
    covered: float
    """Share of the measured pixels where the mesh is seen at all."""
    within: dict[float, float]
    """Share of the measured pixels where the mesh is seen and no farther off than each threshold, by the threshold in
    metres."""
    per_frame_m: Floats
    """Median absolute difference of each frame, (frames,), metres; NaN where nothing was compared."""

    def as_dict(self) -> dict[str, object]:
        """As plain data, without single frames."""
        return {
            "frames": self.frames,
            "mean_abs_m": self.mean_abs_m,
            "rmse_m": self.rmse_m,
            "median_abs_m": self.median_abs_m,
            "covered": self.covered,
            "within": [{"threshold_m": key, "share": value} for key, value in self.within.items()],
        }


def depth_errors(
    mesh: Mesh,
    views: Iterable[SurfaceView],
    thresholds_m: Sequence[float] = (0.005, 0.01, 0.02, 0.05),
    max_range_m: float = np.inf,
) -> DepthErrors:
    """Render a mesh where cameras stood, and compare with what they measured.

    Args:
        mesh: with triangles.
        views: cameras with depth.
        thresholds_m: differences to count.
        max_range_m: farther measurements are left out.

    Raises:
        InputError: the mesh is a point cloud, a view has no depth, or nothing was measured in any.
    """
    counts = np.zeros(_BINS + 1, np.int64)
    measured = compared = 0
    absolute = squared = 0.0
    within = dict.fromkeys(thresholds_m, 0)
    medians = []
    for view in views:
        if view.depth is None:
            raise InputError("rendered depth is compared with measured depth, and a view has none")
        rendered = render(mesh, view.camera, view.cam_from_world).depth
        valid = (view.depth > 0.0) & (view.depth <= max_range_m)
        both = valid & (rendered > 0.0)
        errors = np.abs(rendered[both].astype(np.float64) - view.depth[both])
        measured += int(valid.sum())
        compared += len(errors)
        absolute += float(errors.sum())
        squared += float((errors**2).sum())
        counts += np.bincount(np.minimum((errors * (_BINS / _REACH_M)).astype(np.int64), _BINS), minlength=_BINS + 1)
        for threshold in within:
            within[threshold] += int((errors <= threshold).sum())
        medians.append(float(np.median(errors)) if len(errors) else np.nan)
    if not measured:
        raise InputError("no frame has depth to compare the mesh with")
    middle = int(np.searchsorted(np.cumsum(counts), 0.5 * compared)) if compared else _BINS
    return DepthErrors(
        len(medians),
        absolute / compared if compared else np.nan,
        float(np.sqrt(squared / compared)) if compared else np.nan,
        (middle + 0.5) * _REACH_M / _BINS if compared and middle < _BINS else np.nan,
        compared / measured,
        {threshold: count / measured for threshold, count in within.items()},
        np.array(medians),
    )
