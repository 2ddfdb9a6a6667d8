"""Pictures as an ideal pinhole camera would have taken them, at the size that dense depth works at."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.depth.posed import PosedView
from cv3d.errors import PictureError, UsageError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.views import PixelMap, Projection, View, choose_view, pixel_map
from cv3d.media.resampling import Interpolation, resample

Colors = NDArray[np.uint8]

_LEAST_SIDE = 16
_SAMPLES = 2
"""Samples of the picture per pixel of a reduced view and axis, whose mean it is."""


def ideal_view(view: PosedView, max_side: int) -> tuple[Camera, Colors]:
    """A view's picture without distortion, no larger than `max_side`, and the pinhole camera that would have taken it.

    The picture shows only what the camera saw, has the camera's ratio of width to height and nowhere more pixels than
    the camera's own on its axis. A reduced pixel is a mean over its area. The pose stays as it is.

    Args:
        view: the picture with its camera.
        max_side: of the result's longer side, pixels.

    Returns:
        The camera, and RGB of its size, (h, w, 3).

    Raises:
        PictureError: the picture cannot be read, or is not of its camera's size.
        UsageError: `max_side` is too small to be a picture.
        EstimationError: a pinhole camera can show nothing of what the camera sees.
    """
    camera = view.camera
    ideal = ideal_camera(camera, max_side)
    color = view.picture.read_rgb().array
    height, width = color.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise PictureError(
            f"{view.picture.name}: is {width}x{height}, but its camera is one of {camera.width}x{camera.height} pixels"
        )
    if camera.model == "pinhole":
        return ideal, _reduced(color, ideal.width, ideal.height)
    between, pixels = _sampling(camera, ideal)
    sampled = resample(pixels, _reduced(color, between.width, between.height), Interpolation.LINEAR)
    return ideal, _reduced(np.asarray(sampled, dtype=np.uint8), ideal.width, ideal.height)


@lru_cache(maxsize=64)
def ideal_camera(camera: Camera, max_side: int) -> Camera:
    """The camera of :func:`ideal_view`.

    Raises:
        UsageError: `max_side` is too small to be a picture.
        EstimationError: a pinhole camera can show nothing of what the camera sees.
    """
    if max_side < _LEAST_SIDE:
        raise UsageError(f"pictures of {max_side} pixels are too small for depth: at least {_LEAST_SIDE}")
    whole = camera if camera.model == "pinhole" else _whole_view(camera)
    finest = min(1.0, camera.params[0] / whole.params[0], max_side / max(whole.width, whole.height))
    return resized(whole, max(1, int(whole.width * finest + 1e-9)), max(1, int(whole.height * finest + 1e-9)))


def resized(camera: Camera, width: int, height: int) -> Camera:
    """The camera of the same pictures stretched to exactly this size."""
    across, down = width / camera.width, height / camera.height
    fx, fy, cx, cy = camera.params[:4]
    # The picture's corner, not the centre of its first pixel, is what resizing leaves in place.
    affine = (fx * across, fy * down, (cx + 0.5) * across - 0.5, (cy + 0.5) * down - 0.5)
    return replace(camera, width=width, height=height, params=affine + camera.shape)


def _whole_view(camera: Camera) -> Camera:
    ideal = choose_view(camera, Projection.PINHOLE, alpha=0.0).camera
    assert ideal is not None
    return ideal


@lru_cache(maxsize=2)
def _sampling(camera: Camera, ideal: Camera) -> tuple[Camera, PixelMap]:
    """The camera of the picture to be sampled, and where in it the samples of the ideal view lie.

    What has far more pixels than are sampled is reduced first, to as many.
    """
    reduction = camera.params[0] / ideal.params[0]
    samples = _SAMPLES if reduction > 1.01 else 1
    share = min(1.0, samples / reduction)
    between = resized(camera, max(1, round(camera.width * share)), max(1, round(camera.height * share)))
    fine = resized(ideal, ideal.width * samples, ideal.height * samples)
    found = pixel_map(between, View(Projection.PINHOLE, fine.width, fine.height, *fine.params))
    # The outermost samples lie between the outermost pixels' centres and the edge, where black would be mixed in.
    last = np.array([between.width - 1.0, between.height - 1.0], np.float32)
    return between, replace(found, source=np.clip(found.source, np.float32(0.0), last))


def _reduced(color: Colors, width: int, height: int) -> Colors:
    if color.shape[:2] == (height, width):
        return color
    return np.asarray(cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
