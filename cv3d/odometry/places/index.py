"""The places of a recording, so that they are known again."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.geometry.cameras.camera import Camera
from cv3d.odometry.places.describing import Description
from cv3d.odometry.places.locating import Located, LocateOptions, locate
from cv3d.odometry.places.place import Place

Floats = NDArray[np.float64]

_NEWEST = 2
"""So many of the newest places are never given up."""


@dataclass(frozen=True)
class Candidate:
    """A place that a picture may show."""

    key: int
    score: float
    """Inner product of the two pictures' vectors: 1 for the same picture."""


class PlaceIndex:
    """Key frames that can be asked which of them a picture shows. Memory is bounded; threads may share it."""

    def __init__(self, max_places: int = 600) -> None:
        """An empty index.

        Args:
            max_places: how many places are kept. When there are more, the one goes that is most like the one before it
                in its segment. With 1024 keypoints and 300 points a place takes 0.2 MB.

        Raises:
            InputError: fewer than 4.
        """
        if max_places < 4:
            raise InputError(f"an index keeps at least 4 places, not {max_places}")
        self._max_places = max_places
        self._places: dict[int, Place] = {}
        self._whole: dict[int, NDArray[np.float32]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """The number of places kept."""
        return len(self._places)

    def __contains__(self, key: int) -> bool:
        """Whether the key frame is kept."""
        return key in self._places

    def __getitem__(self, key: int) -> Place:
        """A place as it stands.

        Raises:
            KeyError: it is not kept.
        """
        return self._places[key]

    @property
    def keys(self) -> tuple[int, ...]:
        """Keys of the places kept, in the order they came."""
        with self._lock:
            return tuple(self._places)

    @property
    def bytes(self) -> int:
        """Memory of the places."""
        with self._lock:
            places = sum(place.bytes for place in self._places.values())
            return places + sum(whole.nbytes for whole in self._whole.values())

    def add(self, key: int, segment: int, description: Description, points_in_cam: Floats) -> None:
        """Keep a key frame.

        Args:
            key: its number; a place of that number is replaced.
            segment: the stretch of connected tracking it belongs to.
            description: of its picture.
            points_in_cam: of every row of the description, (n, 3) in the key frame's camera, NaN where unknown.

        Raises:
            InputError: there are not as many points as rows.
        """
        place = Place.of(key, segment, description, np.asarray(points_in_cam, dtype=np.float64))
        with self._lock:
            self._places[key] = place
            self._whole[key] = description.whole
            if len(self._places) > self._max_places:
                self._forget(self._least_missed())

    def update_points(self, key: int, points_in_cam: Floats) -> None:
        """Tell what is now known of a place's points; one that is not kept (any more) is passed over.

        Args:
            key: the place.
            points_in_cam: (n, 3) in its camera, NaN where unknown.

        Raises:
            InputError: there are not as many points as rows.
        """
        with self._lock:
            if key in self._places:
                self._places[key] = self._places[key].with_points(np.asarray(points_in_cam, dtype=np.float64))

    def move_to_segment(self, keys: Collection[int], segment: int, scale: float = 1.0) -> None:
        """Count places to another segment, when two have been joined; keys that are not kept are passed over.

        Args:
            keys: the places.
            segment: their new segment.
            scale: lengths in the new segment over lengths in their old one.
        """
        with self._lock:
            for key in keys:
                if key in self._places:
                    self._places[key] = self._places[key].moved(segment, scale)

    def remove(self, key: int) -> None:
        """Give up a place; one that is not kept is passed over."""
        with self._lock:
            if key in self._places:
                self._forget(key)

    def candidates(
        self, description: Description, exclude: Collection[int] = (), limit: int = 5, min_score: float = 0.0
    ) -> list[Candidate]:
        """The places most like a picture, best first.

        Args:
            description: of the picture.
            exclude: keys not to name, such as those of key frames that share points with the picture.
            limit: most to name.
            min_score: to exceed.
        """
        with self._lock:
            left_out = set(exclude)
            keys = [key for key in self._whole if key not in left_out]
            if not keys or limit < 1:
                return []
            table = np.stack([self._whole[key] for key in keys])
        scores = table @ description.whole
        best = np.argsort(-scores, kind="stable")[:limit]
        return [Candidate(keys[i], float(scores[i])) for i in best if scores[i] > min_score]

    def locate(
        self,
        description: Description,
        key: int,
        camera: Camera,
        options: LocateOptions | None = None,
        guess: Floats | None = None,
    ) -> Located | None:
        """The pose of a picture by the points of a place; see :func:`cv3d.odometry.places.locating.locate`.

        Returns:
            None where no pose is supported beyond doubt, or the place is not kept (any more).
        """
        with self._lock:
            place = self._places.get(key)
        return None if place is None else locate(description, place, camera, options, guess)

    def _forget(self, key: int) -> None:
        del self._places[key], self._whole[key]

    def _least_missed(self) -> int:
        """The key of the place that is most like the one before it in its segment."""
        places = sorted(self._places.values(), key=lambda place: (place.segment, place.key))
        newest = set(list(self._places)[-_NEWEST:])
        whole = np.stack([self._whole[place.key] for place in places])
        likeness = (whole[1:] * whole[:-1]).sum(axis=1)
        best: tuple[float, int] | None = None
        for before, place, alike in zip(places[:-1], places[1:], likeness.tolist(), strict=True):
            is_open = place.segment == before.segment and place.key not in newest
            if is_open and (best is None or alike > best[0]):
                best = alike, place.key
        # Segments of one place each: the one that came first.
        return next(iter(self._places)) if best is None else best[1]
