"""The camera model protocol: what every lens model can do, and how it is extended.

A model maps a point of the camera frame (x right, y down, z forward) to a pixel, (0, 0) being the centre of the
top-left one. Every model here is a *shape map* from the point to dimensionless image coordinates `m`, followed by the
same affine step `u = fx m_x + cx`, `v = fy m_y + cy`. This class owns the affine step; a subclass writes the shape
map, its derivatives, its inverse and its domain.

A model is stateless: parameters are always an argument, a tensor `(..., P)` whose leading axes broadcast against those
of the points, so that one camera serves many views and many cameras serve one set of points. Nothing here assumes that
P is the same for every instance of a class or that it is small: `shape_names` is a field of the instance.

A model with local support, such as one whose shape is a spline over the field of view, derives from
:class:`CameraModel` in a file of its own beside this one, its knot counts being fields of the instance. Its dense
derivative `(..., N, 2, P)` is mostly zeros; for a solver that wants to profit it adds a method that returns the
non-zero columns and their indices, and the dense one scatters them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

AFFINE_NAMES: tuple[str, ...] = ("fx", "fy", "cx", "cy")
"""The parameters that every model begins with: focal lengths and principal point, in pixels."""

FREE: tuple[float, float] = (float("-inf"), float("inf"))
"""Bounds of a parameter that may take any value."""


@dataclass(frozen=True)
class CameraModel(ABC):
    """A lens model: projection, its inverse, its derivatives and its domain.

    All methods are batched, run in the dtype and on the device of their arguments, and never return NaN for finite
    arguments with non-zero focal lengths. Outside the domain the numbers are finite and meaningless;
    :meth:`valid_points` and :meth:`valid_pixels` tell.
    """

    name: str
    """The model's name in files and options."""
    shape_names: tuple[str, ...]
    """Names of the parameters after fx, fy, cx, cy, in order."""
    neutral_shape: tuple[float, ...]
    """The shape values at which the model is, or comes closest to, a pinhole."""
    shape_bounds: tuple[tuple[float, float], ...]
    """Open interval of each shape parameter in which the model makes sense."""

    @property
    def param_names(self) -> tuple[str, ...]:
        """Names of all parameters, in order."""
        return AFFINE_NAMES + self.shape_names

    @property
    def param_count(self) -> int:
        """Number of parameters, P."""
        return len(AFFINE_NAMES) + len(self.shape_names)

    def project(self, params: Tensor, points: Tensor) -> Tensor:
        """Pixels of points in the camera frame.

        Purely functional, so that `torch.func` and autograd differentiate it.

        Args:
            params: (..., P), in the order of `param_names`.
            points: (..., N, 3), any unit of length.

        Returns:
            (..., N, 2), pixels.
        """
        m = self._map(params[..., 4:], points)
        return params[..., None, 0:2] * m + params[..., None, 2:4]

    def project_with_jacobians(self, params: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels of points in the camera frame, and their analytic derivatives.

        Args:
            params: (..., P), in the order of `param_names`.
            points: (..., N, 3), any unit of length.

        Returns:
            pixels: (..., N, 2).
            d_pixels_d_points: (..., N, 2, 3), pixels per unit of length.
            d_pixels_d_params: (..., N, 2, P), pixels per unit of each parameter.
        """
        m, dm_dpoints, dm_dshape = self._map_with_jacobians(params[..., 4:], points)
        focal = params[..., None, 0:2]
        d_params = m.new_empty((*m.shape, self.param_count))
        d_params[..., 0:4] = 0.0
        d_params[..., 0, 0] = m[..., 0]
        d_params[..., 1, 1] = m[..., 1]
        d_params[..., 0, 2] = 1.0
        d_params[..., 1, 3] = 1.0
        d_params[..., 4:] = dm_dshape * focal[..., None]
        return focal * m + params[..., None, 2:4], dm_dpoints * focal[..., None], d_params

    def unproject(self, params: Tensor, pixels: Tensor) -> Tensor:
        """Viewing rays of pixels.

        Args:
            params: (..., P), in the order of `param_names`.
            pixels: (..., N, 2).

        Returns:
            (..., N, 3), unit rays in the camera frame. A pixel outside the image of the model's domain gets the ray at
            the domain's edge, or another finite one; :meth:`valid_pixels` is False there.
        """
        return self.unproject_checked(params, pixels)[0]

    def unproject_checked(self, params: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`unproject` and :meth:`valid_pixels` for the price of one.

        Args:
            params: (..., P), in the order of `param_names`.
            pixels: (..., N, 2).

        Returns:
            Unit rays (..., N, 3) and whether they mean something (..., N), bool.
        """
        rays, valid = self._unmap(params[..., 4:], _normalised(params, pixels))
        return _unit(rays), valid

    def valid_points(self, params: Tensor, points: Tensor) -> Tensor:
        """Whether points lie in the domain in which the projection is one-to-one.

        Args:
            params: (..., P), in the order of `param_names`.
            points: (..., N, 3), any unit of length.

        Returns:
            (..., N), bool.
        """
        return self._in_domain(params[..., 4:], points)

    def valid_pixels(self, params: Tensor, pixels: Tensor) -> Tensor:
        """Whether pixels are images of points of the domain, so that their ray means something.

        Args:
            params: (..., P), in the order of `param_names`.
            pixels: (..., N, 2).

        Returns:
            (..., N), bool.
        """
        _, valid = self._unmap(params[..., 4:], _normalised(params, pixels))
        return valid

    @abstractmethod
    def _map(self, shape: Tensor, points: Tensor) -> Tensor:
        """Image coordinates (..., N, 2) of `points` (..., N, 3) for focal length 1 and principal point 0."""

    @abstractmethod
    def _map_with_jacobians(self, shape: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """:meth:`_map` with its derivatives by points (..., N, 2, 3) and by shape (..., N, 2, S)."""

    @abstractmethod
    def _unmap(self, shape: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        """Rays (..., N, 3) of any non-zero length for image coordinates `m` (..., N, 2); their validity (..., N)."""

    @abstractmethod
    def _in_domain(self, shape: Tensor, points: Tensor) -> Tensor:
        """Whether each point (..., N, 3) is in the one-to-one domain, (..., N)."""


def coefficients(shape: Tensor) -> tuple[Tensor, ...]:
    """The shape parameters (..., S) one by one, each (..., 1) so that it broadcasts against (..., N)."""
    return shape[..., None, :].unbind(-1)


def unit_scaled(points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Components of points (..., N, 3) divided by their largest magnitude, and the factor applied, each (..., N).

    A central projection does not depend on the length of the ray: the scaled point has the same image, squares of its
    components cannot overflow, and thresholds on it are angles. The factor is a constant to automatic differentiation,
    which is exact for the same reason.
    """
    x, y, z = points.unbind(-1)
    largest = torch.maximum(torch.maximum(x.abs(), y.abs()), z.abs()).detach()
    factor = 1.0 / largest.clamp(min=smallest_length(points))
    return x * factor, y * factor, z * factor, factor


def smallest_length(like: Tensor) -> float:
    """A length far below any that matters whose reciprocal's square is still finite in the dtype of `like`."""
    return math.sqrt(math.sqrt(torch.finfo(like.dtype).tiny))


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which tensors of `shapes` broadcast."""
    return np.broadcast_shapes(*shapes)


def _normalised(params: Tensor, pixels: Tensor) -> Tensor:
    return (pixels - params[..., None, 2:4]) / params[..., None, 0:2]


def _unit(rays: Tensor) -> Tensor:
    """Rays (..., 3) at length 1; scaled first, so that long ones do not overflow."""
    largest = rays.abs().amax(-1, keepdim=True)
    scaled = rays / largest.clamp(min=torch.finfo(rays.dtype).tiny)
    return scaled / scaled.square().sum(-1, keepdim=True).sqrt()
