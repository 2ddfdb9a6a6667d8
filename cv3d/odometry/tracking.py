"""One attempt to place a frame: look for the map where a prediction has it, and move the pose to what is found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.atlas import Atlas
from cv3d.odometry.found import Found
from cv3d.odometry.keys import Key
from cv3d.odometry.options import OdometryOptions
from cv3d.odometry.patches import Levels
from cv3d.odometry.points import CANDIDATE
from cv3d.odometry.posing import Posed, refine_pose
from cv3d.odometry.ranging import Ranges
from cv3d.odometry.rays import RayTable
from cv3d.odometry.searching import expect, look, project, spread_out

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Rows = NDArray[np.int64]

_TURN_ERROR = 1.5
"""Largest error of a point that a turn explains, pixels."""
_TURN_SHARE = 0.8
"""Least share of the points that a turn has to explain."""


@dataclass(frozen=True, eq=False)
class Tracked:
    """An attempt."""

    posed: Posed
    found: Found
    """Mapped points that were found, in the order of `posed`."""
    candidates: Found
    """Points without a depth that were found."""
    looked: int
    """Mapped points that were looked for."""

    @property
    def count(self) -> int:
        """Mapped points that the pose agrees with."""
        return int(self.posed.inliers.sum())

    def is_good(self, least: int) -> bool:
        """Whether nothing better is to be looked for."""
        return self.count >= max(2 * least, 0.4 * self.looked)


@dataclass(frozen=True, eq=False)
class Before:
    """The frame before."""

    index: int
    cam_from_world: Floats


class Tracker:
    """Looks for the map in frames."""

    def __init__(self, atlas: Atlas, rays: RayTable, options: OdometryOptions) -> None:
        self._atlas = atlas
        self._rays = rays
        self._options = options

    def attempt(
        self,
        levels: Levels,
        ranges: Ranges,
        local: Rows,
        candidates: Rows,
        before: Before,
        predicted: Floats,
        coarsest: int,
    ) -> Tracked:
        """Place a frame.

        Args:
            levels: of its picture.
            ranges: its depths.
            local: mapped points that may be seen.
            candidates: points without a depth that may be followed.
            before: the frame before.
            predicted: cam_from_world, (4, 4).
            coarsest: level of the pyramid that the search begins on.
        """
        points, camera = self._atlas.points, self._atlas.camera
        expected = expect(points, local, self._atlas.keys, camera, predicted)
        was_there = points.last_frame[expected.rows] == before.index
        chosen = spread_out(expected.pixels, was_there, self._options.max_points, (camera.width, camera.height))
        mapped = expected[chosen]
        candidates = candidates[points.kind[candidates] == CANDIDATE]
        candidates = candidates[points.last_frame[candidates] == before.index]
        at, ahead = project(camera, before.cam_from_world, points.xyz[candidates])
        candidates, at = candidates[ahead], at[ahead]
        shift = points.last_pixel[candidates].astype(np.float64) - at
        tentative = expect(points, candidates, self._atlas.keys, camera, predicted, shift)
        found = look(points, mapped.and_then(tentative), levels, coarsest)
        good = found.ncc > self._options.min_ncc
        count = len(mapped.rows)
        seen = found[np.flatnonzero(good[:count])]
        posed = self.pose(seen, predicted, *self._measured(ranges, seen))
        return Tracked(posed, seen, found[np.flatnonzero(good[count:]) + count], count)

    def pose(
        self, found: Found, start: Floats, depth: Floats | None = None, depth_sigma: Floats | None = None
    ) -> Posed:
        """The pose that agrees best with mapped points."""
        rays, moves = self._rays.tangents(found.pixels)
        usable = np.isfinite(rays).all(axis=1) & np.isfinite(moves).all(axis=(1, 2))
        if not usable.all():
            # Beyond the lens's domain nothing is known: a point that no pose agrees with.
            rays[~usable], moves[~usable] = (0.0, 0.0, -1.0), 0.0
        return refine_pose(self._atlas.points.xyz[found.rows], rays, moves, found.covariance, start, depth, depth_sigma)

    def _measured(self, ranges: Ranges, seen: Found) -> tuple[Floats | None, Floats | None]:
        return ranges.at(seen.pixels, np.zeros(len(seen))) if ranges.is_cheap else (None, None)

    def turn(self, first: Found, second: Found) -> tuple[Floats, int] | None:
        """The rotation from one frame to another that does nothing but turn.

        Args:
            first: what the one sees.
            second: what the other sees.

        Returns:
            (3, 3) and how many points agree with it; None where it does not explain nearly all of them.
        """
        _, i, j = np.intersect1d(first.rows, second.rows, return_indices=True)
        a, b = self._rays.rays(first.pixels[i]), self._rays.rays(second.pixels[j])
        seen = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
        a, b = a[seen], b[seen]
        kept = np.ones(len(a), np.bool_)
        rotation = np.eye(3)
        for _ in range(3):
            if int(kept.sum()) < self._options.min_inliers:
                return None
            # The rotation between two sets of directions: Wahba's problem, by singular values.
            u, _, vh = np.linalg.svd(b[kept].T @ a[kept])
            rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vh)]) @ vh
            off = np.linalg.norm(a @ rotation.T - b, axis=1) * self._rays.pixels_per_radian
            kept = off < _TURN_ERROR
        return (rotation, int(kept.sum())) if kept.mean() > _TURN_SHARE else None

    def parallax(self, seen: Found, key: Key, cam_from_world: Floats) -> float:
        """Median angle that the rays have turned since a key frame beyond its rotation, radians; NaN without any."""
        _, here, there = np.intersect1d(seen.rows, key.rows, return_indices=True)
        if not len(here):
            return math.nan
        cam_from_key = cam_from_world[:3, :3] @ key.cam_from_world[:3, :3].T
        turned = self._rays.rays(key.pixels[there]) @ cam_from_key.T
        cosine = np.clip((turned * self._rays.rays(seen.pixels[here])).sum(1), -1.0, 1.0)
        return float(np.nanmedian(np.arccos(cosine)))
