"""From the matrices that relate two pictures to the motion between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.two_view.parameters import PlanarPose, RelativePose

Floats = NDArray[np.float64]

_SINGULAR = 1e-9
"""Ratio of a homography's singular values below which its plane goes through a camera."""
_NO_TRANSLATION = 1e-9
"""Spread of a homography's squared singular values below which it is a rotation."""


def decompose_essential(essential: Floats) -> tuple[RelativePose, RelativePose, RelativePose, RelativePose]:
    """The four motions with an essential matrix (3, 3): two rotations, each with both signs of the translation.

    Source: Hartley and Zisserman 2004, "Multiple View Geometry", result 9.19.
    """
    left, _, right = np.linalg.svd(essential)
    left, right = left * np.linalg.det(left), right * np.linalg.det(right)
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    one, other = left @ quarter @ right, left @ quarter.T @ right
    direction = left[:, 2]
    return (
        RelativePose(one, direction),
        RelativePose(one, -direction),
        RelativePose(other, direction),
        RelativePose(other, -direction),
    )


def recover_pose(essential: Floats, rays0: Floats, rays1: Floats) -> RelativePose:
    """The motion of an essential matrix (3, 3) that puts the most points in front of both cameras.

    Args:
        essential: E with ray1^T E ray0 = 0.
        rays0: directions in the first camera, (n, 3).
        rays1: directions of the same points in the second camera, (n, 3).

    Returns:
        The relative pose.
    """
    poses = decompose_essential(essential)
    ahead = [int((ray_depths(pose, rays0, rays1)[0] > 0.0).all(axis=1).sum()) for pose in poses]
    return poses[int(np.argmax(ahead))]


def ray_depths(pose: RelativePose, rays0: Floats, rays1: Floats) -> tuple[Floats, Floats]:
    """How far along their rays two cameras see points, and under which parallax.

    Args:
        pose: relative pose with unit baseline.
        rays0: unit rays in the first camera, (n, 3).
        rays1: unit rays in the second, (n, 3).

    Returns:
        depths: (n, 2), baselines, along the ray of the first and of the second camera, each in the least-squares sense;
            negative behind the camera, infinite for parallel rays.
        sine of the angle between the rays: (n,).
    """
    turned = rays0 @ pose.rotation.T
    normal = np.cross(rays1, turned)
    squared = (normal**2).sum(axis=1)
    first = -(np.cross(rays1, pose.direction) * normal).sum(axis=1)
    second = -(np.cross(turned, pose.direction) * normal).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        depths = np.stack([first, second], axis=1) / squared[:, None]
    return np.where(squared[:, None] > 0.0, depths, np.inf), np.sqrt(squared)


def decompose_homography(homography: Floats, rays0: Floats) -> tuple[PlanarPose, ...]:
    """The motions and planes that a homography between rays allows.

    Closed form of Ma, Soatto, Kosecka and Sastry 2004, "An Invitation to 3-D Vision", 5.3.3. Of the four
    solutions those are kept whose plane lies in front of the first camera for most of the rays.

    Args:
        homography: H with H ray0 a positive multiple of ray1, (3, 3).
        rays0: rays of the points on the plane in the first camera, (n, 3).

    Returns:
        Two solutions, the one first that sees more of the rays hit its plane; none for a rotation, which has no
        translation and says nothing of a plane, nor for a singular matrix.
    """
    singular = np.linalg.svd(homography, compute_uv=False)
    if singular[2] <= _SINGULAR * singular[0]:
        return ()
    scaled = homography / singular[1]
    squares, vectors = np.linalg.eigh(scaled.T @ scaled)
    low, high = max(1.0 - squares[0], 0.0), max(squares[2] - 1.0, 0.0)
    if low + high < _NO_TRANSLATION:
        return ()
    third, middle, first = vectors.T
    found: list[tuple[float, PlanarPose]] = []
    for sign in (1.0, -1.0):
        inside = (np.sqrt(low) * first + sign * np.sqrt(high) * third) / np.sqrt(low + high)
        normal = np.cross(middle, inside)
        from_frame = np.stack([middle, inside, normal], axis=1)
        to_first, to_second = scaled @ middle, scaled @ inside
        to_frame = np.stack([to_first, to_second, np.cross(to_first, to_second)], axis=1)
        rotation = to_frame @ from_frame.T
        ahead = float(((rays0 @ normal) > 0.0).mean())
        if ahead < 0.5:
            normal, ahead = -normal, 1.0 - ahead
        found.append((ahead, PlanarPose(rotation, (scaled - rotation) @ normal, normal)))
    found.sort(key=lambda solution: -solution[0])
    return tuple(solution for _, solution in found)
