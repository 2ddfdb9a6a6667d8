"""Pictures with their places and points, brought into what COLMAP's sparse model can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cv3d.formats import FORMATS
from cv3d.formats.approximation import say
from cv3d.formats.camera_file import WORST_PX
from cv3d.formats.colmap_reconstruction import ReconstructedImage, Reconstruction
from cv3d.geometry.cameras.camera import Camera


def assembled(
    cameras: Sequence[Camera],
    images: Sequence[ReconstructedImage],
    points: NDArray[np.float64],
    colors: NDArray[np.uint8],
) -> Reconstruction:
    """The model: cameras as COLMAP can say them, the points that a picture sees, their mean errors.

    Args:
        cameras: of any model.
        images: each with its camera, and which of `points` its keypoints show, -1 for none.
        points: (m, 3).
        colors: (m, 3) RGB.

    Raises:
        FormatError: no camera model of COLMAP's comes near a camera.
    """
    said = tuple(say(camera, FORMATS["colmap-bin"], WORST_PX, 1.0).camera for camera in cameras)
    shown = np.unique(np.concatenate([np.zeros(0, np.intp), *(image.points for image in images)]))
    seen = shown[shown >= 0]
    # The last entry is what -1 leads to.
    index = np.full(len(points) + 1, -1, np.intp)
    index[seen] = np.arange(len(seen))
    renumbered = tuple(replace(image, points=index[image.points]) for image in images)
    model = Reconstruction(said, renumbered, points[seen], colors[seen], np.full(len(seen), np.nan))
    return replace(model, errors=_mean_errors(model))


def _mean_errors(model: Reconstruction) -> NDArray[np.float64]:
    """Mean reprojection error of every point over the pictures that see it, (m,), pixels."""
    sums, counts = np.zeros(len(model.points)), np.zeros(len(model.points))
    for image in model.images:
        shown = image.points >= 0
        points, pose = image.points[shown], image.cam_from_world
        projected = model.cameras[image.camera].project(model.points[points] @ pose[:3, :3].T + pose[:3, 3])
        errors = np.linalg.norm(projected - image.pixels[shown], axis=1)
        known = np.isfinite(errors)
        np.add.at(sums, points[known], errors[known])
        np.add.at(counts, points[known], 1.0)
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0.0)
    return means
