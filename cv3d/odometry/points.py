"""The points of the map and those that may become one: one table, a row for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.aligners import Aligner, aligner_for
from cv3d.odometry.patches import RADIUS, Levels
from cv3d.odometry.rays import RayTable

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]

FREE, CANDIDATE, MAPPED = 0, 1, 2
"""What a row holds: nothing; a point whose depth is not known well enough; a point of the map."""


class PointTable:
    """Points as arrays that grow; freed rows are used again."""

    def __init__(self, capacity: int = 2048, aligner: Aligner | None = None) -> None:
        """An empty table.

        Args:
            capacity: rows to begin with.
            aligner: keeps the patches; None: on the CPU.
        """
        self.aligner = aligner or aligner_for()
        """Holds the patch of every row, and finds it in pictures."""
        self.aligner.reserve(capacity)
        self.kind = np.zeros(capacity, np.uint8)
        self.xyz = np.zeros((capacity, 3))
        """In the world; of a candidate, a guess."""
        self.host = np.full(capacity, -1, np.int64)
        """The key frame where its patch was taken."""
        self.host_rays = np.zeros((capacity, 3, 3))
        """Rays in the host's frame to the place and to its neighbours RADIUS pixels to the right and below, the latter
        as long as they are in the plane across the first."""
        self.last_frame = np.full(capacity, -1, np.int64)
        """The frame in which it was followed last."""
        self.last_pixel = np.zeros((capacity, 2), np.float32)
        self.views = np.zeros(capacity, np.int64)
        """Key frames that see it."""
        self.misses = np.zeros(capacity, np.int64)
        """Frames in a row in which it should have been seen, and was not."""
        self.inverse_depth = np.zeros(capacity)
        """Of a candidate: of its distance from the host, with `inverse_sigma`."""
        self.inverse_sigma = np.zeros(capacity)
        self.segment = np.full(capacity, -1, np.int64)
        self.color = np.zeros((capacity, 3), np.uint8)
        self._free: list[int] = list(range(capacity - 1, -1, -1))
        self._dead: list[int] = []

    def __len__(self) -> int:
        return len(self.kind) - len(self._free) - len(self._dead)

    @property
    def patches(self) -> NDArray[np.uint8]:
        """(capacity, LEVELS, S, S) patches of all rows; see :meth:`Aligner.patches`."""
        return self.aligner.patches()

    def take(self, count: int) -> Rows:
        """Rows for so many new points."""
        while len(self._free) < count:
            self._grow()
        return np.array([self._free.pop() for _ in range(count)], np.int64)

    def free(self, rows: Rows) -> None:
        """Give points up. Their rows stay empty until :meth:`recycle`, as key frames still name them."""
        gone = rows[self.kind[rows] != FREE]
        self.kind[gone] = FREE
        self._dead.extend(gone.tolist())

    @property
    def dead_count(self) -> int:
        """Rows that wait for :meth:`recycle`."""
        return len(self._dead)

    def recycle(self) -> None:
        """Make the rows of points given up available. Nobody may name them any more."""
        self._free.extend(reversed(self._dead))
        self._dead = []

    def begin(
        self,
        pixels: Pixels,
        levels: Levels,
        rays: RayTable,
        host: int,
        frame: int,
        segment: int,
    ) -> Rows:
        """New candidates at pixels (n, 2) of a key frame, without a depth yet; their rows."""
        rows = self.take(len(pixels))
        self.kind[rows] = CANDIDATE
        self.segment[rows] = segment
        self.views[rows] = 0
        self.misses[rows] = 0
        self.inverse_sigma[rows] = 0.0
        self.rehost(rows, pixels, levels, rays, host)
        self.last_frame[rows] = frame
        self.last_pixel[rows] = pixels
        return rows

    def rehost(self, rows: Rows, pixels: Pixels, levels: Levels, rays: RayTable, host: int) -> None:
        """Take the patches of points anew, from where a key frame sees them."""
        self.host[rows] = host
        step = np.float32(RADIUS)
        ray = rays.rays(pixels)
        across = []
        for offset in ((step, 0.0), (0.0, step)):
            beside = rays.rays(pixels + np.array(offset, np.float32))
            # The border has no neighbour on that side; the one on the other side will do.
            other = rays.rays(pixels - np.array(offset, np.float32))
            beside = np.where(np.isfinite(beside), beside, 2.0 * ray - other)
            across.append(beside / np.maximum((beside * ray).sum(1), 1e-3)[:, None])
        self.host_rays[rows] = np.stack([ray, *across], axis=1)
        self.aligner.take(levels, pixels, rows)

    def _grow(self) -> None:
        old = len(self.kind)
        self.aligner.reserve(2 * old)
        for name, values in vars(self).items():
            if isinstance(values, np.ndarray):
                grown = np.zeros((2 * old, *values.shape[1:]), values.dtype)
                grown[:old] = values
                if name in ("host", "last_frame", "segment"):
                    grown[old:] = -1
                setattr(self, name, grown)
        self._free[:0] = range(2 * old - 1, old - 1, -1)
