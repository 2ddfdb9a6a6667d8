"""Projections of other tools that cv3d has no model for, as functions of their parameters; pixel origin as in cv3d.

Each takes parameters in the tool's order and unit rays (N, 3), and gives pixels (N, 2), NaN where it is not defined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_SMALL = 1e-12


def project_fov(params: Sequence[float], rays: Tensor) -> Tensor:
    """The FOV model: fx fy cx cy omega (Devernay and Faugeras, "Straight lines have to be straight", MVA 2001, eq. 13).

    r_d = atan(2 r tan(omega / 2)) / omega, which is a camera for omega from 0 (a pinhole) to pi.
    """
    *affine, omega = params
    if not abs(omega) < math.pi:
        return torch.full_like(rays[..., :2], math.nan)
    omega = omega if abs(omega) > _SMALL else _SMALL
    x, y, r = _perspective(rays)
    angle = 2.0 * torch.tan(torch.tensor(0.5 * omega, dtype=torch.float64))
    scale = torch.where(r > _SMALL, torch.atan(r * angle) / (omega * r.clamp(min=_SMALL)), angle / omega)
    return _affine(affine, x * scale, y * scale)


def project_thin_prism_fisheye(params: Sequence[float], rays: Tensor) -> Tensor:
    """COLMAP's THIN_PRISM_FISHEYE: fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1, on the equidistant image coordinates."""
    *affine, k1, k2, p1, p2, k3, k4, sx1, sy1 = params
    u, v = _equidistant(rays)
    r2 = u * u + v * v
    radial = r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
    du = u * radial + 2.0 * p1 * u * v + p2 * (r2 + 2.0 * u * u) + sx1 * r2
    dv = v * radial + 2.0 * p2 * u * v + p1 * (r2 + 2.0 * v * v) + sy1 * r2
    return _affine(affine, u + du, v + dv)


def project_rad_tan_thin_prism_fisheye(params: Sequence[float], rays: Tensor) -> Tensor:
    """COLMAP's RAD_TAN_THIN_PRISM_FISHEYE, Project Aria's Fisheye624: fx fy cx cy k0..k5 p0 p1 s0..s3."""
    *affine, k0, k1, k2, k3, k4, k5, p0, p1, s0, s1, s2, s3 = params
    u, v = _equidistant(rays)
    t2 = u * u + v * v
    radial = 1.0 + t2 * (k0 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * (k4 + t2 * k5)))))
    u, v = u * radial, v * radial
    r2 = u * u + v * v
    du = 2.0 * u * (p0 * u + p1 * v) + p0 * r2 + r2 * (s0 + s1 * r2)
    dv = 2.0 * v * (p0 * u + p1 * v) + p1 * r2 + r2 * (s2 + s3 * r2)
    return _affine(affine, u + du, v + dv)


def project_cahvor(params: Sequence[float], rays: Tensor) -> Tensor:
    """The CAHVOR of mrcal: fx fy cx cy alpha beta r0 r1 r2 (Gennery, "Generalized camera calibration", IJCV 2006).

    The ray is pushed away from the optical axis o(alpha, beta) by a polynomial in the squared tangent of its angle.
    """
    *affine, alpha, beta, r0, r1, r2 = params
    angles = torch.tensor([alpha, beta], dtype=torch.float64)
    (sin_a, sin_b), (cos_a, cos_b) = angles.sin(), angles.cos()
    axis = torch.stack([cos_b * sin_a, sin_b, cos_b * cos_a])
    omega = rays @ axis
    tangent_squared = (rays * rays).sum(-1) / omega.square().clamp(min=_SMALL) - 1.0
    mu = r0 + tangent_squared * (r1 + tangent_squared * r2)
    pushed = rays * (1.0 + mu)[:, None] - (mu * omega)[:, None] * axis
    ahead = (omega > _SMALL) & (pushed[:, 2] > _SMALL)
    z = torch.where(ahead, pushed[:, 2], torch.nan)
    return _affine(affine, pushed[:, 0] / z, pushed[:, 1] / z)


def _perspective(rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The quotients x / z, y / z and their radius, NaN behind the camera."""
    x, y, z = rays.unbind(-1)
    z = torch.where(z > _SMALL, z, torch.nan)
    return x / z, y / z, torch.hypot(x / z, y / z)


def _equidistant(rays: Tensor) -> tuple[Tensor, Tensor]:
    """Equidistant image coordinates, theta (x, y) / r."""
    x, y, z = rays.unbind(-1)
    r = torch.hypot(x, y)
    scale = torch.where(r > _SMALL, torch.atan2(r, z) / r.clamp(min=_SMALL), 1.0)
    return x * scale, y * scale


def _affine(affine: Sequence[float], x: Tensor, y: Tensor) -> Tensor:
    fx, fy, cx, cy = affine
    return torch.stack([fx * x + cx, fy * y + cy], -1)
