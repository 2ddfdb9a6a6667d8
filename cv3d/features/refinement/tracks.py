"""Tracks of posed pictures, refined: every observation aligned to one of its track, over the plane at its point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cv3d.compute import Compute
from cv3d.features.refinement.course import Course
from cv3d.features.refinement.observations import Ints, PictureCache, Pictures, groups
from cv3d.features.refinement.options import SetOptions
from cv3d.features.refinement.results import Bools, Floats
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.local_affinity import facing_affinities
from cv3d.geometry.pixel_rays import pixels_per_radian
from cv3d.progress import SILENT, Progress


@dataclass(frozen=True, eq=False)
class TrackRefinement:
    """Refined observations, in the order handed in."""

    pixels: Floats
    """(m, 2); as given where not refined."""
    covariances: Floats
    """(m, 2, 2), pixels squared; NaN where not refined."""
    mask: Bools
    """(m,), whether the observation was aligned, or is what others of its track are aligned to."""
    references: Bools
    """(m,), whether the observation is the reference of its track, and so has kept its place."""


def refine_tracks(
    pictures: Pictures,
    cameras: Sequence[Camera],
    cam_from_world: Floats,
    points: Floats,
    views: Ints,
    tracks: Ints,
    pixels: Floats,
    compute: Compute,
    options: SetOptions | None = None,
    progress: Progress = SILENT,
) -> TrackRefinement:
    """Align the observations of every track to one of them.

    The reference is the observation that would have the most pixels on a surface that faces the mean of the viewing
    directions. What does not align to it is tried from the observation, among those that did, whose view differs
    least.

    Args:
        pictures: gives a picture by its number.
        cameras: of each picture.
        cam_from_world: (P, 4, 4), their poses.
        points: (t, 3), in the world, one for each track; not finite ones are left out.
        views: (m,), the picture of each observation.
        tracks: (m,), its track, as a row of `points`. A track has at most one observation in a picture.
        pixels: (m, 2), where it is now.
        compute: the device of the alignment.
        options: patches, what is accepted, and memory.
        progress: is told how far it is, in observations.

    Raises:
        InputError: a picture is not grey, or of another type.
        ValueError: shapes that do not match.
    """
    options = options or SetOptions()
    views, tracks = np.asarray(views, dtype=np.int64), np.asarray(tracks, dtype=np.int64)
    pixels = np.asarray(pixels, dtype=np.float64)
    count = len(views)
    if tracks.shape != (count,) or views.shape != (count,) or pixels.shape != (count, 2):
        raise ValueError(f"observations are (m,), (m,) and (m, 2), got {views.shape}, {tracks.shape}, {pixels.shape}")
    if cam_from_world.shape != (len(cameras), 4, 4):
        raise ValueError(f"{len(cameras)} cameras need poses ({len(cameras)}, 4, 4), got {cam_from_world.shape}")
    scene = _Scene(cameras, np.asarray(cam_from_world, dtype=np.float64), points, views, tracks, pixels)
    is_reference = scene.references()
    of_track = np.full(len(points), -1, dtype=np.int64)
    of_track[tracks[is_reference]] = np.flatnonzero(is_reference)
    cache = PictureCache(pictures, compute, options.max_pixels)
    course = Course(pixels, views, is_reference)
    rows = np.flatnonzero(~is_reference & (of_track[tracks] >= 0) & scene.usable)
    sources = of_track[tracks[rows]]
    for attempt in range(options.rounds):
        if attempt:
            rows, sources = scene.retries(course.mask, course.tried)
        if not len(rows):
            break
        affinities = scene.affinities(sources, rows)
        course.align(rows, sources, affinities, cache, compute, options.alignment, progress)
    return TrackRefinement(*course.result())


class _Scene:
    """Observations with the directions from which they see their points."""

    def __init__(
        self,
        cameras: Sequence[Camera],
        cam_from_world: Floats,
        points: Floats,
        views: Ints,
        tracks: Ints,
        pixels: Floats,
    ) -> None:
        self._cameras, self._poses, self._points = cameras, cam_from_world, points
        self._views, self._tracks, self._pixels = views, tracks, pixels
        self._back = inverse_rigid(cam_from_world)
        first_of = {camera: index for index, camera in reversed(list(enumerate(cameras)))}
        self._camera_of: Ints = np.array([first_of[camera] for camera in cameras], dtype=np.int64)
        offsets = points[tracks] - self._back[views, :3, 3]
        distance = np.linalg.norm(offsets, axis=1)
        self.usable: Bools = np.asarray(np.isfinite(distance) & (distance > 0.0))
        self._directions = np.where(self.usable[:, None], offsets, 1.0)
        self._directions /= np.linalg.norm(self._directions, axis=1, keepdims=True)
        resolution = np.array([pixels_per_radian(camera) for camera in cameras])
        self._resolution = resolution[views] / np.where(self.usable, distance, np.inf)

    def references(self) -> Bools:
        """(m,), the observation of each track with the most pixels on the surface."""
        mean = np.zeros((len(self._points), 3))
        np.add.at(mean, self._tracks[self.usable], self._directions[self.usable])
        mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        pixels = self._resolution * (self._directions * mean[self._tracks]).sum(axis=1)
        order = np.lexsort((-pixels, self._tracks))
        order = order[self.usable[order]]
        first = np.ones(len(order), dtype=bool)
        first[1:] = np.diff(self._tracks[order]) != 0
        chosen = np.zeros(len(pixels), dtype=bool)
        chosen[order[first]] = True
        return chosen

    def affinities(self, sources: Ints, rows: Ints) -> Floats:
        """(k, 2, 2), derivatives of the pixels of observations `rows` by those of `sources`."""
        result = np.full((len(rows), 2, 2), np.nan)
        one, two = self._views[sources], self._views[rows]
        poses = self._poses[one]
        seen = (poses[:, :3, :3] @ self._points[self._tracks[rows]][:, :, None])[..., 0] + poses[:, :3, 3]
        relative = self._poses[two] @ self._back[one]
        kinds = self._camera_of[one] * len(self._cameras) + self._camera_of[two]
        for part in groups(kinds):
            first, second = divmod(int(kinds[part[0]]), len(self._cameras))
            result[part] = facing_affinities(
                self._pixels[sources[part]], seen[part], self._cameras[first], self._cameras[second], relative[part]
            )
        return result

    def retries(self, mask: Bools, tried: set[tuple[int, int]]) -> tuple[Ints, Ints]:
        """Observations still open, and for each the aligned one of its track that sees it most alike, if untried."""
        order = np.argsort(self._tracks, kind="stable")
        starts = np.searchsorted(self._tracks[order], np.arange(len(self._points) + 1))
        rows, sources = [], []
        for row in np.flatnonzero(~mask & self.usable).tolist():
            track = int(self._tracks[row])
            others = order[starts[track] : starts[track + 1]]
            others = others[mask[others]]
            alike = self._directions[others] @ self._directions[row]
            for other in others[np.argsort(-alike, kind="stable")].tolist():
                if (other, row) not in tried:
                    rows.append(row)
                    sources.append(other)
                    break
        return np.array(rows, dtype=np.int64), np.array(sources, dtype=np.int64)
