"""What `cv3d.undistort` and `cv3d.rectify_pair` return."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.views.rectification import Rectification
from cv3d.geometry.views.remapping import PixelMap, seen_share
from cv3d.geometry.views.view import View

RESULT_SCHEMA = "cv3d.undistort/1"


@dataclass(frozen=True)
class Written:
    """What became of one input."""

    name: str
    """How results call it."""
    output: str | None
    """The file, relative to the output folder; None where nothing could be written."""
    frames: int
    """Pictures or frames written."""
    seconds: float
    """Time spent on it; pictures are worked on side by side, so theirs overlap."""
    reason: str | None = None
    """Why nothing was written, or what is missing."""


@dataclass(frozen=True, eq=False)
class SizedView:
    """How inputs of one size are seen."""

    camera: Camera
    """The camera at that size."""
    view: View
    """The ideal view."""
    map: PixelMap
    """Where its pixels come from."""
    view_from_cam: NDArray[np.float64] | None = None
    """Rotation, (3, 3); None: none."""

    def as_dict(self) -> dict[str, object]:
        """Camera before and after, and how much of either remains; JSON-ready."""
        horizontal, vertical = self.view.field_of_view()
        after = self.view.camera
        return {
            "camera_before": self.camera.as_dict(),
            "camera_after": self.view.as_dict() if after is None else after.as_dict(),
            "projection": str(self.view.projection),
            "field_of_view_deg": {"horizontal": math.degrees(horizontal), "vertical": math.degrees(vertical)},
            "valid_share": self.map.valid_share,
            "source_share": seen_share(self.camera, self.view, self.view_from_cam),
        }


@dataclass(frozen=True, eq=False)
class UndistortResult:
    """What was written, and how the inputs were seen."""

    views: tuple[SizedView, ...]
    """One per size of the inputs, that of the first input first; for a pair the left and the right one."""
    written: tuple[Written, ...]
    """One per input."""
    seconds: float
    """Time for everything."""
    rectification: Rectification | None = None
    """The pair's; None for single cameras."""

    @property
    def frames(self) -> int:
        """Pictures and frames written."""
        return sum(item.frames for item in self.written)

    @property
    def skipped(self) -> tuple[Written, ...]:
        """Inputs of which nothing could be written."""
        return tuple(item for item in self.written if item.output is None)

    def as_dict(self) -> dict[str, object]:
        """The result as `result.json` holds it."""
        views = [view.as_dict() for view in self.views]
        pair = self.rectification
        return {
            "schema": RESULT_SCHEMA,
            **views[0],
            "other_views": views[1:],
            "baseline": None if pair is None else pair.baseline,
            "is_vertical": None if pair is None else pair.is_vertical,
            "inputs": [
                {"file": item.name, "output": item.output, "frames": item.frames, "seconds": item.seconds}
                | ({} if item.reason is None else {"reason": item.reason})
                for item in self.written
            ],
            "frames": self.frames,
            "skipped": len(self.skipped),
            "seconds": self.seconds,
            "fps": self.frames / self.seconds if self.seconds > 0.0 else None,
        }
