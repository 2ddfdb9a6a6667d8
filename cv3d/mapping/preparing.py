"""What is known of the cameras of a set before it is mapped: a file, EXIF tags, or what the pairs' geometry says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.global_poses import calibrate_focals
from cv3d.geometry.two_view import ModelKind
from cv3d.mapping.graph import MatchGraph
from cv3d.mapping.intrinsics import KnownCamera, given, guessed, refocused, with_focal
from cv3d.mapping.options import SharedCamera
from cv3d.mapping.scene import IntrinsicsSource
from cv3d.media.exif_focal import exif_focal_px
from cv3d.media.picture import Picture
from cv3d.media.sized_views import camera_at

Ints = NDArray[np.intp]

_DETERMINED = 0.25
"""Relative deviation up to which a focal length of the pairs' geometry is taken."""
_SURE = 0.08
"""Relative deviation of the best such start: lens distortion and the principal point are not in it."""


@dataclass(frozen=True, eq=False)
class CameraPlan:
    """Which camera took each picture, and what is known of it."""

    known: tuple[KnownCamera, ...]
    camera_of: Ints
    """(P,), index into `known`; of an unreadable picture, 0."""


def plan_cameras(
    pictures: Sequence[Picture], sizes: Sequence[tuple[int, int] | None], camera: Camera | None, shared: SharedCamera
) -> CameraPlan:
    """Group pictures by camera.

    Args:
        pictures: all of them.
        sizes: of each, None where it cannot be read.
        camera: the calibration of all of them; None: not known.
        shared: which pictures count as of one camera.

    Raises:
        PictureError: a picture has another shape than the calibrated camera's.
    """
    keys: dict[object, int] = {}
    known: list[KnownCamera] = []
    camera_of = np.zeros(len(pictures), np.intp)
    for index, (picture, size) in enumerate(zip(pictures, sizes, strict=True)):
        if size is None:
            continue
        focal = None if camera is not None else _focal(picture)
        key = _key(picture, size, focal, shared, is_known=camera is not None)
        if key not in keys:
            keys[key] = len(known)
            known.append(_known(size, focal, camera, picture.name))
        camera_of[index] = keys[key]
    return CameraPlan(tuple(known), camera_of)


def with_pairs_geometry(plan: CameraPlan, graph: MatchGraph) -> CameraPlan:
    """Start the focal lengths that nothing is known of from the fundamental matrices of the pairs.

    Args:
        plan: what is known.
        graph: verified pairs, without cameras where these are unknown.
    """
    unknown = [np.isinf(one.focal_deviation) for one in plan.known]
    related = [
        (pair, pair.geometry.matrix)
        for pair in graph.pairs
        if pair.geometry is not None and pair.geometry.model is ModelKind.FUNDAMENTAL
    ]
    pairs = [(pair, matrix) for pair, matrix in related if matrix is not None]
    if not any(unknown) or not pairs:
        return plan
    found = calibrate_focals(
        np.array([(pair.first, pair.second) for pair, _ in pairs], np.intp),
        np.stack([matrix for _, matrix in pairs]),
        np.array([float(len(pair.matches)) for pair, _ in pairs]),
        plan.camera_of,
        np.array([one.camera.params[2:4] for one in plan.known]),
        np.array([(one.camera.width, one.camera.height) for one in plan.known], np.float64),
    )
    known = []
    for one, is_unknown, focal, deviation in zip(plan.known, unknown, found.focal, found.deviation, strict=True):
        relative = deviation / focal if np.isfinite(focal) and focal > 0.0 else np.inf
        usable = is_unknown and relative <= _DETERMINED
        known.append(refocused(one, float(focal), max(float(relative), _SURE)) if usable else one)
    return CameraPlan(tuple(known), plan.camera_of)


def _focal(picture: Picture) -> tuple[float, float] | None:
    if picture.frame is not None:
        return None
    return exif_focal_px(picture.source)


def _key(
    picture: Picture, size: tuple[int, int], focal: tuple[float, float] | None, shared: SharedCamera, *, is_known: bool
) -> object:
    if shared is SharedCamera.NO:
        return picture.name
    if shared is SharedCamera.YES or is_known:
        return size
    source = picture.source if picture.frame is not None else None
    return size, source, None if focal is None else round(focal[0], 1)


def _known(size: tuple[int, int], focal: tuple[float, float] | None, camera: Camera | None, name: str) -> KnownCamera:
    if camera is not None:
        return given(camera_at(camera, *size, name))
    if focal is not None:
        return with_focal(size, focal[0], focal[1] / focal[0], IntrinsicsSource.EXIF)
    return guessed(size)
