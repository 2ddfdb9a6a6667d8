"""What dense stereo says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.result import DepthMap
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.views.rectification import Rectification

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Disparity:
    """Disparities of a rectified pair, as seen by its left picture."""

    disparity: Floats
    """(h, w) column in the left picture minus column in the right one, pixels; 0 where there is none."""
    confidence: Floats
    """(h, w) 0 to 1; 0 where there is no disparity or a filled one."""
    max_disparity: int
    """Largest disparity that was looked for, pixels."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of the parts, and "total"."""
    is_filled: bool = False
    """Whether holes were filled."""
    device: str = "cpu"

    @property
    def coverage(self) -> float:
        """Share of the pixels with a disparity."""
        return float((self.disparity > 0.0).mean())


@dataclass(frozen=True)
class RowCheck:
    """How well counterparts lie on the same row of a pair that is taken as rectified."""

    matches: int
    """Sparse matches that agree with one another."""
    offset_px: float
    """Median row in the right picture minus row in the left one, pixels; NaN where there are too few matches."""
    spread_px: float
    """Median absolute deviation from the median, pixels."""
    columns_px: tuple[float, float]
    """5th and 95th percentile of the disparities, pixels."""
    behind: float = 0.0
    """Share of the matches that lie further right in the right picture, which no point before parallel cameras does."""


@dataclass(frozen=True, eq=False)
class StereoResult:
    """Disparity and depth of a pair of pictures."""

    names: tuple[str, str]
    """Of the left and the right picture."""
    disparity: Disparity
    color: NDArray[np.uint8]
    """(h, w, 3) the left picture, rectified, RGB."""
    rows: RowCheck
    """Whether counterparts lie on one row."""
    camera: Camera | None = None
    """Pinhole camera of the rectified left picture, where a calibration is known."""
    baseline_m: float | None = None
    """Distance between the cameras, metres, or in the rig's own unit where `is_metric` is False."""
    depth: Floats | None = None
    """(h, w) along z, in the baseline's unit; 0 where there is none; None without a calibration."""
    rectification: Rectification | None = None
    """Of the rig; None where the pair was taken as rectified."""
    is_metric: bool = False
    """Whether the unit of length is known to be the metre."""
    warnings: tuple[str, ...] = ()
    """What is odd about the pair."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of the parts, and "total"."""

    @property
    def depth_map(self) -> DepthMap | None:
        """The depth as other packages take it, the left camera as it was given being the world; None without depth."""
        if self.depth is None or self.camera is None:
            return None
        view_from_left = np.eye(4)
        if self.rectification is not None:
            view_from_left[:3, :3] = self.rectification.first.view_from_cam
        name = self.names[0]
        return DepthMap(name, self.camera, view_from_left, self.depth, self.disparity.confidence, self.color)

    def as_result(self) -> dict[str, object]:
        """The figures, JSON-ready."""
        found = self.disparity.disparity > 0.0
        depth = None if self.depth is None else self.depth[self.depth > 0.0]
        return {
            "schema": "cv3d.stereo/1",
            "left": self.names[0],
            "right": self.names[1],
            "width": found.shape[1],
            "height": found.shape[0],
            "max_disparity": self.disparity.max_disparity,
            "coverage": self.disparity.coverage,
            "mean_confidence": float(self.disparity.confidence[found].mean()) if found.any() else 0.0,
            "median_disparity_px": float(np.median(self.disparity.disparity[found])) if found.any() else None,
            "median_depth": float(np.median(depth)) if depth is not None and depth.size else None,
            "baseline": self.baseline_m,
            "is_metric": self.is_metric,
            "row_offset_px": self.rows.offset_px if self.rows.matches else None,
            "row_matches": self.rows.matches,
            "is_filled": self.disparity.is_filled,
            "device": self.disparity.device,
            "warnings": list(self.warnings),
            "seconds": dict(self.seconds),
        }
