"""From a model of a scene to what dense depth starts from."""

from __future__ import annotations

import numpy as np

from cv3d.depth.posed import PosedSet, PosedView
from cv3d.mapping.scene import ScaleSource, Scene


def posed_set(scene: Scene) -> PosedSet:
    """The pictures of a scene's largest model, their cameras and poses, and the points that they see."""
    model = scene.models[0]
    views = tuple(
        PosedView(
            image.picture,
            model.cameras[image.camera].camera,
            image.cam_from_world,
            np.unique(image.points[image.points >= 0]),
        )
        for image in model.images
    )
    return PosedSet(views, model.points, is_metric=scene.scale is not ScaleSource.ARBITRARY)
