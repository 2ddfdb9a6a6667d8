"""The unit of length of a model: metres of one unit, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.mapping.framing.transforming import camera_centres
from cv3d.mapping.scaling import KnownDistance, ScenePlace
from cv3d.mapping.scene import SceneImage, SceneModel

_NEAR_SHARE = 0.03
"""How far from the named pixel a keypoint may be, share of the picture's diagonal."""
_FEWEST_DEPTHS = 20
"""Points with a depth that a picture needs to be asked."""
_DEPTHS_DIFFER = 0.15
"""Relative spread of the pictures' answers from which they contradict each other."""
_NORMAL_MAD = 1.4826

Floats = NDArray[np.float64]
Depth = NDArray[np.float32]


@dataclass(frozen=True)
class MetricScale:
    """How long a model's unit is."""

    metres: float
    """Of one unit."""
    deviation: float | None
    """Standard deviation relative to it, as the measurements agree with each other; None where there is one only."""
    support: int
    """Measurements that it rests on."""


def scale_by_distance(model: SceneModel, known: KnownDistance) -> MetricScale:
    """By how far two places are from each other.

    Raises:
        EstimationError: a place is not in the model, or both are one.
    """
    places = [_place(model, place) for place in (known.first, known.second)]
    length = float(np.linalg.norm(places[1] - places[0]))
    if model.is_oriented_only or length <= 1e-9 * _size(model):
        raise EstimationError("the two places that the distance is of are one in the model; name others")
    return MetricScale(known.metres / length, None, 1)


def scale_by_depth(model: SceneModel, depth_of: Callable[[SceneImage], Depth | None]) -> MetricScale:
    """By measured depth: what it says at the keypoints against how far the points behind them are.

    Args:
        model: with points.
        depth_of: the depth map of a picture, (h, w), metres along the axis and 0 where nothing was measured, with the
            field of view of the picture at any resolution; None where there is none.

    Raises:
        EstimationError: no picture has enough of it, or pictures contradict each other.
    """
    answers = np.array([found for image in model.images if (found := _by_depth(model, image, depth_of)) is not None])
    if not len(answers):
        raise EstimationError(f"no picture has measured depth at {_FEWEST_DEPTHS} of its points")
    logs = np.log(answers)
    middle = float(np.median(logs))
    spread = float(_NORMAL_MAD * np.median(np.abs(logs - middle)))
    if spread > _DEPTHS_DIFFER:
        raise EstimationError(
            f"measured depth gives {len(answers)} pictures scales that differ by {100 * spread:.0f} %: it is not of "
            "this scene, or in other units in some of them"
        )
    deviation = None if len(answers) < 2 else 1.2533 * spread / np.sqrt(len(answers))
    return MetricScale(float(np.exp(middle)), deviation, len(answers))


def _by_depth(model: SceneModel, image: SceneImage, depth_of: Callable[[SceneImage], Depth | None]) -> float | None:
    """The median over a picture's points of metres measured to units computed."""
    depth = depth_of(image)
    if depth is None:
        return None
    camera = model.cameras[image.camera].camera
    shown = image.points >= 0
    zoom = np.array([depth.shape[1] / camera.width, depth.shape[0] / camera.height])
    cells = np.rint((image.pixels[shown] + 0.5) * zoom - 0.5).astype(int)
    seen = model.points[image.points[shown]] @ image.cam_from_world[2, :3] + image.cam_from_world[2, 3]
    inside = ((cells >= 0) & (cells < (depth.shape[1], depth.shape[0]))).all(axis=1) & (seen > 0.0)
    measured = depth[cells[inside, 1], cells[inside, 0]].astype(np.float64)
    good = np.isfinite(measured) & (measured > 0.0)
    if int(good.sum()) < _FEWEST_DEPTHS:
        return None
    return float(np.median(measured[good] / seen[inside][good]))


def find_image(model: SceneModel, name: str) -> SceneImage | None:
    """The picture of that name, or the only one whose name ends so; None where there is none."""
    exact = [image for image in model.images if image.picture.name == name]
    ending = [image for image in model.images if image.picture.name.endswith(f"/{name}")]
    found = exact or ending
    return found[0] if len(found) == 1 else None


def _place(model: SceneModel, place: ScenePlace) -> Floats:
    """A place in the world, (3,)."""
    image = find_image(model, place.picture)
    if image is None:
        raise EstimationError(f"{place.picture}: no picture of this name has a place in the model")
    if place.pixel is None:
        pose = image.cam_from_world
        return np.asarray(-pose[:3, :3].T @ pose[:3, 3])
    shown = np.flatnonzero(image.points >= 0)
    camera = model.cameras[image.camera].camera
    off = np.linalg.norm(image.pixels[shown] - np.array(place.pixel), axis=1)
    if not len(off) or off.min() > _NEAR_SHARE * np.hypot(camera.width, camera.height):
        raise EstimationError(
            f"{place.picture}: no point of the model is seen near {place.pixel[0]:g},{place.pixel[1]:g}; "
            "name a pixel with more texture"
        )
    return np.asarray(model.points[image.points[shown[int(np.argmin(off))]]])


def _size(model: SceneModel) -> float:
    centres = camera_centres(model)
    return float(np.linalg.norm(centres.max(axis=0) - centres.min(axis=0)))
