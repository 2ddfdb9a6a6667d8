"""An ideal view: a projection without distortion, the size of its pictures, and where they look."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor

from cv3d.errors import InputError
from cv3d.geometry.cameras.base import AFFINE_NAMES
from cv3d.geometry.cameras.camera import Camera


class Projection(StrEnum):
    """How an ideal view maps directions to its plane."""

    PINHOLE = "pinhole"
    """Straight lines stay straight: (x/z, y/z)."""
    FISHEYE = "fisheye"
    """Equidistant: the distance from the centre is the angle off the axis, radians."""
    EQUIRECT = "equirect"
    """Equirectangular: longitude to the right, latitude downwards, radians; (0, 0) is the optical axis."""


@dataclass(frozen=True)
class View:
    """An ideal view in the axes of a camera: x right, y down, z forward.

    Raises:
        InputError: a length is not positive, or a number not finite.
    """

    projection: Projection
    """The kind of picture."""
    width: int
    """Picture width, pixels."""
    height: int
    """Picture height, pixels."""
    fx: float
    """Pixels per unit of the plane, horizontally: focal length, or pixels per radian."""
    fy: float
    """Pixels per unit of the plane, vertically."""
    cx: float
    """Column of the optical axis, pixels."""
    cy: float
    """Row of the optical axis, pixels."""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.fx, self.fy, self.cx, self.cy))):
            raise InputError("a view's focal lengths and principal point must be finite")
        if min(self.width, self.height, self.fx, self.fy) <= 0:
            raise InputError("a view's width, height, fx and fy must be positive")

    @property
    def camera(self) -> Camera | None:
        """The view as a camera; None for the equirectangular one, which no camera model is.

        The equidistant fisheye is a `kannala_brandt4` whose coefficients are all 0.
        """
        affine = (self.fx, self.fy, self.cx, self.cy)
        if self.projection is Projection.PINHOLE:
            return Camera("pinhole", self.width, self.height, affine)
        if self.projection is Projection.FISHEYE:
            return Camera("kannala_brandt4", self.width, self.height, (*affine, 0.0, 0.0, 0.0, 0.0))
        return None

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels of points, and whether the projection has an image of them.

        Args:
            points: (..., 3), in the view's axes, any unit of length.

        Returns:
            Pixels, (..., 2), finite and meaningless where there is no image; and the validity, (...).
        """
        plane, valid = plane_from_rays(self.projection, points)
        return plane * plane.new_tensor([self.fx, self.fy]) + plane.new_tensor([self.cx, self.cy]), valid

    def unproject(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Directions of pixels, and whether the projection has one for them.

        Args:
            pixels: (..., 2).

        Returns:
            Directions, (..., 3), of any length; and the validity, (...).
        """
        centred = pixels - pixels.new_tensor([self.cx, self.cy])
        return rays_from_plane(self.projection, centred / pixels.new_tensor([self.fx, self.fy]))

    def field_of_view(self) -> tuple[float, float]:
        """Horizontal and vertical field of view between the outer pixel edges, through the axis, radians."""
        return (
            self._angle(self.width, self.cx, self.fx, 2.0 * math.pi),
            self._angle(self.height, self.cy, self.fy, math.pi if self.projection is Projection.EQUIRECT else math.tau),
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> View:
        """The part of the view that begins at column `left` and row `top`."""
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def as_dict(self) -> dict[str, object]:
        """Projection, width, height and the parameters by name; JSON-ready."""
        params = dict(zip(AFFINE_NAMES, (self.fx, self.fy, self.cx, self.cy), strict=True))
        return {"projection": str(self.projection), "width": self.width, "height": self.height, "params": params}

    def _angle(self, length: int, centre: float, focal: float, most: float) -> float:
        low, high = (-0.5 - centre) / focal, (length - 0.5 - centre) / focal
        if self.projection is Projection.PINHOLE:
            return math.atan(high) - math.atan(low)
        return min(high - low, most)


def plane_from_rays(projection: Projection, rays: Tensor, widest: float | None = None) -> tuple[Tensor, Tensor]:
    """Where directions meet the plane of a projection.

    Args:
        projection: pinhole, fisheye or equirect.
        rays: (..., 3), any length.
        widest: directions further off the axis than this are pulled back to it, radians; not used for equirect.

    Returns:
        Plane coordinates, (..., 2), and whether the projection has an image of the direction, (...).
    """
    x, y, z = rays.unbind(-1)
    if projection is Projection.EQUIRECT:
        across = torch.hypot(x, z)
        return torch.stack([torch.atan2(x, z), torch.atan2(y, across)], -1), torch.hypot(across, y) > 0.0
    if projection is Projection.PINHOLE and widest is None:
        ahead = z > 0.0
        inverse = 1.0 / torch.where(ahead, z, 1.0)
        return torch.stack([x * inverse, y * inverse], -1), ahead
    off_axis = torch.hypot(x, y)
    theta = torch.atan2(off_axis, z)
    valid = torch.ones_like(theta, dtype=torch.bool) if widest is None else theta <= widest
    theta = theta if widest is None else theta.clamp(max=widest)
    radius = theta.tan() if projection is Projection.PINHOLE else theta
    scale = radius / torch.where(off_axis > 0.0, off_axis, 1.0)
    return torch.stack([x * scale, y * scale], -1), valid


def rays_from_plane(projection: Projection, plane: Tensor) -> tuple[Tensor, Tensor]:
    """Directions (..., 3), of any length, of plane coordinates (..., 2), and whether there is one, (...)."""
    p, q = plane.unbind(-1)
    if projection is Projection.PINHOLE:
        one = torch.ones_like(p)
        return torch.stack([p, q, one], -1), torch.ones_like(p, dtype=torch.bool)
    if projection is Projection.FISHEYE:
        theta = torch.hypot(p, q)
        # sin(theta) / theta, sinc(x) being sin(pi x) / (pi x).
        sine = torch.sinc(theta / math.pi)
        return torch.stack([p * sine, q * sine, theta.cos()], -1), theta < math.pi
    across = q.cos()
    valid = (p.abs() <= math.pi) & (q.abs() <= 0.5 * math.pi)
    return torch.stack([p.sin() * across, q.sin(), p.cos() * across], -1), valid
