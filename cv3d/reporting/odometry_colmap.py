"""Key frames and map points of one segment as COLMAP's sparse model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cv3d.formats.colmap_reconstruction import ReconstructedImage, Reconstruction, write_reconstruction
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.odometry.results import OdometryResult
from cv3d.reporting.colmap_model import assembled


def write_colmap(result: OdometryResult, segment: int, out: Path, folder: str) -> list[str]:
    """Write the model of a segment.

    Args:
        result: the path.
        segment: which of its segments.
        out: the folder of all results.
        folder: the name of the model's own, in it.

    Returns:
        The names of the files within `out`.

    Raises:
        FormatError: no camera model of COLMAP's comes near the camera.
        OutputError: a file cannot be written.
    """
    names = write_reconstruction(out / folder, reconstruction(result, segment))
    return [f"{folder}/{name}" for name in names]


def reconstruction(result: OdometryResult, segment: int) -> Reconstruction:
    """Key frames and points of a segment, the camera as COLMAP can say it; points that no key frame sees are left out.

    Raises:
        FormatError: no camera model of COLMAP's comes near the camera.
    """
    is_own = result.map.segments == segment
    images = tuple(
        ReconstructedImage(
            key.name,
            0,
            inverse_rigid(key.world_from_cam),
            key.pixels.astype(np.float64),
            np.where(is_own[key.points], key.points, -1),
        )
        for key in result.key_frames
        if key.segment == segment
    )
    return assembled((result.camera,), images, result.map.points, result.map.colors)
