"""A key frame as the index keeps it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.odometry.places.describing import Description

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Place:
    """A key frame with its descriptors and what is known of the depth of its rows. It is never changed in place."""

    key: int
    """The caller's number of the key frame."""
    segment: int
    """The stretch of connected tracking it belongs to."""
    pixels: NDArray[np.float32]
    """(n, 2), pixels of the picture."""
    descriptors: NDArray[np.float16]
    """(n, 64) of unit length, to half precision."""
    points_in_cam: NDArray[np.float32]
    """(n, 3) in the key frame's camera, in the unit of its segment; NaN where it is not known."""
    pixel_size: float
    """See :class:`Description`."""

    @classmethod
    def of(cls, key: int, segment: int, description: Description, points_in_cam: Floats) -> Place:
        """The place of a description.

        Raises:
            InputError: there are not as many points as rows.
        """
        place = cls(
            key,
            segment,
            description.pixels,
            description.descriptors.astype(np.float16),
            np.zeros((0, 3), np.float32),
            description.pixel_size,
        )
        return place.with_points(points_in_cam)

    def with_points(self, points_in_cam: Floats) -> Place:
        """The same place with other points, (n, 3) float64, NaN where unknown.

        Raises:
            InputError: there are not as many points as rows.
        """
        if points_in_cam.shape != (len(self.pixels), 3):
            raise InputError(f"a place of {len(self.pixels)} rows has points (n, 3), not {points_in_cam.shape}")
        return replace(self, points_in_cam=points_in_cam.astype(np.float32))

    def moved(self, segment: int, scale: float) -> Place:
        """The same place in another segment, whose lengths are `scale` times those of its old one."""
        return replace(self, segment=segment, points_in_cam=self.points_in_cam * np.float32(scale))

    @property
    def known(self) -> NDArray[np.intp]:
        """Rows whose points are known, (k,)."""
        return np.flatnonzero(np.isfinite(self.points_in_cam).all(axis=1))

    @property
    def bytes(self) -> int:
        """Memory of its arrays."""
        return self.pixels.nbytes + self.descriptors.nbytes + self.points_in_cam.nbytes
