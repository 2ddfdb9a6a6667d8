"""Rectification of a pair: both cameras turned so that a point has the same row (or column) in either picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.transforms.so3 import SO3
from cv3d.geometry.views.framing import Seen, frame
from cv3d.geometry.views.remapping import PixelMap, Window, largest_window, pixel_map
from cv3d.geometry.views.view import Projection, View

Floats = NDArray[np.float64]

_MAX_TURN_DEG = 60.0


@dataclass(frozen=True, eq=False)
class RectifiedCamera:
    """One camera of a rectified pair."""

    camera: Camera
    """What the pictures were taken with."""
    view_from_cam: Floats
    """Rotation from the camera to its rectified view, (3, 3): OpenCV's R1 or R2."""
    projection: Floats
    """From points in the first rectified view to pixels of this one, (3, 4): OpenCV's P1 or P2."""
    map: PixelMap
    """Where each pixel of the view comes from."""


@dataclass(frozen=True, eq=False)
class Rectification:
    """A rectified pair. Points have equal rows in both views, equal columns where the pair is vertical."""

    first: RectifiedCamera
    """The camera whose view is the frame of depth."""
    second: RectifiedCamera
    """The other one."""
    view: View
    """What both views are: one focal length and one principal point, so that a point at infinity has disparity 0."""
    depth_from_disparity: Floats
    """OpenCV's Q, (4, 4): (x, y, disparity, 1) to a homogeneous point in the first view, the disparity being the first
    column (row, where vertical) minus the second."""
    baseline: float
    """Distance between the cameras, in the unit of their pose."""
    is_vertical: bool
    """Whether the second camera is above or below the first rather than beside it."""

    @property
    def target(self) -> Camera:
        """The pinhole camera that both views are."""
        camera = self.view.camera
        if camera is None:
            raise TypeError("a rectified view is a pinhole camera")
        return camera

    def cropped(self, window: Window) -> Rectification:
        """The same part of both views."""
        view = self.view.cropped(window.left, window.top, window.width, window.height)
        first, second, depth = _matrices(view, self._offset, self.is_vertical)
        return replace(
            self,
            first=replace(self.first, projection=first, map=self.first.map.cropped(window)),
            second=replace(self.second, projection=second, map=self.second.map.cropped(window)),
            view=view,
            depth_from_disparity=depth,
        )

    @property
    def _offset(self) -> float:
        axis = 1 if self.is_vertical else 0
        return float(self.second.projection[axis, 3]) / self.view.fx


def rectify(
    first: Camera,
    second: Camera,
    second_from_first: Floats,
    alpha: float = 0.0,
    size: tuple[int, int] | None = None,
    *,
    crop: bool = False,
    is_even: bool = False,
) -> Rectification:
    """Rectify a posed pair of cameras of any model, fisheyes included.

    Bouguet's construction, as in OpenCV's `stereoRectify`: either camera turns by half of the rotation between them,
    which changes both pictures equally and as little as possible, then both turn by the smallest rotation that lays the
    baseline along the rows (the columns where it is closer to them). Both views share focal length and principal point.

    Args:
        first: a camera.
        second: the other camera.
        second_from_first: its pose, (4, 4).
        alpha: 0: only pixels that both cameras saw; 1: all that either saw, see :func:`choose_view`.
        size: width and height of the views, pixels; None: the first camera's.
        crop: keep the largest rectangle that is valid in both views.
        is_even: cut an odd column and row off, which video does not have.

    Raises:
        EstimationError: the cameras have no distance, one is in front of the other, or they see nothing in common.
        UsageError: alpha or the size is out of range.
    """
    rotation, translation = second_from_first[:3, :3], second_from_first[:3, 3]
    baseline = float(np.linalg.norm(translation))
    if not baseline > 0.0:
        raise EstimationError("the cameras are at the same place; a pair can only be rectified with a distance between")
    half = _rotation(0.5 * SO3.from_matrix(torch.from_numpy(np.ascontiguousarray(rotation))).log().numpy())
    # Both cameras turned by half: along = the first camera's centre as seen from the second.
    along = half.T @ translation
    is_vertical = bool(abs(along[1]) > abs(along[0]))
    axis = np.zeros(3)
    axis[int(is_vertical)] = math.copysign(1.0, along[int(is_vertical)])
    align = _smallest_rotation(along / baseline, axis)
    view_from_first, view_from_second = align @ half, align @ half.T
    offset = float((view_from_second @ translation)[int(is_vertical)])

    seen = [Seen(first, view_from_first), Seen(second, view_from_second)]
    view = frame(seen, Projection.PINHOLE, alpha, size or (first.width, first.height), 1.0)
    matrices = _matrices(view, offset, is_vertical)
    result = Rectification(
        RectifiedCamera(first, view_from_first, matrices[0], pixel_map(first, view, view_from_first)),
        RectifiedCamera(second, view_from_second, matrices[1], pixel_map(second, view, view_from_second)),
        view,
        matrices[2],
        baseline,
        is_vertical,
    )
    window = Window(0, 0, view.width, view.height)
    if crop:
        window = largest_window(result.first.map.valid & result.second.map.valid)
    if is_even:
        window = window.even()
    return result if (window.width, window.height) == result.first.map.size else result.cropped(window)


def _smallest_rotation(source: Floats, target: Floats) -> Floats:
    """The rotation about their common normal that takes one unit vector to another, (3, 3)."""
    angle = math.acos(min(1.0, float(source @ target)))
    if angle > math.radians(_MAX_TURN_DEG):
        raise EstimationError(
            f"one camera is in front of the other: the line between them is {math.degrees(angle):.0f} degrees off "
            "the rows and columns of their pictures, too far for rectification"
        )
    normal = np.cross(source, target)
    length = float(np.linalg.norm(normal))
    return _rotation(normal * (angle / length if length > 0.0 else 1.0))


def _rotation(tangent: Floats) -> Floats:
    """The matrix, (3, 3), of a rotation vector, (3,)."""
    return np.asarray(SO3.exp(torch.from_numpy(tangent)).as_matrix().numpy(), dtype=np.float64)


def _matrices(view: View, offset: float, is_vertical: bool) -> tuple[Floats, Floats, Floats]:
    """OpenCV's P1, P2 and Q; `offset` is the translation second_from_first along the baseline's axis."""
    first = np.array([[view.fx, 0.0, view.cx, 0.0], [0.0, view.fy, view.cy, 0.0], [0.0, 0.0, 1.0, 0.0]])
    second = first.copy()
    second[int(is_vertical), 3] = view.fx * offset
    depth = np.eye(4)
    depth[:, 2:] = 0.0
    depth[:3, 3] = -view.cx, -view.cy, view.fx
    depth[3, 2] = -1.0 / offset
    return first, second, depth
