"""A pair's rectification, and one frame of it as a picture on which a person sees whether it is right."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.rig.result import RigCalibration, RigView
from cv3d.errors import EstimationError
from cv3d.geometry.views.rectification import Rectification, RectifiedCamera, rectify
from cv3d.reporting import svg
from cv3d.reporting.page import Html, data_uri, figure, number
from cv3d.reporting.result_folder import PictureLoader
from cv3d.reporting.svg import Points

_SHOWN = 620
"""Longest side of each picture, pixels."""
_QUALITY = 72
_LINES = 9
_GAP = 8.0


@dataclass(frozen=True)
class PairRectification:
    """What rectifying a pair gave."""

    rectified: Rectification | None
    """None where the pair cannot be rectified."""
    reason: str
    """Why not; empty where it can."""


def rectify_pair(calibration: RigCalibration) -> PairRectification | None:
    """The rectification of a rig of two cameras, showing only what both saw; None for other rigs."""
    if len(calibration.cameras) != 2:
        return None
    first, second = calibration.cameras
    try:
        return PairRectification(rectify(first.camera, second.camera, second.cam_from_cam0), "")
    except EstimationError as error:
        return PairRectification(None, str(error))


def rectified_example(calibration: RigCalibration, rectified: Rectification) -> Html | None:
    """A frame in both rectified pictures, with lines through counterparts; None where no picture of one can be shown.

    Args:
        calibration: a rig of two cameras.
        rectified: its rectification.
    """
    for left, right in _candidates(calibration):
        gray = [PictureLoader([view])(view.name) for view in (left, right)]
        if gray[0] is not None and gray[1] is not None:
            return _figure(calibration, rectified, (left, right), (gray[0], gray[1]))
    return None


def _candidates(calibration: RigCalibration) -> list[tuple[RigView, RigView]]:
    """Frames used of both cameras, those first whose boards fill the pictures most; their own pixels being upright."""
    found = []
    for frame in calibration.frames:
        views = {calibration.views[i].camera: calibration.views[i] for i in frame.views if calibration.views[i].used}
        if len(views) == 2 and not any(view.framing.note for view in views.values()):
            area = min(float(np.prod(np.ptp(view.pixels, axis=0))) for view in views.values())
            found.append((area, (views[0], views[1])))
    return [pair for _, pair in sorted(found, key=lambda entry: -entry[0])]


def _figure(
    calibration: RigCalibration,
    rectified: Rectification,
    views: tuple[RigView, RigView],
    gray: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> Html:
    width, height = rectified.view.width, rectified.view.height
    scale = min(1.0, _SHOWN / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    cameras = (rectified.first, rectified.second)
    _, here, there = np.intersect1d(_kept(views[0]), _kept(views[1]), assume_unique=True, return_indices=True)
    points = [
        _rectified_points(camera, rectified, _kept_pixels(view)[own])
        for camera, view, own in zip(cameras, views, (here, there), strict=True)
    ]
    off = np.abs(points[0] - points[1])[:, 0 if rectified.is_vertical else 1]
    # Beside each other, or one above the other where it is the columns that agree.
    step = np.array([0.0, size[1] + _GAP]) if rectified.is_vertical else np.array([size[0] + _GAP, 0.0])
    total = np.array(size, float) + step
    parts: list[Html] = []
    for k, (camera, picture) in enumerate(zip(cameras, gray, strict=True)):
        x, y = k * step
        parts.append(svg.image(_encoded(camera, picture, size), float(x), float(y), float(size[0]), float(size[1])))
    # The drawing's origin is the picture's corner, a pixel's is its centre.
    placed = [(own + 0.5) * np.array([size[0] / width, size[1] / height]) + k * step for k, own in enumerate(points)]
    chosen = _spread(placed[0][:, 0 if rectified.is_vertical else 1])
    starts, ends = placed[0][chosen].copy(), placed[0][chosen].copy()
    along = 1 if rectified.is_vertical else 0
    starts[:, along], ends[:, along] = 0.0, total[along]
    parts.append(svg.path(svg.segments(starts, ends), "#ffb11a", 1.2, stroke_opacity="0.9"))
    parts += [svg.dots(own[chosen], "#2fe0c8", 5.0) for own in placed]
    names = " and ".join(view.name for view in views)
    first, second = (item.name for item in calibration.cameras)
    lines = "columns" if rectified.is_vertical else "rows"
    caption = (
        f"{names}, rectified. Lines through corners of {first}: the same corners of {second} lie on them. Over this "
        f"frame their {lines} differ by {number(float(off.mean()))} px in the mean, {number(float(off.max()))} at most."
    )
    drawn = svg.drawing(float(total[0]), float(total[1]), "A rectified pair with lines through counterparts", *parts)
    return figure(drawn, "Rectified pair", caption)


def _kept(view: RigView) -> NDArray[np.int64]:
    return view.point_ids[~view.outliers]


def _kept_pixels(view: RigView) -> Points:
    return view.pixels[~view.outliers]


def _rectified_points(camera: RectifiedCamera, rectified: Rectification, pixels: Points) -> Points:
    """Where pixels of a camera, (n, 2), lie in its rectified view."""
    rays = camera.camera.unproject(pixels) @ camera.view_from_cam.T
    return rectified.target.project(rays)


def _encoded(camera: RectifiedCamera, gray: NDArray[np.uint8], size: tuple[int, int]) -> str:
    source = camera.map.source
    straight = cv2.remap(gray, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    small = cv2.resize(straight, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data_uri(jpeg.tobytes(), "image/jpeg")


def _spread(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of corners whose lines are spread evenly."""
    order = np.argsort(positions, kind="stable")
    wanted = np.linspace(positions[order[0]], positions[order[-1]], _LINES)
    nearest = np.abs(positions[None, :] - wanted[:, None]).argmin(axis=1)
    return np.unique(nearest)
