"""Key frames and map points of one segment as COLMAP's sparse model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.formats import FORMATS
from cv3d.formats.approximation import say
from cv3d.formats.camera_file import WORST_PX
from cv3d.formats.colmap_reconstruction import ReconstructedImage, Reconstruction, write_reconstruction
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.odometry.results import OdometryResult


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
    camera = say(result.camera, FORMATS["colmap-bin"], WORST_PX, 1.0).camera
    keys = [key for key in result.key_frames if key.segment == segment]
    seen = np.unique(np.concatenate([key.points for key in keys])) if keys else np.zeros(0, np.intp)
    seen = seen[result.map.segments[seen] == segment]
    index = np.full(len(result.map.points), -1, np.intp)
    index[seen] = np.arange(len(seen))
    images = tuple(
        ReconstructedImage(
            key.name, 0, inverse_rigid(key.world_from_cam), key.pixels.astype(np.float64), index[key.points]
        )
        for key in keys
    )
    unknown = np.full(len(seen), np.nan)
    scene = Reconstruction((camera,), images, result.map.points[seen], result.map.colors[seen], unknown)
    return replace(scene, errors=_mean_errors(scene))


def _mean_errors(scene: Reconstruction) -> NDArray[np.float64]:
    """Mean reprojection error of every point over the pictures that see it, (m,), pixels."""
    sums, counts = np.zeros(len(scene.points)), np.zeros(len(scene.points))
    for image in scene.images:
        shown = image.points >= 0
        points, pose = image.points[shown], image.cam_from_world
        projected = scene.cameras[image.camera].project(scene.points[points] @ pose[:3, :3].T + pose[:3, 3])
        errors = np.linalg.norm(projected - image.pixels[shown], axis=1)
        known = np.isfinite(errors)
        np.add.at(sums, points[known], errors[known])
        np.add.at(counts, points[known], 1.0)
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0.0)
    return means
