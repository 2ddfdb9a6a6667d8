"""Where a point is, from the pixels of posed cameras.

Everything is closed forms over batches: 3x3 systems, no loop over points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.pixel_rays import PixelRays, cross_matrix, pixel_rays

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_CORRECTIONS = 3
"""Iterations of the optimal correction: the second is exact to noise cubed, the third costs nothing."""
_ITERATIONS = 10
_SETTLED = 1e-9
"""Step over the point's distance from which on it has converged."""


@dataclass(frozen=True, eq=False)
class TwoViewPoints:
    """Points that two cameras see."""

    points: Floats
    """In the first camera's frame, (n, 3), in the unit of the baseline; not finite for parallel rays."""
    angles: Floats
    """Angles between the two rays, (n,), radians."""
    in_front: Bools
    """Whether the point lies ahead along both rays, (n,)."""
    errors: Floats
    """Reprojection error, (n, 2), of both cameras: pixels, or radians for rays without pixels."""
    covariance: Floats | None
    """(n, 3, 3), in the unit of the baseline squared, for the noise given; None for rays without pixels."""


@dataclass(frozen=True, eq=False)
class MultiViewPoints:
    """Points that several cameras see."""

    points: Floats
    """In the world, (m, 3); NaN where fewer than two views see the point or its rays are parallel."""
    covariance: Floats
    """(m, 3, 3), world units squared, for the noise given; NaN where it is not determined."""
    errors: Floats
    """Reprojection errors, (n, m), pixels; NaN where a view does not see the point."""
    rms: Floats
    """Root mean square of a point's errors, (m,), pixels."""
    angles: Floats
    """Largest angle between two rays of a point, (m,), radians."""
    in_front: Bools
    """Whether every view that sees the point has it in the domain of its lens and ahead along its ray, (m,)."""
    views: NDArray[np.intp]
    """Number of views that see the point, (m,)."""


def triangulate_midpoint(rays0: Floats, rays1: Floats, cam1_from_cam0: Floats) -> TwoViewPoints:
    """The middle of the shortest segment between two rays.

    Args:
        rays0: directions in the first camera, (n, 3).
        rays1: directions in the second camera, (n, 3).
        cam1_from_cam0: relative pose, (4, 4).

    Returns:
        The points; errors are angles to the rays, radians.
    """
    unit0, unit1 = _unit(rays0), _unit(rays1)
    turned = unit0 @ cam1_from_cam0[:3, :3].T
    depths, angles = _depths(turned, unit1, cam1_from_cam0[:3, 3])
    second = 0.5 * (depths[:, :1] * turned + cam1_from_cam0[:3, 3] + depths[:, 1:] * unit1)
    first = (second - cam1_from_cam0[:3, 3]) @ cam1_from_cam0[:3, :3]
    errors = np.stack([_angles_between(first, unit0), _angles_between(second, unit1)], axis=1)
    return TwoViewPoints(first, angles, np.asarray((depths > 0.0).all(axis=1)), errors, None)


def triangulate_optimal(
    pixels0: Floats,
    pixels1: Floats,
    camera0: Camera,
    camera1: Camera,
    cam1_from_cam0: Floats,
    sigma0: Floats | float = 1.0,
    sigma1: Floats | float = 1.0,
) -> TwoViewPoints:
    """The most likely points of matches under Gaussian noise of the pixels.

    Moves both pixels of a match by the least amount, in units of their noise, that makes their rays meet. The iteration
    is that of Kanatani et al. 2008, "Triangulation from two views revisited" (Lindstrom 2010 gives it for pinholes), in
    the tangent plane of the ray, so that it serves any lens.

    Args:
        pixels0: (n, 2), in the first picture.
        pixels1: (n, 2), in the second.
        camera0: the first camera.
        camera1: the second.
        cam1_from_cam0: relative pose, (4, 4), with a translation that is not zero.
        sigma0: noise of one coordinate of the first pixels, (n,) or one for all, pixels.
        sigma1: the same of the second pixels.

    Returns:
        The points, with covariance. Pixels outside a lens's domain give points that are not finite.
    """
    first, second = pixel_rays(camera0, pixels0), pixel_rays(camera1, pixels1)
    noise0, noise1 = (np.broadcast_to(np.asarray(sigma, dtype=np.float64), len(first)) for sigma in (sigma0, sigma1))
    rotation, translation = cam1_from_cam0[:3, :3], cam1_from_cam0[:3, 3]
    essential = cross_matrix(translation) @ rotation
    moves0, moves1 = _optimal_moves(essential, first, second, noise0, noise1)
    rays0 = first.rays + (first.jacobians @ moves0[:, :, None])[..., 0]
    rays1 = second.rays + (second.jacobians @ moves1[:, :, None])[..., 0]
    met = triangulate_midpoint(rays0, rays1, cam1_from_cam0)
    valid = first.valid & second.valid
    points = np.where(valid[:, None], met.points, np.nan)
    moved = points @ rotation.T + translation
    information = _information(camera0, points, np.eye(3), noise0) + _information(camera1, moved, rotation, noise1)
    errors = np.stack(
        [
            np.linalg.norm(camera.project(seen) - pixels, axis=1)
            for camera, seen, pixels in ((camera0, points, pixels0), (camera1, moved, pixels1))
        ],
        axis=1,
    )
    return TwoViewPoints(points, met.angles, met.in_front & valid, errors, _inverse_or_nan(information))


def triangulate_multiview(
    pixels: Floats,
    cameras: Sequence[Camera],
    cam_from_world: Floats,
    seen: Bools | None = None,
    sigma: Floats | float = 1.0,
) -> MultiViewPoints:
    """The most likely points of tracks through several posed pictures.

    The start is the point nearest to all rays, then the same with every ray weighted by its noise at that distance;
    damped Gauss-Newton on the reprojection errors follows.

    Args:
        pixels: (n, m, 2), of m points in n views; whatever where not seen.
        cameras: one for each view, (n).
        cam_from_world: poses, (n, 4, 4).
        seen: which view sees which point, (n, m); None: all.
        sigma: noise of one pixel coordinate, (n, m) or one for all, pixels.

    Returns:
        The points, with covariance. Pixels outside a lens's domain do not count as seen.

    Raises:
        ValueError: shapes that do not match.
    """
    pixels = np.asarray(pixels, dtype=np.float64)
    if pixels.ndim != 3 or pixels.shape[2] != 2 or len(cameras) != len(pixels):
        raise ValueError(f"{len(cameras)} views need pixels ({len(cameras)}, m, 2), got {pixels.shape}")
    if cam_from_world.shape != (len(pixels), 4, 4):
        raise ValueError(f"{len(pixels)} views need poses ({len(pixels)}, 4, 4), got {cam_from_world.shape}")
    shape = pixels.shape[:2]
    mask = np.ones(shape, dtype=bool) if seen is None else np.array(seen, dtype=bool)
    noise = np.broadcast_to(np.asarray(sigma, dtype=np.float64), shape)
    if mask.shape != shape:
        raise ValueError(f"the mask of seen points is {shape}, got {mask.shape}")
    views = [pixel_rays(camera, pixels[index]) for index, camera in enumerate(cameras)]
    mask &= np.stack([view.valid for view in views])
    centres = inverse_rigid(cam_from_world)[:, :3, 3]
    rays = np.stack([view.rays @ pose[:3, :3] for view, pose in zip(views, cam_from_world, strict=True)])
    angular = np.stack([np.sqrt(0.5 * (view.jacobians**2).sum(axis=(1, 2))) for view in views]) * noise

    count = mask.sum(axis=0)
    points = _nearest_to_rays(rays, centres, mask.astype(np.float64))
    distance = np.linalg.norm(points - centres[:, None], axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(mask & (angular * distance > 0.0), 1.0 / (angular * distance) ** 2, 0.0)
    points = _nearest_to_rays(rays, centres, np.where(np.isfinite(weights), weights, 0.0))
    points = np.where((count >= 2)[:, None], points, np.nan)
    points, information = _descend(points, pixels, cameras, cam_from_world, mask, noise)

    moved = _seen_by(cam_from_world, points)
    projected = np.stack([camera.project(view) for camera, view in zip(cameras, moved, strict=True)])
    errors = np.where(mask, np.linalg.norm(projected - pixels, axis=2), np.nan)
    ahead = np.stack([((view * own.rays).sum(axis=1) > 0.0) for view, own in zip(moved, views, strict=True)])
    valid = np.stack([_in_domain(camera, view) for camera, view in zip(cameras, moved, strict=True)])
    squares = np.where(mask, errors, 0.0) ** 2
    return MultiViewPoints(
        points=points,
        covariance=_inverse_or_nan(information),
        errors=errors,
        rms=np.where(count > 0, np.sqrt(squares.sum(axis=0) / np.maximum(count, 1)), np.nan),
        angles=_largest_angles(rays, mask),
        in_front=(ahead & valid | ~mask).all(axis=0) & np.isfinite(points).all(axis=1),
        views=count,
    )


def _optimal_moves(
    essential: Floats, first: PixelRays, second: PixelRays, noise0: Floats, noise1: Floats
) -> tuple[Floats, Floats]:
    """The least moves of the pixels, (n, 2) each, that satisfy ray1^T E ray0 = 0."""
    moves0, moves1 = np.zeros((len(first), 2)), np.zeros((len(first), 2))
    for _ in range(_CORRECTIONS):
        rays0 = first.rays + (first.jacobians @ moves0[:, :, None])[..., 0]
        rays1 = second.rays + (second.jacobians @ moves1[:, :, None])[..., 0]
        normals1, normals0 = rays0 @ essential.T, rays1 @ essential
        gradient0 = np.einsum("nij,ni->nj", first.jacobians, normals0)
        gradient1 = np.einsum("nij,ni->nj", second.jacobians, normals1)
        # The constraint linearised about the moved pixels, at the pixels that were measured.
        constraint = (normals1 * rays1).sum(axis=1)
        constraint -= (gradient0 * moves0).sum(axis=1) + (gradient1 * moves1).sum(axis=1)
        spread = (noise0**2) * (gradient0**2).sum(axis=1) + (noise1**2) * (gradient1**2).sum(axis=1)
        factor = constraint / np.maximum(spread, np.finfo(np.float64).tiny)
        moves0 = -(factor * noise0**2)[:, None] * gradient0
        moves1 = -(factor * noise1**2)[:, None] * gradient1
    return moves0, moves1


def _depths(turned: Floats, unit1: Floats, translation: Floats) -> tuple[Floats, Floats]:
    """Distances (n, 2) along both rays of the points where they are closest, and the angles (n,) between the rays."""
    normal = np.cross(unit1, turned)
    squared = (normal**2).sum(axis=1)
    along0 = -(np.cross(unit1, translation) * normal).sum(axis=1)
    along1 = -(np.cross(turned, translation) * normal).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        depths = np.stack([along0, along1], axis=1) / squared[:, None]
    depths = np.where(squared[:, None] > 0.0, depths, np.nan)
    return depths, np.arctan2(np.sqrt(squared), (turned * unit1).sum(axis=1))


def _nearest_to_rays(rays: Floats, centres: Floats, weights: Floats) -> Floats:
    """Points (m, 3) with the least weighted squared distance to rays (n, m, 3) from centres (n, 3)."""
    total = weights.sum(axis=0)
    weighted = weights[..., None] * rays
    matrix = total[:, None, None] * np.eye(3) - np.einsum("nmi,nmj->mij", weighted, rays)
    right = np.einsum("nm,ni->mi", weights, centres)
    right -= np.einsum("nmi,nm->mi", weighted, np.einsum("nmi,ni->nm", rays, centres))
    points: Floats = (_inverse_or_nan(matrix) @ right[:, :, None])[..., 0]
    return points


def _descend(
    points: Floats, pixels: Floats, cameras: Sequence[Camera], cam_from_world: Floats, mask: Bools, noise: Floats
) -> tuple[Floats, Floats]:
    """Levenberg-Marquardt with a damping of its own for each point; points (m, 3) and normal matrices (m, 3, 3)."""
    damping = np.full(len(points), 1e-4)
    cost, gradient, normal = _normal_equations(points, pixels, cameras, cam_from_world, mask, noise)
    for _ in range(_ITERATIONS):
        trace = np.trace(normal, axis1=1, axis2=2)[:, None, None]
        damped = normal + damping[:, None, None] * (normal * np.eye(3) + 1e-9 * trace * np.eye(3))
        step = -(_inverse_or_nan(damped) @ gradient[:, :, None])[..., 0]
        trial = points + step
        trial_cost, trial_gradient, trial_normal = _normal_equations(
            trial, pixels, cameras, cam_from_world, mask, noise
        )
        better = trial_cost < cost
        points = np.where(better[:, None], trial, points)
        gradient = np.where(better[:, None], trial_gradient, gradient)
        normal = np.where(better[:, None, None], trial_normal, normal)
        cost = np.where(better, trial_cost, cost)
        damping = np.where(better, damping * 0.1, damping * 10.0)
        reach = np.linalg.norm(points, axis=1)
        if not bool((better & (np.linalg.norm(step, axis=1) > _SETTLED * reach)).any()):
            break
    return points, normal


def _normal_equations(
    points: Floats, pixels: Floats, cameras: Sequence[Camera], cam_from_world: Floats, mask: Bools, noise: Floats
) -> tuple[Floats, Floats, Floats]:
    """Cost (m,), gradient (m, 3) and normal matrix (m, 3, 3) of the reprojection errors in units of their noise."""
    cost, gradient, normal = np.zeros(len(points)), np.zeros((len(points), 3)), np.zeros((len(points), 3, 3))
    for index, (camera, pose, view) in enumerate(
        zip(cameras, cam_from_world, _seen_by(cam_from_world, points), strict=True)
    ):
        projected, by_point = _project(camera, view)
        weight = np.where(mask[index], 1.0 / noise[index], 0.0)
        residuals = np.where(mask[index][:, None], (projected - pixels[index]) * weight[:, None], 0.0)
        jacobians = (by_point @ pose[:3, :3]) * weight[:, None, None]
        cost += (residuals**2).sum(axis=1)
        gradient += (np.swapaxes(jacobians, 1, 2) @ residuals[:, :, None])[..., 0]
        normal += np.swapaxes(jacobians, 1, 2) @ jacobians
    return cost, gradient, normal


def _information(camera: Camera, seen: Floats, rotation: Floats, noise: Floats) -> Floats:
    """Information (n, 3, 3) about points that one camera gives, in the frame that `rotation` leads from."""
    _, by_point = _project(camera, seen)
    jacobians = by_point @ rotation / noise[:, None, None]
    return np.swapaxes(jacobians, 1, 2) @ jacobians


def _project(camera: Camera, points: Floats) -> tuple[Floats, Floats]:
    """Pixels (n, 2) and their derivatives by the points (n, 2, 3)."""
    params = torch.tensor(camera.params, dtype=torch.float64)
    projected, by_point, _ = camera.lens.project_with_jacobians(params, torch.from_numpy(np.ascontiguousarray(points)))
    return projected.numpy(), by_point.numpy()


def _in_domain(camera: Camera, points: Floats) -> Bools:
    params = torch.tensor(camera.params, dtype=torch.float64)
    inside: Bools = camera.lens.valid_points(params, torch.from_numpy(np.ascontiguousarray(points))).numpy()
    return inside


def _seen_by(cam_from_world: Floats, points: Floats) -> Floats:
    """Points (m, 3) in the frames of n cameras, (n, m, 3)."""
    result: Floats = points @ np.swapaxes(cam_from_world[:, :3, :3], 1, 2) + cam_from_world[:, None, :3, 3]
    return result


def _largest_angles(rays: Floats, mask: Bools) -> Floats:
    """Largest angle (m,) between any two of the rays (n, m, 3) that count; NaN with fewer than two."""
    largest = np.full(rays.shape[1], -1.0)
    for index in range(1, len(rays)):
        # The chord keeps its digits at small angles, where the cosine has lost them.
        chords = np.linalg.norm(rays[:index] - rays[index], axis=2)
        both = mask[:index] & mask[index]
        largest = np.maximum(largest, np.where(both, chords, -1.0).max(axis=0))
    angles: Floats = np.where(largest >= 0.0, 2.0 * np.arcsin(np.clip(0.5 * largest, 0.0, 1.0)), np.nan)
    return angles


def _inverse_or_nan(matrices: Floats) -> Floats:
    """Inverses of symmetric matrices (m, 3, 3) by cofactors; NaN where singular to working precision."""
    a, b, c = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 0, 2]
    d, e, f = matrices[:, 1, 1], matrices[:, 1, 2], matrices[:, 2, 2]
    rows = [d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b]
    determinant = a * rows[0] + b * rows[1] + c * rows[2]
    size = np.trace(matrices, axis1=1, axis2=2)
    regular = determinant > np.finfo(np.float64).eps * size * np.abs(np.stack(rows)).max(axis=0)
    scale = 1.0 / np.where(regular, determinant, np.nan)
    adjugate = np.stack([rows[0], rows[1], rows[2], rows[1], rows[3], rows[4], rows[2], rows[4], rows[5]], axis=1)
    result: Floats = adjugate.reshape(-1, 3, 3) * scale[:, None, None]
    return result


def _unit(vectors: Floats) -> Floats:
    result: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return result


def _angles_between(a: Floats, b: Floats) -> Floats:
    result: Floats = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(axis=-1))
    return result
