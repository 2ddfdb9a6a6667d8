"""A key frame that was found at a place, and whether two such findings say the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.places.closing import LoopConstraint
from cv3d.odometry.places.locating import Located
from cv3d.odometry.places.similarity import Similarity

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How far two findings may differ and say the same."""

    max_shift: float = 0.1
    """Difference of the camera's position, over the distance of what it sees."""
    max_turn_deg: float = 5.0
    """Difference of its orientation, degrees."""
    max_log_scale: float = 0.15
    """Difference of the logarithms of the scales."""


@dataclass(frozen=True, eq=False)
class Meeting:
    """A key frame at a place, each with its pose in the world of its own segment (which may be one and the same)."""

    query: int
    """Key of the key frame."""
    place: int
    """Key of the place."""
    world_from_query: Floats
    """(4, 4) rigid."""
    world_from_place: Floats
    """(4, 4) rigid."""
    place_from_query: Floats
    """(4, 4) rigid, or a similarity: lengths in the place's map over lengths in the query's."""
    covariance: Floats
    """(6, 6) or (7, 7), in the query's camera, see :class:`LoopConstraint`."""
    inliers: int
    """Rows that agree with it."""
    matches: int
    """Rows that had matched."""
    coverage: float
    """Share of the query's picture with inliers, see :class:`Located`."""
    depth: float
    """Median distance of the inliers from the query's camera, in the place's unit."""

    @classmethod
    def of(cls, query: int, found: Located | Similarity, world_from_query: Floats, world_from_place: Floats) -> Meeting:
        """The meeting of key frame `query` with the place that was found."""
        place_from_query: Floats = np.linalg.inv(found.query_from_place).astype(np.float64)
        depth = found.depth / found.scale if isinstance(found, Similarity) else found.depth
        return cls(
            query,
            found.key,
            np.asarray(world_from_query, dtype=np.float64),
            np.asarray(world_from_place, dtype=np.float64),
            place_from_query,
            found.covariance,
            found.inliers,
            found.matches,
            found.coverage,
            depth,
        )

    @property
    def place_world_from_query_world(self) -> Floats:
        """(4, 4) that takes the world of the query's segment onto that of the place's.

        For a loop within one segment it is what the drift between them amounts to.
        """
        carried: Floats = self.world_from_place @ self.place_from_query @ np.linalg.inv(self.world_from_query)
        return carried

    def constraint(self, first: int, second: int) -> LoopConstraint:
        """The loop between key frames by their indices: `first` that of the place, `second` that of the query."""
        return LoopConstraint(first, second, self.place_from_query, self.covariance)

    def agrees(self, place_world_from_query_world: Floats, tolerance: Agreement) -> bool:
        """Whether the two worlds lie to each other as given, judged here, at this meeting."""
        expected = np.linalg.inv(self.world_from_place) @ place_world_from_query_world @ self.world_from_query
        off = np.linalg.inv(self.place_from_query) @ expected
        scale = float(np.cbrt(np.linalg.det(off[:3, :3])))
        cosine = (float(np.trace(off[:3, :3])) / scale - 1.0) / 2.0
        shift = float(np.linalg.norm(expected[:3, 3] - self.place_from_query[:3, 3]))
        return (
            shift <= tolerance.max_shift * self.depth
            and cosine >= math.cos(math.radians(tolerance.max_turn_deg))
            and abs(math.log(scale)) <= tolerance.max_log_scale
        )
