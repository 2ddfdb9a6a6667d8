"""One depth picture with its camera and pose, checked; and the ideal camera that the kernels work with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras import Camera
from cv3d.geometry.views import Projection, choose_view, pixel_map

Floats = NDArray[np.float32]

_RIGID = 1e-3
"""Largest deviation of a rotation times its transpose from the identity: poses in text files have few digits."""
_WIDE = math.radians(60.0)


@dataclass(frozen=True, eq=False)
class DepthFrame:
    """A depth picture, with colour or without, and where it was taken.

    Raises:
        InputError: shapes or types do not match, or the pose is not finite and rigid.
    """

    depth: Floats
    """(h, w) metres along z; 0 or not finite where nothing was measured."""
    color: NDArray[np.uint8] | None
    """(h, w, 3) RGB, registered to the depth."""
    camera: Camera
    """Of the depth."""
    cam_from_world: NDArray[np.float64]
    """(4, 4)."""
    weight: Floats | None = None
    """(h, w) how much each depth counts, 0 to 1, on top of what its range and inclination say; 0: as if nothing was
    measured there. None: 1 everywhere."""

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.depth.shape != size or self.depth.dtype != np.float32:
            raise InputError(f"depth is float32 of the camera's size {size}, not {self.depth.dtype} {self.depth.shape}")
        if self.color is not None and (self.color.shape != (*size, 3) or self.color.dtype != np.uint8):
            raise InputError(f"colour is uint8 (*{size}, 3) like the depth, not {self.color.dtype} {self.color.shape}")
        if self.weight is not None:
            self._check_weight(self.weight, size)
        if self.cam_from_world.shape != (4, 4) or not np.isfinite(self.cam_from_world).all():
            raise InputError("cam_from_world is a finite 4x4 matrix")
        rotation = self.cam_from_world[:3, :3]
        error = np.abs(rotation @ rotation.T - np.eye(3)).max()
        if error > _RIGID or np.linalg.det(rotation) < 0.0 or not np.array_equal(self.cam_from_world[3], [0, 0, 0, 1]):
            raise InputError(f"cam_from_world is not a rigid motion: its rotation is off by {error:.2g}")

    @staticmethod
    def _check_weight(weight: Floats, size: tuple[int, int]) -> None:
        if weight.shape != size or weight.dtype != np.float32:
            raise InputError(f"weight is float32 of the depth's size {size}, not {weight.dtype} {weight.shape}")
        # Not a number fails as well.
        if not bool(((weight >= 0.0) & (weight <= 1.0)).all()):
            raise InputError("weights of depth lie between 0 and 1")

    def moved(self, cam_from_world: NDArray[np.float64]) -> DepthFrame:
        """The same picture, taken elsewhere."""
        return replace(self, cam_from_world=cam_from_world)

    def undistorted(self) -> DepthFrame:
        """The frame as an ideal pinhole camera would have taken it; itself where it is one.

        What has no weight has no depth in it. Values are those of the nearest pixel: depth is not to be mixed across an
        edge. What lies beyond 80 degrees off the axis is cut.
        """
        if self.weight is not None and bool(((self.weight <= 0.0) & (self.depth > 0.0)).any()):
            return replace(self, depth=np.where(self.weight > 0.0, self.depth, np.float32(0.0))).undistorted()
        if self.camera.model == "pinhole":
            return self
        camera, source = _pinhole_of(self.camera)
        depth = np.where(source >= 0, self.depth.reshape(-1)[source], np.float32(0.0))
        color = None if self.color is None else self.color.reshape(-1, 3)[source]
        weight = None if self.weight is None else self.weight.reshape(-1)[source]
        return DepthFrame(depth, color, camera, self.cam_from_world, weight)


@lru_cache(maxsize=16)
def _pinhole_of(camera: Camera) -> tuple[Camera, NDArray[np.int32]]:
    """The pinhole camera of a distorted one, and the flat index of each of its pixels' source, (h, w), -1 for none."""
    size = (camera.width, camera.height)
    alpha = 1.0 if camera.field_of_view()[2] < 2.0 * _WIDE else 0.0
    view = choose_view(camera, Projection.PINHOLE, alpha, size)
    resampling = pixel_map(camera, view)
    column, row = np.rint(resampling.source).astype(np.int32).transpose(2, 0, 1)
    column, row = column.clip(0, size[0] - 1), row.clip(0, size[1] - 1)
    source = np.where(resampling.valid, row * size[0] + column, -1).astype(np.int32)
    ideal = view.camera
    assert ideal is not None
    return ideal, source
