"""Viewing rays of pixels with their derivatives: how noise of a keypoint becomes noise of a direction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PixelRays:
    """Rays of pixels, to first order in the pixels."""

    rays: Floats
    """Directions in the camera frame, (..., 3): unit for a camera, of any length for homogeneous pixels."""
    jacobians: Floats
    """Derivatives of the rays by their pixels, (..., 3, 2), per pixel."""
    valid: Bools
    """Whether the pixel is finite and inside the lens model's domain, (...). Elsewhere the ray means nothing."""

    def __getitem__(self, index: Bools | NDArray[np.intp] | slice) -> PixelRays:
        """The rays that `index` selects on the first axis."""
        return PixelRays(self.rays[index], self.jacobians[index], self.valid[index])

    def __len__(self) -> int:
        return len(self.rays)


def pixel_rays(camera: Camera, pixels: Floats) -> PixelRays:
    """Unit rays of a camera's pixels.

    Args:
        camera: any central camera.
        pixels: (..., 2).

    Returns:
        The rays, (..., 3), with derivatives.
    """
    flat = np.ascontiguousarray(pixels, dtype=np.float64).reshape(-1, 2)
    finite: Bools = np.asarray(np.isfinite(flat).all(axis=1))
    rays, inside = camera.unproject_checked(np.where(finite[:, None], flat, camera.params[2:4]))
    jacobians = camera.ray_jacobians(rays)
    regular: Bools = np.asarray(np.isfinite(jacobians).all(axis=(1, 2)))
    lead = np.shape(pixels)[:-1]
    return PixelRays(
        rays.reshape(*lead, 3),
        np.where(regular[:, None, None], jacobians, 0.0).reshape(*lead, 3, 2),
        (finite & inside & regular).reshape(lead),
    )


def homogeneous_rays(pixels: Floats, centre: Floats, scale: float) -> PixelRays:
    """Homogeneous coordinates of pixels as rays, for pictures of unknown cameras.

    Args:
        pixels: (..., 2).
        centre: the pixel that becomes (0, 0, 1), (2,).
        scale: pixels per unit; of the order of the picture's extent it conditions what is estimated from the rays.

    Returns:
        Rays ((u - centre_x) / scale, (v - centre_y) / scale, 1), (..., 3).
    """
    rays = np.ones((*np.shape(pixels)[:-1], 3))
    rays[..., :2] = (pixels - centre) / scale
    jacobians = np.zeros((*rays.shape, 2))
    jacobians[..., 0, 0] = jacobians[..., 1, 1] = 1.0 / scale
    valid: Bools = np.asarray(np.isfinite(rays).all(axis=-1))
    return PixelRays(np.where(valid[..., None], rays, 1.0), jacobians, valid)


def tangent_basis(directions: Floats) -> Floats:
    """Orthonormal bases of the planes perpendicular to directions, the same for the same direction.

    Args:
        directions: (..., 3), any length but zero.

    Returns:
        (..., 3, 2), columns b0, b1 with b0 x b1 along the direction.
    """
    unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    helper = np.eye(3)[np.abs(unit).argmin(axis=-1)]
    basis = np.empty((*unit.shape, 2))
    first = _cross(helper, unit)
    basis[..., 0] = first = first / np.linalg.norm(first, axis=-1, keepdims=True)
    basis[..., 1] = _cross(unit, first)
    return basis


def cross_matrix(vectors: Floats) -> Floats:
    """[v]x with [v]x p = v x p: (..., 3) to (..., 3, 3)."""
    matrix = np.zeros((*vectors.shape, 3))
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    matrix[..., 2, 1], matrix[..., 0, 2], matrix[..., 1, 0] = x, y, z
    matrix[..., 1, 2], matrix[..., 2, 0], matrix[..., 0, 1] = -x, -y, -z
    return matrix


def _cross(a: Floats, b: Floats) -> Floats:
    """The product a x b of vectors (..., 3), without what numpy's own spends on the many shapes that it takes."""
    product = np.empty_like(a)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        product[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return product


@lru_cache(maxsize=256)
def pixels_per_radian(camera: Camera) -> float:
    """Resolution of a camera at its principal point, pixels per radian: the focal length where the lens has one."""
    centre = pixel_rays(camera, np.array([camera.params[2:4]]))
    return float(np.sqrt(2.0 / (centre.jacobians**2).sum()))
