"""Pose of a plane from the directions in which its points are seen.

Works on rays instead of normalised pixels, so that it serves any central camera, beyond 180 degrees too.
"""

from __future__ import annotations

import torch
from torch import Tensor


def plane_pose_from_rays(rays: Tensor, plane_points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Linear estimate of cam_from_plane from at least four points.

    Minimises `sum(w |ray x H p|^2)` over the homography H (direct linear transform with Hartley's normalisation), then
    takes the closest rotation to its first two columns.

    Args:
        rays: unit viewing directions, (..., N, 3).
        plane_points: coordinates in the plane, (..., N, 2); any length unit.
        weights: non-negative weights, (..., N); zero for padding.

    Returns:
        `(rotation (..., 3, 3), translation (..., 3))` of cam_from_plane, the plane in front of the camera
        as seen along the rays. Translation is in the unit of `plane_points`.
    """
    total = torch.clamp(weights.sum(dim=-1), min=1e-12)[..., None]
    centre = (weights[..., None] * plane_points).sum(dim=-2) / total
    centred = plane_points - centre[..., None, :]
    spread = torch.sqrt((weights[..., None] * centred**2).sum(dim=(-1, -2)) / total[..., 0])
    spread = torch.clamp(spread, min=1e-12)
    ones = torch.ones_like(centred[..., :1])
    homogeneous = torch.cat([centred / spread[..., None, None], ones], dim=-1)

    projector = torch.eye(3, dtype=rays.dtype) - rays[..., :, None] * rays[..., None, :]
    outer = homogeneous[..., :, None] * homogeneous[..., None, :]
    moments = (weights[..., None, None] * projector).flatten(-2).transpose(-1, -2) @ outer.flatten(-2)
    lead = moments.shape[:-2]
    moments = moments.reshape(*lead, 3, 3, 3, 3).transpose(-3, -2).reshape(*lead, 9, 9)
    _, vectors = torch.linalg.eigh(moments)
    homography = vectors[..., 0].reshape(*lead, 3, 3)

    along = (weights * ((homogeneous @ homography.transpose(-1, -2)) * rays).sum(dim=-1)).sum(dim=-1)
    homography = homography * torch.where(along < 0, -1.0, 1.0)[..., None, None]
    first, second, third = homography.unbind(dim=-1)
    first_norm, second_norm = _norm(first), _norm(second)
    scale = 2.0 / (first_norm + second_norm)
    plus = _unit(first / first_norm + second / second_norm)
    minus = _unit(first / first_norm - second / second_norm)
    x_axis = _unit(plus + minus)
    y_axis = _unit(plus - minus)
    z_axis = torch.linalg.cross(x_axis, y_axis)
    rotation = torch.stack([x_axis, y_axis, z_axis], dim=-1)
    origin = (third * scale) * spread[..., None]
    translation = origin - (rotation[..., :2] @ centre[..., None])[..., 0]
    return rotation, translation


def mirrored_plane_pose(rotation: Tensor, translation: Tensor, plane_centre: Tensor) -> tuple[Tensor, Tensor]:
    """The other pose from which a distant plane looks nearly the same.

    A plane seen from afar cannot be told from the one whose normal is reflected about the viewing direction
    (Schweighofer and Pinz 2006, "Robust pose estimation from a planar target"); a minimiser started at the wrong one
    stays there.

    Args:
        rotation: cam_from_plane rotation, (..., 3, 3).
        translation: cam_from_plane translation, (..., 3).
        plane_centre: the middle of the seen points in the plane, (..., 3).

    Returns:
        `(rotation, translation)` of the mirrored pose; the plane's centre stays where it was.
    """
    centre = (rotation @ plane_centre[..., None])[..., 0] + translation
    view = centre / _norm(centre)
    normal = rotation[..., 2]
    half_turn = 2.0 * view[..., :, None] * view[..., None, :] - torch.eye(3, dtype=rotation.dtype)
    mirrored = (half_turn @ normal[..., None])[..., 0]
    turn = _rotation_between(normal, mirrored)
    other = turn @ rotation
    return other, centre - (other @ plane_centre[..., None])[..., 0]


def _rotation_between(start: Tensor, end: Tensor) -> Tensor:
    """Smallest rotations that take unit vectors `start` to `end`; both (..., 3), not opposite."""
    axis = torch.linalg.cross(start, end)
    cosine = (start * end).sum(dim=-1)[..., None, None]
    x, y, z = axis.unbind(dim=-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*axis.shape[:-1], 3, 3)
    return torch.eye(3, dtype=start.dtype) + skew + skew @ skew / torch.clamp(1.0 + cosine, min=1e-9)


def _norm(vector: Tensor) -> Tensor:
    return torch.clamp(torch.linalg.vector_norm(vector, dim=-1, keepdim=True), min=1e-300)


def _unit(vector: Tensor) -> Tensor:
    return vector / _norm(vector)
