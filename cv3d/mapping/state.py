"""A map while it grows: cameras, the pictures placed so far, the points they see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.epipolar import epipolar_angles
from cv3d.geometry.pixel_rays import pixel_rays, pixels_per_radian
from cv3d.mapping.graph import MatchGraph, PicturePair, TrackTable
from cv3d.mapping.triangulating import ray_angles, triangulate_tracks

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Tolerances:
    """When an observation agrees with a point, and when a point is determined."""

    max_error: float = 4.0
    """Largest reprojection error, in pixels as matched, or deviations where an observation's noise is known."""
    min_angle_deg: float = 1.5
    """Between two rays of a point, degrees."""


class MapState:
    """What is known so far. Rows are those of the table of tracks; a row is active where its point agrees with it."""

    def __init__(self, graph: MatchGraph, table: TrackTable, cameras: list[Camera], camera_of: Ints) -> None:
        """Begin with nothing placed.

        Args:
            graph: pictures and matches.
            table: their tracks.
            cameras: the intrinsics as they are known or guessed.
            camera_of: (P,), which camera took each picture.
        """
        self.graph, self.table = graph, table
        self.cameras, self.camera_of = cameras, camera_of
        self.tolerances = Tolerances()
        count = len(graph)
        self.poses: Floats = np.tile(np.eye(4), (count, 1, 1))
        self.placed: Bools = np.zeros(count, np.bool_)
        self.points: Floats = np.full((table.count, 3), np.nan)
        self.active: Bools = np.zeros(len(table), np.bool_)
        offsets = np.concatenate([[0], np.cumsum([len(points) for points in graph.keypoints])])
        self.pixels: Floats = np.concatenate([np.zeros((0, 2)), *graph.keypoints])[
            offsets[table.picture] + table.keypoint
        ]
        self.sigma: Floats = graph.noise[table.picture]
        """(N,), deviation of one coordinate of each row, pixels; one pixel as matched until it is refined."""
        self.covariance: Floats | None = None
        """(N, 2, 2), of refined rows, pixels squared."""
        self._rays: Floats | None = None
        self._resolution: Floats | None = None

    @property
    def has_point(self) -> Bools:
        """Which tracks have a point, (T,)."""
        known: Bools = np.isfinite(self.points[:, 0])
        return known

    def camera(self, picture: int) -> Camera:
        """Of a picture."""
        return self.cameras[int(self.camera_of[picture])]

    def set_cameras(self, cameras: list[Camera]) -> None:
        """Take adjusted intrinsics."""
        self.cameras = cameras
        self._rays = self._resolution = None

    def set_pixels(self, pixels: Floats, sigma: Floats, covariance: Floats | None) -> None:
        """Take refined places of all rows."""
        self.pixels, self.sigma, self.covariance = pixels, sigma, covariance
        self._rays = None

    def rays(self) -> Floats:
        """Unit rays of all rows in their cameras, (N, 3); NaN outside the lens's domain."""
        if self._rays is None:
            self._rays = np.full((len(self.table), 3), np.nan)
            cameras = self.camera_of[self.table.picture]
            for index, camera in enumerate(self.cameras):
                rows = np.flatnonzero(cameras == index)
                if len(rows):
                    found = pixel_rays(camera, self.pixels[rows])
                    self._rays[rows] = np.where(found.valid[:, None], found.rays, np.nan)
        return self._rays

    def tolerance_rad(self) -> Floats:
        """Largest angle between a row's ray and its point, (N,), radians."""
        if self._resolution is None:
            self._resolution = np.array([pixels_per_radian(camera) for camera in self.cameras])
        per_row = self._resolution[self.camera_of[self.table.picture]]
        return self.tolerances.max_error * self.sigma / per_row

    def centres(self) -> Floats:
        """Where the cameras are, (P, 3)."""
        centres: Floats = inverse_rigid(self.poses)[:, :3, 3]
        return centres

    def relative_pose(self, first: int, second: int) -> Floats:
        """second_from_first of two placed pictures, (4, 4)."""
        relative: Floats = self.poses[second] @ inverse_rigid(self.poses[first][None])[0]
        return relative

    def mapped_rows(self, picture: int) -> Ints:
        """Rows of a picture whose track has a point, active or not."""
        return np.flatnonzero((self.table.picture == picture) & self.has_point[self.table.track])

    def agreeing_matches(self, graph: MatchGraph, pair: PicturePair, limits: tuple[float, float]) -> Bools:
        """Which matches of a pair of placed pictures lie near each other's epipolar curves, (k,).

        Args:
            graph: whose keypoints the matches are of.
            pair: the pair.
            limits: largest distance in the first picture and in the second, pixels.
        """
        one, two = self.camera(pair.first), self.camera(pair.second)
        pixels0 = graph.keypoints[pair.first][pair.matches[:, 0]]
        pixels1 = graph.keypoints[pair.second][pair.matches[:, 1]]
        angles = epipolar_angles(one, two, self.relative_pose(pair.first, pair.second), pixels0, pixels1)
        largest = np.array([limits[0] / pixels_per_radian(one), limits[1] / pixels_per_radian(two)])
        agrees: Bools = np.asarray((angles <= largest).all(axis=1))
        return agrees

    def usable_rows(self) -> Bools:
        """Rows of placed pictures with a ray, (N,)."""
        usable: Bools = self.placed[self.table.picture] & np.isfinite(self.rays()[:, 0])
        return usable

    def triangulate(self, only: Bools | None = None) -> int:
        """Give points to tracks without one that placed pictures determine.

        Args:
            only: (T,), tracks to look at.

        Returns:
            How many new points there are.
        """
        wanted = ~self.has_point if only is None else ~self.has_point & only
        tracks = np.flatnonzero(wanted)
        rows, starts = self._rows_of(tracks)
        usable = self.usable_rows()[rows]
        pictures = self.table.picture[rows]
        rays = np.einsum("nji,nj->ni", self.poses[pictures, :3, :3], self.rays()[rows])
        least = np.radians(self.tolerances.min_angle_deg)
        points, agrees = triangulate_tracks(
            starts, usable, rays, self.centres()[pictures], self.tolerance_rad()[rows], least
        )
        found = np.isfinite(points[:, 0])
        self.points[tracks[found]] = points[found]
        self.active[rows[agrees]] = True
        return int(found.sum())

    def errors(self, rows: Ints) -> Floats:
        """Reprojection error of rows over their deviations, (n,); infinite behind the camera or outside the lens."""
        result = np.full(len(rows), np.inf)
        pictures = self.table.picture[rows]
        poses = self.poses[pictures]
        seen = np.einsum("nij,nj->ni", poses[:, :3, :3], self.points[self.table.track[rows]]) + poses[:, :3, 3]
        cameras = self.camera_of[pictures]
        for index, camera in enumerate(self.cameras):
            part = np.flatnonzero(cameras == index)
            if len(part):
                off = camera.project(seen[part]) - self.pixels[rows[part]]
                length = np.linalg.norm(off, axis=1) / self.sigma[rows[part]]
                result[part] = np.where(np.isfinite(length), length, np.inf)
        return result

    def reconsider(self, pictures: Bools | None = None) -> int:
        """Decide anew which rows agree with their point, and drop points that are no longer determined.

        Args:
            pictures: (P,), those whose rows are looked at; None: all placed ones.

        Returns:
            How many rows changed.
        """
        before = self.active.copy()
        looked = self.placed if pictures is None else pictures & self.placed
        rows = np.flatnonzero(looked[self.table.picture] & self.has_point[self.table.track])
        self.active[rows] = self.errors(rows) <= self.tolerances.max_error
        self.active &= self.placed[self.table.picture]
        self.drop_undetermined()
        return int((before != self.active).sum())

    def saved(self) -> tuple[Floats, Bools, Floats, Bools, list[Camera]]:
        """What :meth:`restore` brings back."""
        return self.poses.copy(), self.placed.copy(), self.points.copy(), self.active.copy(), list(self.cameras)

    def restore(self, saved: tuple[Floats, Bools, Floats, Bools, list[Camera]]) -> None:
        """Go back to what :meth:`saved` gave."""
        self.poses, self.placed, self.points, self.active, cameras = saved
        self.set_cameras(cameras)

    def displace(self, pictures: Bools) -> None:
        """Take pictures out of the map, (P,)."""
        self.placed &= ~pictures
        self.active &= self.placed[self.table.picture]
        self.drop_undetermined()

    def counts(self) -> Ints:
        """Active rows of each picture, (P,)."""
        return np.bincount(self.table.picture[self.active], minlength=len(self.graph))

    def seen_counts(self) -> Ints:
        """Rows of each picture whose track has a point, active or not, (P,)."""
        return np.bincount(self.table.picture[self.has_point[self.table.track]], minlength=len(self.graph))

    def angles(self) -> Floats:
        """The largest angle under which active rows see each point, (T,), radians."""
        return ray_angles(self.table.starts, self.active, self.points, self.centres()[self.table.picture])

    def keep_agreeing(self) -> None:
        """Drop active rows that do not agree with their point; none becomes active."""
        rows = np.flatnonzero(self.active)
        self.active[rows] = self.errors(rows) <= self.tolerances.max_error
        self.drop_undetermined()

    def drop_undetermined(self) -> None:
        """Drop points that fewer than two active rows see, or under too narrow an angle."""
        enough = np.bincount(self.table.track[self.active], minlength=self.table.count) >= 2
        wide = self.angles() >= np.radians(self.tolerances.min_angle_deg)
        lost = self.has_point & ~(enough & wide)
        self.points[lost] = np.nan
        self.active &= ~lost[self.table.track]

    def _rows_of(self, tracks: Ints) -> tuple[Ints, Ints]:
        """The rows of some tracks, one after the other, and where each begins (t + 1,)."""
        first, last = self.table.starts[tracks], self.table.starts[tracks + 1]
        lengths = last - first
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
        rows = np.arange(starts[-1]) + np.repeat(first - starts[:-1], lengths)
        return rows.astype(np.intp), starts
