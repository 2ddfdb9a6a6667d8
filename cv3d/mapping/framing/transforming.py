"""A model in another frame of coordinates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.transforms import Sim3
from cv3d.mapping.scene import SceneImage, SceneModel

Floats = NDArray[np.float64]


def transformed(model: SceneModel, new_from_old: Sim3) -> SceneModel:
    """The same model in a new frame of the world; what the pictures see of it stays as it is.

    Covariances are of motions in the frames of the cameras: their translations scale, their rotations stay.

    Args:
        model: any; of one that is oriented only, positions stay zero.
        new_from_old: the similarity of the world, not batched.
    """
    matrix = new_from_old.as_matrix().double().numpy()
    scale = float(new_from_old.scale())
    rotation, translation = matrix[:3, :3] / scale, matrix[:3, 3]
    if model.is_oriented_only:
        scale, translation = 1.0, np.zeros(3)
    images = tuple(_moved(image, rotation, translation, scale) for image in model.images)
    return replace(model, images=images, points=scale * model.points @ rotation.T + translation)


def camera_centres(model: SceneModel) -> Floats:
    """Where the pictures were taken, in the world, (n, 3)."""
    poses = np.stack([image.cam_from_world for image in model.images])
    return np.asarray(-np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3]))


def _moved(image: SceneImage, rotation: Floats, translation: Floats, scale: float) -> SceneImage:
    # x_cam' = s x_cam, with x_old = R^T (x_new - t) / s.
    pose = np.eye(4)
    pose[:3, :3] = image.cam_from_world[:3, :3] @ rotation.T
    pose[:3, 3] = scale * image.cam_from_world[:3, 3] - pose[:3, :3] @ translation
    covariance = image.covariance
    if covariance is not None:
        factors = np.array([scale] * 3 + [1.0] * 3)
        covariance = covariance * factors[:, None] * factors
    return replace(image, cam_from_world=pose, covariance=covariance)
