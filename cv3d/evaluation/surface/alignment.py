"""The small rigid motion that lays a surface onto the reference, before they are compared."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.geometry.triangle_tree import TriangleTree

Floats = NDArray[np.float64]

_ROUNDS = 60
_LEAST_POINTS = 100
_STILL = 1e-7
"""Motion, metres and radians, below which the alignment stands."""


class SurfaceAlignment(StrEnum):
    """What is taken out before two surfaces are compared."""

    NONE = "none"
    """Nothing: both are in one frame."""
    SE3 = "se3"
    """A small rigid motion, by iterated nearest points from where the surfaces are."""


def aligning_motion(points: Floats, tree: TriangleTree, centre: Floats, normals: Floats, reach_m: float) -> Floats:
    """The rigid motion `reference_from_mesh`, (4, 4): iterated nearest points, point to plane (Chen and Medioni 1992).

    The reach shrinks from `reach_m` to a quarter of it, and differences weigh by Tukey's function of it.

    Args:
        points: (n, 3), samples of the mesh.
        tree: of the reference.
        centre: (3,), of the reference: what the motion turns about.
        normals: (m, 3), of the reference's triangles.
        reach_m: how far apart the two may be at first, metres.

    Raises:
        EstimationError: too few points are within reach, or they leave a motion open, as a plane does.
    """
    motion = np.eye(4)
    # Turns count as the way of a point at the typical distance, so that the condition of the system has no unit.
    size = max(float(np.sqrt(((points - centre) ** 2).sum(axis=1).mean())), 1e-12)
    for step in range(_ROUNDS):
        reach = reach_m * max(0.25, 0.9**step)
        moved = points @ motion[:3, :3].T + motion[:3, 3]
        found = tree.nearest(moved, reach)
        near = found.triangles >= 0
        count = int(near.sum())
        if count < _LEAST_POINTS:
            raise EstimationError(
                f"only {count} of {len(points)} points of the mesh are within {reach:.3g} m of the reference, "
                "too few to align them"
            )
        n = normals[found.triangles[near]]
        gap = ((found.points[near] - moved[near]) * n).sum(axis=1)
        weight = (1.0 - np.minimum(found.distances[near] / reach, 1.0) ** 2) ** 2
        jacobian = np.concatenate([np.cross(moved[near] - centre, n) / size, n], axis=1)
        normal_matrix = jacobian.T @ (weight[:, None] * jacobian)
        values, vectors = np.linalg.eigh(normal_matrix)
        if values[0] < 1e-6 * values[-1]:
            raise EstimationError("the surfaces leave open how they lie to each other: they slide along one another")
        update = vectors @ ((vectors.T @ (jacobian.T @ (weight * gap))) / values)
        update[:3] /= size
        motion = _about(centre, update) @ motion
        if float(np.abs(update).max()) < _STILL and reach <= 0.25 * reach_m:
            break
    return motion


def _about(centre: Floats, update: Floats) -> Floats:
    """The motion of a rotation vector about a centre and a shift, (6,), as a matrix (4, 4)."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(update[:3]).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + update[3:]
    return matrix
