"""What drawings of a path need, from the result of odometry: segment by segment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.results import OdometryResult
from cv3d.reporting.odometry_truth import TruthComparison
from cv3d.reporting.path_figures import PathDrawing
from cv3d.reporting.path_view import ViewedSegment

Floats = NDArray[np.float64]

SEGMENT_COLOURS = ("#2f7fe0", "#ef7d22", "#1f9d63", "#9a5bd8", "#d0437f", "#8f7a12")
"""Told apart on light and on dark."""


def segment_drawings(result: OdometryResult, truth: TruthComparison | None) -> list[ViewedSegment]:
    """Every segment that has poses, the largest first; the truth beside that one, in its world."""
    sizes = result.segment_sizes
    order = sorted((number for number, size in enumerate(sizes) if size), key=lambda number: -sizes[number])
    return [_viewed(result, number, place, truth if place == 0 else None) for place, number in enumerate(order)]


def _viewed(result: OdometryResult, number: int, place: int, truth: TruthComparison | None) -> ViewedSegment:
    poses: list[Floats] = []
    breaks: list[bool] = []
    positions: dict[int, Floats] = {}
    was_tracked = True
    for frame in result.frames:
        pose = frame.world_from_cam
        if frame.segment == number and pose is not None:
            poses.append(pose)
            breaks.append(bool(positions) and not was_tracked)
            positions[frame.index] = pose[:3, 3]
        was_tracked = frame.segment == number and pose is not None
    keys = [key.world_from_cam for key in result.key_frames if key.segment == number]
    ends = [
        (positions[loop.frame], positions[loop.earlier_frame])
        for loop in result.loops
        if loop.frame in positions and loop.earlier_frame in positions
    ]
    of_segment = result.map.segments == number
    key_poses = np.stack(keys) if keys else np.zeros((0, 4, 4))
    path = PathDrawing(
        np.stack(poses)[:, :3, 3],
        np.array(breaks, np.bool_),
        key_poses[:, :3, 3],
        np.array(ends, np.float64).reshape(-1, 2, 3),
        result.map.points[of_segment],
        None if truth is None else _true_positions(truth),
        SEGMENT_COLOURS[place % len(SEGMENT_COLOURS)],
    )
    return ViewedSegment(f"segment {number}", path, result.map.colors[of_segment], key_poses)


def _true_positions(truth: TruthComparison) -> Floats | None:
    """The truth in the estimate's world, from the first to the last matched moment."""
    found = truth.evaluation
    if found is None:
        return None
    low, high = int(found.reference_index.min()), int(found.reference_index.max())
    estimate_from_reference = np.linalg.inv(found.aligned.reference_from_estimate)
    true = found.full_reference.positions[low : high + 1]
    positions: Floats = true @ estimate_from_reference[:3, :3].T + estimate_from_reference[:3, 3]
    return positions
