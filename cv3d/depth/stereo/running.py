"""`stereo`: two picture files to disparity and depth."""

from __future__ import annotations

from pathlib import Path

from cv3d.compute import Compute
from cv3d.depth.stereo.options import StereoOptions
from cv3d.depth.stereo.result import StereoResult
from cv3d.errors import EstimationError
from cv3d.geometry.cameras.rig import Rig
from cv3d.progress import SILENT, Progress


def stereo(
    left: str | Path,
    right: str | Path,
    *,
    rig: Rig | str | Path | None = None,
    cameras: tuple[int, int] = (0, 1),
    is_rectified: bool = False,
    options: StereoOptions | None = None,
    compute: Compute | None = None,
    progress: Progress = SILENT,
) -> StereoResult:
    """Disparity of a pair of picture files, and depth where a calibration is known.

    Args:
        left: picture file of the left camera.
        right: picture file of the right camera.
        rig: calibration of the pair, or its file in any format that cv3d reads; None: the pictures are taken as
            rectified, and there is no depth.
        cameras: which two of the rig's cameras, by index: left, right.
        is_rectified: the pictures are rectified already, the rig's cameras being pinhole ones beside each other.
        options: see :class:`StereoOptions`.
        compute: where dense work runs; the best device of this machine by default.
        progress: told about the course.

    Raises:
        InputError: the files are no pictures or differ in size; counterparts are on different rows; the pictures are
            swapped; the rig has no such posed cameras.
        EstimationError: the pair cannot be rectified, or shows nothing in common.
        UsageError: the rig's cameras are one above the other.
    """
    raise EstimationError("dense matching is being written")
