"""Frames of coordinates for models of which little or nothing is known."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.transforms import SO3, Sim3
from cv3d.mapping.framing.transforming import camera_centres
from cv3d.mapping.scene import SceneModel

_EXTENT_QUANTILE = 0.9

Floats = NDArray[np.float64]


def similarity(scale: float, rotation: Floats, translation: Floats) -> Sim3:
    """x_new = scale · rotation · x_old + translation."""
    return Sim3.from_rotation_translation_and_scale(
        SO3.from_matrix(torch.from_numpy(np.ascontiguousarray(rotation))),
        torch.from_numpy(np.ascontiguousarray(translation)),
        torch.tensor(scale, dtype=torch.float64),
    )


def upright_rotation(model: SceneModel, up: Floats) -> Floats:
    """The rotation new_from_old that turns `up` to z, and x to the right of the first picture, (3, 3)."""
    up = up / np.linalg.norm(up)
    first = model.images[0].cam_from_world[:3, :3]
    # Right of a camera that looks straight up or down, its lower edge lies forward of nothing; any level axis does.
    for axis in (first[0], -first[1], first[2]):
        level = axis - up * (axis @ up)
        if np.linalg.norm(level) > 0.1:
            break
    level = level / np.linalg.norm(level)
    return np.stack([level, np.cross(up, level), up])


def centred(model: SceneModel, rotation: Floats, scale: float | None = None) -> Sim3:
    """A frame centred on what is seen.

    Args:
        model: any.
        rotation: new_from_old, (3, 3).
        scale: new lengths over old ones; None: so that nine tenths of the points are within 1 of the centre.

    Returns:
        new_from_old.
    """
    places = (model.points if len(model.points) else camera_centres(model)) @ rotation.T
    centre = np.median(places, axis=0)
    if scale is None:
        extent = float(np.quantile(np.linalg.norm(places - centre, axis=1), _EXTENT_QUANTILE))
        scale = 1.0 / extent if extent > 1e-12 else 1.0
    return similarity(scale, rotation, -scale * centre)
