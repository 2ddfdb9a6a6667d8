"""Which view sees which point where: triangulation under known poses, and how far it is from what was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.posed import PosedView
from cv3d.geometry.cameras.rig import inverse_rigid

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

MIN_ANGLE = math.radians(1.0)
"""Between two lines of sight of a point that is given: at 1000 pixels of focal length, a pixel is 6 % of its depth."""
_ROUNDS = 8
_WORST = 0.7
"""Share of the largest error of a point above which its sights go in one round."""


@dataclass(frozen=True, eq=False)
class Sights:
    """Flat arrays, ordered by point."""

    view: Ints
    """(n,)."""
    point: Ints
    """(n,), ascending from 0."""
    pixels: Floats
    """(n, 2), of the view's picture."""

    def __len__(self) -> int:
        return len(self.view)

    def where(self, kept: Bools) -> Sights:
        """Some of them, (n,), under the same numbers."""
        return Sights(self.view[kept], self.point[kept], self.pixels[kept])


def reprojection_errors(views: Sequence[PosedView], points: Floats, sights: Sights) -> Floats:
    """How far points appear from where they were seen.

    Args:
        views: with cameras and poses.
        points: in the world, (m, 3); NaN for none.
        sights: n of them.

    Returns:
        (n,), pixels; infinite where the point is behind the camera, or there is none.
    """
    errors = np.full(len(sights), np.inf)
    for number in np.unique(sights.view).tolist():
        rows = np.flatnonzero(sights.view == number)
        view = views[number]
        seen = points[sights.point[rows]] @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        rays = view.camera.unproject(sights.pixels[rows])
        ahead = (seen * rays).sum(axis=1) > 0.0
        distances = np.linalg.norm(view.camera.project(seen[ahead]) - sights.pixels[rows[ahead]], axis=1)
        errors[rows[ahead]] = np.where(np.isfinite(distances), distances, np.inf)
    return errors


def triangulate(
    views: Sequence[PosedView], sights: Sights, limits: Floats, min_angle: float = MIN_ANGLE
) -> tuple[Floats, Bools]:
    """The points that lines of sight meet in.

    A point is where its rays meet best, each weighted by how well it says where across it the point is; the sights
    that fit it worst are left out until all fit.

    Args:
        views: with cameras and poses.
        sights: those of one number are believed to be of one point.
        limits: largest reprojection error of each sight, (n,), pixels.
        min_angle: between two sights of a point, radians.

    Returns:
        Points (m, 3), NaN where no two sights agree under the angle; and which sights agree (n,).
    """
    count = int(sights.point[-1]) + 1 if len(sights) else 0
    rays, centres = _rays(views, sights)
    kept = np.isfinite(rays).all(axis=1)
    weights = np.ones(len(sights))
    points = np.full((count, 3), np.nan)
    for number in range(_ROUNDS):
        points = _meeting_points(rays, centres, np.where(kept, weights, 0.0), sights.point, count)
        if number == 0:
            # The first time all weigh the same, as no distance is known.
            weights = _weights(points, sights, centres)
            points = _meeting_points(rays, centres, np.where(kept, weights, 0.0), sights.point, count)
        errors = reprojection_errors(views, points, sights) / limits
        worst = np.zeros(count)
        np.maximum.at(worst, sights.point[kept], errors[kept])
        with np.errstate(invalid="ignore"):
            leaving = kept & (errors > 1.0) & (errors >= _WORST * worst[sights.point])
        weights = _weights(points, sights, centres)
        if not leaving.any():
            break
        kept &= ~leaving
    kept &= errors <= 1.0
    found = (np.bincount(sights.point[kept], minlength=count) >= 2) & (
        _angles(rays, kept, sights.point, count) >= min_angle
    )
    return np.where(found[:, None], points, np.nan), kept & found[sights.point]


def _rays(views: Sequence[PosedView], sights: Sights) -> tuple[Floats, Floats]:
    """Unit directions in the world and where they begin, (n, 3) each; NaN where the lens has no ray."""
    rays, centres = np.full((len(sights), 3), np.nan), np.zeros((len(sights), 3))
    for number in np.unique(sights.view).tolist():
        rows = np.flatnonzero(sights.view == number)
        world_from_cam = inverse_rigid(views[number].cam_from_world)
        own, valid = views[number].camera.unproject_checked(sights.pixels[rows])
        rays[rows] = np.where(valid[:, None], own @ world_from_cam[:3, :3].T, np.nan)
        centres[rows] = world_from_cam[:3, 3]
    return rays, centres


def _weights(points: Floats, sights: Sights, centres: Floats) -> Floats:
    """The noise of a direction moves a point across it in proportion to its distance."""
    squared = ((points[sights.point] - centres) ** 2).sum(axis=1)
    return np.where(np.isfinite(squared) & (squared > 0.0), 1.0 / np.maximum(squared, 1e-300), 0.0)


def _meeting_points(rays: Floats, centres: Floats, weights: Floats, point: Ints, count: int) -> Floats:
    """The points (m, 3) with the least weighted squared distance to their rays; NaN where these do not determine it."""
    used = weights > 0.0
    rays, centres, weights, point = rays[used], centres[used], weights[used], point[used]
    scale = np.bincount(point, weights, minlength=count)
    weights = weights / scale[point]
    matrix = np.empty((count, 3, 3))
    right = np.empty((count, 3))
    along = (rays * centres).sum(axis=1)
    for i in range(3):
        right[:, i] = np.bincount(point, weights * (centres[:, i] - rays[:, i] * along), minlength=count)
        for j in range(3):
            projector = (1.0 if i == j else 0.0) - rays[:, i] * rays[:, j]
            matrix[:, i, j] = np.bincount(point, weights * projector, minlength=count)
    determined = np.linalg.det(matrix) > 1e-14
    result = np.full((count, 3), np.nan)
    result[determined] = np.linalg.solve(matrix[determined], right[determined][..., None])[..., 0]
    return result


def _angles(rays: Floats, kept: Bools, point: Ints, count: int) -> Floats:
    """A lower bound of the largest angle between two kept rays of each point, (m,), radians; never below half of it."""
    rays, point = rays[kept], point[kept]
    first = np.full(count, -1, np.intp)
    first[point[::-1]] = np.arange(len(point))[::-1]
    widest = np.zeros(count)
    for _ in range(2):
        # The ray farthest from any one ray is at least half as far as the two farthest; once more comes nearer.
        chords = np.linalg.norm(rays - rays[first[point]], axis=1)
        angles = 2.0 * np.arcsin(np.clip(0.5 * chords, 0.0, 1.0))
        np.maximum.at(widest, point, angles)
        farthest = np.flatnonzero(angles >= widest[point])
        first[point[farthest]] = farthest
    return widest
