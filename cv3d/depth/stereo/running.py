"""`stereo`: two picture files to disparity and depth."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.depth.stereo.matching import as_gray, stereo_disparity
from cv3d.depth.stereo.options import StereoOptions
from cv3d.depth.stereo.pair import StereoPair, read_pair, turned
from cv3d.depth.stereo.result import Disparity, StereoResult
from cv3d.depth.stereo.rows import check_rows, judge_rows
from cv3d.depth.stereo.triangulating import stereo_depth
from cv3d.geometry.cameras.rig import Rig
from cv3d.progress import SILENT, Progress

_STAGE = "stereo"


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

    Pictures of more than 8 bits are reduced to them; either may be grey. Of cameras one above the other the
    disparity is that of the rows.

    Args:
        left: picture file of the left camera; of the upper one, where they are one above the other.
        right: picture file of the right (lower) camera.
        rig: calibration of the pair, or its file in any format that cv3d reads; None: the pictures are taken as
            rectified, and there is no depth.
        cameras: which two of the rig's cameras, by index: left, right.
        is_rectified: the pictures are rectified already, and the rig's cameras are those that would take them so.
        options: see :class:`StereoOptions`.
        compute: where dense work runs; the best device of this machine by default.
        progress: told about the course.

    Raises:
        InputError: the files are no pictures or differ in size; counterparts are on different rows; the pictures are
            swapped; the rig has no such posed cameras.
        EstimationError: the pair cannot be rectified, or shows nothing in common.
        UsageError: the options, or the rig and what is said of it, contradict each other.
    """
    options, compute = options or StereoOptions(), compute or Compute.choose()
    progress.start(_STAGE, 3)
    began = time.perf_counter()
    pair = read_pair(left, right, rig, cameras, is_rectified)
    level = turned(pair) if pair.is_vertical else pair
    progress.advance(_STAGE)
    read = time.perf_counter()
    grays = as_gray(level.left, level.names[0]), as_gray(level.right, level.names[1])
    rows = check_rows(*grays)
    notes = pair.warnings + judge_rows(rows, rig is not None and not is_rectified)
    for note in notes:
        progress.warn(note)
    progress.advance(_STAGE)
    checked = time.perf_counter()
    disparity = _seen(stereo_disparity(*grays, options=options, compute=compute), pair)
    geometry = pair.geometry
    depth = None
    if geometry is not None:
        depth = stereo_depth(disparity.disparity, geometry.camera, geometry.baseline, geometry.principal_offset_px)
    progress.advance(_STAGE)
    progress.finish(_STAGE)
    ended = time.perf_counter()
    return StereoResult(
        names=pair.names,
        disparity=disparity,
        color=pair.left,
        rows=rows,
        camera=None if geometry is None else geometry.camera,
        baseline_m=None if geometry is None else geometry.baseline,
        depth=depth,
        rectification=None if geometry is None else geometry.rectification,
        is_metric=pair.is_metric,
        warnings=notes,
        seconds={"read": read - began, "check": checked - read, **disparity.seconds, "total": ended - began},
    )


def _seen(found: Disparity, pair: StereoPair) -> Disparity:
    """The disparities of what both cameras saw, turned back where the pair was turned."""
    disparity, confidence = found.disparity, found.confidence
    seen_left, seen_right = pair.seen
    if pair.is_vertical:
        seen_left, seen_right = seen_left.T, seen_right.T
    kept = seen_left & _counterpart_seen(disparity, seen_right)
    disparity, confidence = (np.where(kept, one, np.float32(0.0)) for one in (disparity, confidence))
    if pair.is_vertical:
        disparity, confidence = np.ascontiguousarray(disparity.T), np.ascontiguousarray(confidence.T)
    return replace(found, disparity=disparity, confidence=confidence)


def _counterpart_seen(disparity: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the right camera saw where each pixel's counterpart lies; beyond its picture nothing is against it."""
    target = np.rint(np.arange(disparity.shape[1]) - disparity).astype(np.intp)
    is_seen: NDArray[np.bool_] = np.take_along_axis(seen, np.maximum(target, 0), axis=1) | (target < 0)
    return is_seen
