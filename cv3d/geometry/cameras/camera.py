"""One calibrated camera: a lens model with its parameters and the size of its pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cv3d.errors import FormatError, InputError
from cv3d.geometry.cameras.base import CameraModel
from cv3d.geometry.cameras.registry import get_model

if TYPE_CHECKING:
    from cv3d.geometry.cameras.fused_lens import FusedLens


@dataclass(frozen=True)
class Camera:
    """A calibrated camera.

    Raises:
        UsageError: the model is unknown.
        InputError: the parameters are not as many as the model has, not finite, or a length is not positive.
    """

    model: str
    """Name of the lens model, see `cv3d.geometry.cameras.MODELS`."""
    width: int
    """Picture width, pixels."""
    height: int
    """Picture height, pixels."""
    params: tuple[float, ...]
    """Parameters in the order of the model's `param_names`."""

    def __post_init__(self) -> None:
        names = self.lens.param_names
        if len(self.params) != len(names):
            raise InputError(f"camera model '{self.model}' has {len(names)} parameters, not {len(self.params)}")
        if not all(map(math.isfinite, self.params)):
            raise InputError(f"camera parameters are not all finite: {self.params}")
        if min(self.width, self.height, self.params[0], self.params[1]) <= 0:
            raise InputError("a camera's width, height, fx and fy must be positive")

    @property
    def lens(self) -> CameraModel:
        """The lens model."""
        return get_model(self.model)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The calibration matrix K, (3, 3), pixels."""
        fx, fy, cx, cy = self.params[:4]
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    @property
    def shape(self) -> tuple[float, ...]:
        """The parameters after fx, fy, cx, cy."""
        return self.params[4:]

    @overload
    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]: ...
    @overload
    def project(self, points: Tensor) -> Tensor: ...
    def project(self, points: NDArray[np.float64] | Tensor) -> NDArray[np.float64] | Tensor:
        """Pixels (..., 2) of points (..., 3) in the camera frame; the kind of array that was given."""
        if isinstance(points, Tensor):
            return self.lens.project(self._params_like(points), points.reshape(-1, 3)).reshape(*points.shape[:-1], 2)
        twin = self._twin()
        if twin is not None:
            return twin.project(points)
        return self.project(torch.as_tensor(points, dtype=torch.float64)).numpy()

    @overload
    def unproject(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]: ...
    @overload
    def unproject(self, pixels: Tensor) -> Tensor: ...
    def unproject(self, pixels: NDArray[np.float64] | Tensor) -> NDArray[np.float64] | Tensor:
        """Unit rays (..., 3) in the camera frame of pixels (..., 2); the kind of array that was given."""
        if isinstance(pixels, Tensor):
            return self.lens.unproject(self._params_like(pixels), pixels.reshape(-1, 2)).reshape(*pixels.shape[:-1], 3)
        return self.unproject_checked(pixels)[0]

    def unproject_checked(self, pixels: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """:meth:`unproject` of an array (..., 2), and whether each pixel's ray means something, (...)."""
        twin = self._twin()
        if twin is not None:
            return twin.unproject_checked(pixels)
        flat = torch.as_tensor(pixels, dtype=torch.float64).reshape(-1, 2)
        rays, valid = self.lens.unproject_checked(self._params_like(flat), flat)
        lead = np.shape(pixels)[:-1]
        return rays.numpy().reshape(*lead, 3), valid.numpy().reshape(lead)

    def ray_jacobians(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivatives of unit rays (n, 3) by their pixels, (n, 3, 2); not finite where the lens is singular.

        They are the pseudo-inverses of the projection's. Projection does not change along a ray, so that these span
        exactly the tangent planes of the unit sphere.
        """
        twin = self._twin()
        if twin is not None:
            return twin.ray_jacobians(rays)
        points = torch.from_numpy(rays)
        _, by_point, _ = self.lens.project_with_jacobians(self._params_like(points), points)
        return _pseudo_inverse(by_point.numpy())

    def field_of_view(self) -> tuple[float, float, float]:
        """Horizontal, vertical and diagonal field of view, radians.

        Measured between the outer pixel edges, along the row and the column of the principal point and from corner to
        corner (the larger of the two), through the optical axis: a fisheye can exceed pi. Where the border is beyond
        the lens model's domain, the domain's edge counts.
        """
        left, right, top, bottom = -0.5, self.width - 0.5, -0.5, self.height - 0.5
        cx, cy = self.params[2:4]
        border = np.array(
            [
                [left, cy],
                [right, cy],
                [cx, top],
                [cx, bottom],
                [left, top],
                [right, bottom],
                [left, bottom],
                [right, top],
            ]
        )
        x, y, z = self.unproject(border).T
        off_axis = np.arctan2(np.hypot(x, y), z)
        horizontal = math.copysign(off_axis[1], right - cx) - math.copysign(off_axis[0], left - cx)
        vertical = math.copysign(off_axis[3], bottom - cy) - math.copysign(off_axis[2], top - cy)
        return horizontal, vertical, float(max(off_axis[4] + off_axis[5], off_axis[6] + off_axis[7]))

    def scaled(self, factor: float) -> Camera:
        """The camera of the same pictures resized by `factor`; width and height are rounded."""
        fx, fy, cx, cy = self.params[:4]
        # The picture's corner, not the centre of its first pixel, is what resizing leaves in place.
        affine = (fx * factor, fy * factor, (cx + 0.5) * factor - 0.5, (cy + 0.5) * factor - 0.5)
        return replace(
            self,
            width=max(1, round(self.width * factor)),
            height=max(1, round(self.height * factor)),
            params=affine + self.shape,
        )

    def with_params(self, params: Sequence[float] | NDArray[np.float64] | Tensor) -> Camera:
        """The same camera with other parameters, (P,)."""
        return replace(self, params=tuple(float(value) for value in params))

    def as_dict(self) -> dict[str, Any]:
        """Model, width, height, and the parameters by name; JSON-ready, the inverse of :meth:`from_dict`."""
        named = dict(zip(self.lens.param_names, self.params, strict=True))
        return {"model": self.model, "width": self.width, "height": self.height, "params": named}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Camera:
        """The camera that :meth:`as_dict` described.

        Raises:
            FormatError: an entry is missing, superfluous or not a number.
            UsageError: the model is unknown.
            InputError: the numbers do not describe a camera.
        """
        try:
            model, named = str(data["model"]), dict(data["params"])
            names = get_model(model).param_names
            if superfluous := set(named) - set(names):
                raise FormatError(f"camera model '{model}' has no parameter {', '.join(sorted(superfluous))}")
            params = tuple(float(named[name]) for name in names)
            return cls(model, int(data["width"]), int(data["height"]), params)
        except KeyError as error:
            raise FormatError(f"the camera description has no entry {error}") from None
        except (TypeError, ValueError) as error:
            raise FormatError(f"the camera description cannot be read: {error}") from None

    def _twin(self) -> FusedLens | None:
        """The fused kernels of this lens for arrays; their compiler is loaded when they are first needed."""
        from cv3d.geometry.cameras.fused_lens import fused_lens

        return fused_lens(self.model, self.params)

    def _params_like(self, like: Tensor) -> Tensor:
        return torch.tensor(self.params, dtype=like.dtype, device=like.device)


def _pseudo_inverse(wide: NDArray[np.float64]) -> NDArray[np.float64]:
    """J^T (J J^T)^-1 of matrices (n, 2, 3), not finite where J has rank below 2."""
    gram = wide @ np.swapaxes(wide, 1, 2)
    a, b, d = gram[:, 0, 0], gram[:, 0, 1], gram[:, 1, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.stack([d, -b, -b, a], axis=1).reshape(-1, 2, 2) / (a * d - b * b)[:, None, None]
        result: NDArray[np.float64] = np.swapaxes(wide, 1, 2) @ inverse
    return result
