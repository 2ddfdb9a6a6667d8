"""Straight edges of posed pictures, as planes through the camera that contain them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.geometry.pixel_rays import pixel_rays
from cv3d.mapping.scene import SceneImage, SceneModel
from cv3d.media.reduced import read_gray_reduced

_LONGEST_SIDE = 800
"""Larger pictures are reduced to this, pixels: long edges are as good in them and found in a fraction of the time."""
_GRADIENT_NOISE = 3.0
"""Grey levels by which a gradient may be off: weaker ones make no edge. More than the detector's own 2, at which
textures leave a third more short edges that agree on nothing."""
_THREADS = 2
_PICTURES = 24
"""Pictures that are looked at, spread over all."""
_SEGMENTS = 250
"""Segments of one picture, the longest."""
_SHORTEST = 0.03
"""Length of a segment, share of the longest side."""
_END_PX = 1.0
"""How far an end of a segment may be off, pixels of the reduced picture."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WorldSegments:
    """Straight edges, n of them."""

    normals: Floats
    """Of the planes through the camera's centre and the edge, in the world, (n, 3), unit."""
    deviations: Floats
    """Standard deviation of a direction's distance from the plane, for directions in it, radians, (n,)."""
    weights: Floats
    """Lengths, relative to the sum of the picture's: every picture counts 1, (n,)."""
    pictures: NDArray[np.intp]
    """Which picture each is from, (n,), counted among those looked at."""


def world_segments(model: SceneModel) -> WorldSegments:
    """Find straight edges in the pictures of a model and turn them into the world.

    Args:
        model: with poses, or orientations alone. Pictures that cannot be read are passed over.
    """
    places = np.unique(np.linspace(0, len(model.images) - 1, min(_PICTURES, len(model.images))).round().astype(int))
    images = [model.images[place] for place in places.tolist()]
    with ThreadPoolExecutor(_THREADS, "cv3d-segments") as pool:
        parts = list(pool.map(lambda image: _of_picture(model, image), images))
    return _joined([part for part in parts if part is not None])


def _of_picture(model: SceneModel, image: SceneImage) -> tuple[Floats, Floats, Floats] | None:
    """Normals in the world, their deviations, and lengths."""
    camera = model.cameras[image.camera].camera
    try:
        gray = read_gray_reduced(image.picture, _LONGEST_SIDE)
    except PictureError:
        return None
    ends = _segments(gray)
    # Pixel centres of the reduced picture in the camera's own pixels, whatever size the picture is kept in.
    zoom = np.array([camera.width / gray.shape[1], camera.height / gray.shape[0]])
    rays = pixel_rays(camera, (ends + 0.5) * zoom - 0.5)
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    normals = np.cross(rays.rays[:, 0], rays.rays[:, 1])
    widths = np.linalg.norm(normals, axis=1)
    good = rays.valid.all(axis=1) & (widths > 1e-9)
    if not good.any():
        return None
    normals = normals[good] / widths[good, None]
    return normals @ image.cam_from_world[:3, :3], np.sqrt(2.0) * _END_PX / lengths[good], lengths[good]


def _segments(gray: NDArray[np.uint8]) -> Floats:
    """Ends of the longest segments, (n, 2, 2) (von Gioi et al. 2010, "LSD: a fast line segment detector")."""
    detector = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD, quant=_GRADIENT_NOISE)
    found: MatLike | None = detector.detect(gray)[0]
    if found is None:
        return np.zeros((0, 2, 2))
    ends: Floats = np.asarray(found, np.float64).reshape(-1, 2, 2)
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    longest = np.argsort(-lengths, kind="stable")[:_SEGMENTS]
    return np.asarray(ends[longest[lengths[longest] >= _SHORTEST * max(gray.shape)]])


def _joined(parts: Sequence[tuple[Floats, Floats, Floats]]) -> WorldSegments:
    if not parts:
        return WorldSegments(np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0, np.intp))
    return WorldSegments(
        np.concatenate([normals for normals, _, _ in parts]),
        np.concatenate([deviations for _, deviations, _ in parts]),
        np.concatenate([lengths / lengths.sum() for _, _, lengths in parts]),
        np.repeat(np.arange(len(parts)), [len(normals) for normals, _, _ in parts]),
    )
