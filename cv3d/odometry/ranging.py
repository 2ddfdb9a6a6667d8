"""Depth of single pixels, wherever it comes from: a depth picture, a second camera, or nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.fused import fused
from cv3d.media.sequences.frame import SequenceFrame
from cv3d.odometry.depths import read_depths
from cv3d.odometry.patches import Levels, build_levels
from cv3d.odometry.rays import RayTable
from cv3d.odometry.stereo import StereoDepths

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Depth = NDArray[np.float32]


class Ranges(Protocol):
    """Depths in one frame."""

    @property
    def picture(self) -> Depth | None:
        """A depth picture with the tracked picture's pixels, of another size perhaps; None where there is none."""

    @property
    def is_cheap(self) -> bool:
        """Whether it may be asked in every frame, and not only in key frames."""

    def at(self, pixels: Pixels, expected: Floats) -> tuple[Floats, Floats]:
        """Measured depth.

        Args:
            pixels: (n, 2) in the tracked picture.
            expected: (n,) depth where it is known about, else 0.

        Returns:
            (n,) depth, 0 where there is none; (n,) its standard deviation.
        """


class NoRanges:
    """Of a single camera."""

    picture = None
    is_cheap = False

    def at(self, pixels: Pixels, expected: Floats) -> tuple[Floats, Floats]:
        """Nothing."""
        return np.zeros(len(pixels)), np.ones(len(pixels))


@dataclass(frozen=True, eq=False)
class PictureRanges:
    """Of a depth picture."""

    picture: Depth
    size: tuple[int, int]
    """Of the tracked picture."""
    is_cheap: bool = True

    def at(self, pixels: Pixels, expected: Floats) -> tuple[Floats, Floats]:
        """Read there."""
        height, width = self.picture.shape
        scale = np.array([width / self.size[0], height / self.size[1]])
        return read_depths(self.picture, (pixels + 0.5) * scale - 0.5)


@dataclass(frozen=True, eq=False)
class StereoRanges:
    """Of a second camera."""

    depths: StereoDepths
    left: Levels
    right: Levels
    picture: Depth | None = None
    is_cheap: bool = False

    def at(self, pixels: Pixels, expected: Floats) -> tuple[Floats, Floats]:
        """Search there."""
        depth, sigma = self.depths.measure(self.left, self.right, pixels, expected)
        return depth, np.where(depth > 0.0, sigma, 1.0)


class Ranging:
    """Makes a frame's ranges."""

    def __init__(
        self,
        camera: Camera,
        right_camera: Camera | None = None,
        right_from_left: Floats | None = None,
        depth_camera: Camera | None = None,
        color_from_depth: Floats | None = None,
    ) -> None:
        """Prepare.

        Args:
            camera: of the tracked pictures.
            right_camera: of a stereo pair, in the size of its pictures.
            right_from_left: (4, 4), metres.
            depth_camera: of the depth pictures, where they have pixels of their own.
            color_from_depth: (4, 4), metres; None: both cameras are in one place.

        Raises:
            InputError: the two cameras of a stereo pair are in one place.
        """
        self._size = camera.width, camera.height
        self._stereo: StereoDepths | None = None
        if right_camera is not None and right_from_left is not None:
            factor = camera.width / right_camera.width
            self._stereo = StereoDepths(camera, _sized(right_camera, factor), right_from_left)
        self._register: _Registration | None = None
        if depth_camera is not None:
            moved = np.eye(4) if color_from_depth is None else np.asarray(color_from_depth, np.float64)
            self._register = _Registration(depth_camera, camera, moved)

    def of(self, frame: SequenceFrame, levels: Levels) -> Ranges:
        """A frame's ranges; `levels` are of its tracked picture."""
        if self._stereo is not None and frame.right_gray is not None:
            right = frame.right_gray
            size = self._stereo.right.width, self._stereo.right.height
            if (right.shape[1], right.shape[0]) != size:
                right = np.asarray(cv2.resize(right, size, interpolation=cv2.INTER_AREA), np.uint8)
            return StereoRanges(self._stereo, levels, build_levels(right))
        if frame.depth is not None:
            depth = frame.depth if self._register is None else self._register(frame.depth)
            return PictureRanges(depth, self._size)
        return NoRanges()


def _sized(camera: Camera, factor: float) -> Camera:
    return camera if abs(factor - 1.0) < 1e-6 else camera.scaled(factor)


class _Registration:
    """Depth pictures as the colour camera would have taken them, in about their own resolution."""

    def __init__(self, depth_camera: Camera, camera: Camera, color_from_depth: Floats) -> None:
        self._from = depth_camera
        self._onto = camera.scaled(depth_camera.width / camera.width)
        self._color_from_depth = color_from_depth
        rows, columns = np.mgrid[0 : depth_camera.height, 0 : depth_camera.width]
        rays = RayTable(depth_camera).rays(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64))
        with np.errstate(divide="ignore", invalid="ignore"):
            self._rays = np.where(rays[:, 2:] > 0.0, rays / rays[:, 2:], np.nan)

    def __call__(self, depth: Depth) -> Depth:
        """Register one.

        Raises:
            InputError: it is not of the depth camera's size.
        """
        if depth.shape != (self._from.height, self._from.width):
            own = f"{depth.shape[1]}x{depth.shape[0]}"
            raise InputError(f"a depth picture is {own}, its camera {self._from.width}x{self._from.height}")
        seen = self._rays * depth.reshape(-1, 1)
        seen = seen[np.isfinite(seen).all(axis=1) & (seen[:, 2] > 0.0)]
        moved = seen @ self._color_from_depth[:3, :3].T + self._color_from_depth[:3, 3]
        moved = moved[moved[:, 2] > 0.0]
        registered = np.zeros((self._onto.height, self._onto.width), np.float32)
        _splat(self._onto.project(moved), moved[:, 2].astype(np.float32), registered)
        return registered


@fused
def _splat(pixels: Floats, depth: Depth, out: Depth) -> None:
    """The nearest of the depths that fall on each pixel."""
    height, width = out.shape
    for i in range(len(depth)):
        if not (np.isfinite(pixels[i, 0]) and np.isfinite(pixels[i, 1])):
            continue
        x, y = int(np.floor(pixels[i, 0] + 0.5)), int(np.floor(pixels[i, 1] + 0.5))
        if 0 <= x < width and 0 <= y < height and (out[y, x] == 0.0 or depth[i] < out[y, x]):
            out[y, x] = depth[i]
