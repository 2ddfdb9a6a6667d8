"""Places known again: what key frames look like, where a frame is among them, and when the path has closed a loop."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute, torch_threads
from cv3d.geometry.cameras import Camera
from cv3d.odometry.depths import read_depths
from cv3d.odometry.keys import Key
from cv3d.odometry.places import (
    Describer,
    Description,
    Located,
    LocateOptions,
    Place,
    PlaceIndex,
    Similarity,
    locate,
    similarity,
)
from cv3d.odometry.points import MAPPED, PointTable
from cv3d.odometry.rays import RayTable

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

_LAG = 20
"""Frames after which what a key frame was recognised as is taken into account, so that runs are repeatable."""
_APART = 30
"""Frames between a key frame and a place that count as having been there before."""
_CANDIDATES = 3
_MIN_SCORE = 0.5
"""Least likeness of two pictures that are compared in detail."""


@dataclass(frozen=True, eq=False)
class View:
    """A key frame as it is handed over for recognition."""

    key: int
    frame: int
    segment: int
    gray: Image
    pixels: NDArray[np.float32]
    """(n, 2) of the map's points in it."""
    points_in_cam: Floats
    """(n, 3)"""
    depth: NDArray[np.float32] | None
    """The depth picture, where there is one: it knows the keypoints' depth, too."""


@dataclass(frozen=True, eq=False)
class Recognised:
    """What came of it."""

    view: View
    found: tuple[Located | Similarity, ...]
    """Places that it shows."""


class Recognizer:
    """Describes key frames beside the tracking, and finds them among the earlier ones."""

    def __init__(self, compute: Compute, camera: Camera, rays: RayTable, *, is_metric: bool, seed: int) -> None:
        self._compute = compute
        self._camera = camera
        self._rays = rays
        self._is_metric = is_metric
        self._options = LocateOptions(seed=seed)
        self._describer: Describer | None = None
        self.index = PlaceIndex()
        self._frames: dict[int, int] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="cv3d-places")
        self._waiting: tuple[int, Future[Recognised]] | None = None

    def warm_up(self) -> None:
        """Load the network beside the first frames."""
        self._pool.submit(self.describe, np.zeros((self._camera.height, self._camera.width), np.uint8))

    @property
    def is_busy(self) -> bool:
        """Whether a key frame is at work."""
        return self._waiting is not None

    def submit(self, view: View, apart_from: Sequence[int]) -> None:
        """Begin to recognise a key frame; one at a time.

        Args:
            view: the key frame.
            apart_from: key frames that see the same anyway.
        """
        self._waiting = view.frame, self._pool.submit(self._recognise, view, frozenset(apart_from))

    def take(self, frame: int, *, is_last: bool = False) -> Recognised | None:
        """What has been recognised, once it is due at this frame."""
        if self._waiting is None or (frame < self._waiting[0] + _LAG and not is_last):
            return None
        done = self._waiting[1].result()
        self._waiting = None
        return done

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def describe(self, gray: Image, pixels: NDArray[np.float32] | None = None) -> Description:
        """Describe a picture now."""
        if self._describer is None:
            self._describer = Describer(self._compute, max_keypoints=768, max_side=480)
        return self._describer.describe(gray, pixels)

    def place(self, view: View, description: Description) -> Place:
        """A key frame as a place."""
        return Place.of(view.key, view.segment, description, self._known(view, description))

    def find(self, description: Description, places: Sequence[Place]) -> Located | None:
        """Where a picture is among places: the best of them."""
        best: Located | None = None
        for place in places:
            found = locate(description, place, self._camera, self._options)
            if found is not None and (best is None or found.inliers > best.inliers):
                best = found
        return best

    def likely(self, description: Description, limit: int) -> list[Place]:
        """Places that a picture may show."""
        return [self.index[one.key] for one in self.index.candidates(description, limit=limit, min_score=_MIN_SCORE)]

    def _recognise(self, view: View, apart_from: frozenset[int]) -> Recognised:
        with torch_threads(1):
            description = self.describe(view.gray, view.pixels)
        known = self._known(view, description)
        recent = {key for key, frame in self._frames.items() if frame > view.frame - _APART}
        candidates = self.index.candidates(description, apart_from | recent, _CANDIDATES, _MIN_SCORE)
        query = Place.of(view.key, view.segment, description, known)
        found: list[Located | Similarity] = []
        for candidate in candidates:
            place = self.index[candidate.key]
            one = (
                locate(description, place, self._camera, self._options)
                if self._is_metric
                else similarity(query, place, self._camera, self._options)
            )
            if one is not None:
                found.append(one)
        self.index.add(view.key, view.segment, description, known)
        self._frames[view.key] = view.frame
        return Recognised(view, tuple(found))

    def _known(self, view: View, description: Description) -> Floats:
        """(n, 3) points of the description's rows in the camera, NaN where there is none."""
        count = description.keypoint_count
        points = np.full((len(description), 3), np.nan)
        points[count:] = view.points_in_cam
        if view.depth is not None:
            scale = np.array(view.depth.shape[::-1]) / np.array(view.gray.shape[::-1])
            depth, _ = read_depths(view.depth, (description.pixels[:count] + 0.5) * scale - 0.5)
            rays = self._rays.rays(description.pixels[:count])
            with np.errstate(invalid="ignore"):
                ahead = (depth > 0.0) & (rays[:, 2] > 0.1)
                points[:count][ahead] = rays[ahead] * (depth[ahead] / rays[ahead, 2])[:, None]
        return points


def view_of(key: Key, gray: Image, points: PointTable, depth: NDArray[np.float32] | None) -> View:
    """A key frame for recognition, with its points as they stand."""
    mapped = points.kind[key.rows] == MAPPED
    seen = points.xyz[key.rows[mapped]] @ key.cam_from_world[:3, :3].T + key.cam_from_world[:3, 3]
    return View(key.number, key.frame, key.segment, gray, key.pixels[mapped].copy(), seen, depth)
