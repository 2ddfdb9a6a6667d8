"""The first map of a single camera: follow corners until two frames tell a motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.beginning import FirstMap, first_map
from cv3d.odometry.corners import find_corners
from cv3d.odometry.found import Found
from cv3d.odometry.patches import Levels
from cv3d.odometry.points import PointTable
from cv3d.odometry.rays import RayTable
from cv3d.odometry.records import Record
from cv3d.odometry.searching import Expected, look

Pixels = NDArray[np.float32]

_TOP = 3
"""Coarsest level of the search: nothing predicts the motion yet."""
_FEWEST = 60
_SHARE = 0.35
"""Share of the anchor's corners below which another frame becomes the anchor."""
_MOVED = 0.012
"""Median shift since the last attempt, over the picture's width, from which on another one is made."""
_STILL = 0.5
"""Median shift, pixels, below which the camera stands still."""


@dataclass(eq=False)
class Pending:
    """A frame that waits for the map."""

    record: Record
    found: Found


class MonoStart:
    """Waits for parallax."""

    def __init__(self, points: PointTable, rays: RayTable, max_points: int, distance: float, max_pending: int) -> None:
        self._points = points
        self._rays = rays
        self._max_points = max_points
        self._distance = distance
        self._max_pending = max_pending
        self.pending: list[Pending] = []
        self.anchor: Found = Found.nothing()
        """What the anchor sees, in the order of rows."""
        self._alive: Found = Found.nothing()
        self._flow = np.zeros(2, np.float32)
        self._attempted: Found | None = None

    def set_anchor(self, levels: Levels, found: Found, host: int, frame: int, segment: int) -> Found:
        """Make a frame the one that a later one will be related to.

        Args:
            levels: of its picture.
            found: what is still followed.
            host: number of its key frame.
            frame: its index.
            segment: that begins here.

        Returns:
            What it sees, in the order of rows.
        """
        self._points.free(np.setdiff1d(self.anchor.rows, found.rows))
        self._points.rehost(found.rows, found.pixels, levels, self._rays, host)
        corners = find_corners(levels, found.pixels, self._max_points - len(found), self._distance)
        begun = self._points.begin(corners, levels, self._rays, host, frame, segment)
        seen = Found.begun(found.rows, found.pixels).and_then(Found.begun(begun, corners))
        self.anchor = self._alive = seen[np.argsort(seen.rows, kind="stable")]
        self._flow = np.zeros(2, np.float32)
        self._attempted = None
        return self.anchor

    def follow(self, levels: Levels) -> Found:
        """Where the anchor's corners are in the next frame."""
        rows, last = self._alive.rows, self._alive.pixels
        identity = np.tile(np.eye(2, dtype=np.float32), (len(rows), 1, 1))
        best = Found.nothing()
        # Moving on as before, or standing: whichever finds more.
        for guess in (last + self._flow, last):
            found = look(self._points, Expected(rows, guess, identity), levels, _TOP)
            good = np.flatnonzero(found.ncc > 0.75)
            if len(good) > len(best):
                best = found[good]
                self._flow = np.median(best.pixels - last[good], axis=0).astype(np.float32)
            if len(best) > 0.7 * len(rows):
                break
        self._alive = best
        return best

    def needs_anchor(self) -> bool:
        """Whether too little of the anchor is left."""
        return len(self._alive) < max(_SHARE * len(self.anchor), _FEWEST)

    def wait(self, record: Record, found: Found) -> None:
        """Remember a frame for when there is a map."""
        self.pending.append(Pending(record, found))
        del self.pending[: -self._max_pending]

    def shift(self) -> float:
        """Median shift since the anchor, pixels."""
        at = self._at_anchor()
        return float(np.median(np.linalg.norm(self._alive.pixels - at, axis=1))) if len(at) else 0.0

    def attempt(self, seed: int) -> FirstMap | None:
        """A first map of the anchor and the latest frame; None where nothing has moved since the last attempt."""
        at = self._at_anchor()
        since = (
            at
            if self._attempted is None
            else self._attempted.pixels[np.searchsorted(self._attempted.rows, self._alive.rows)]
        )
        moved = np.median(np.linalg.norm(self._alive.pixels - since, axis=1)) if len(at) else 0.0
        if moved < _MOVED * self._rays.camera.width:
            return None
        self._attempted = self._alive
        return first_map(at, self._alive.pixels, self._rays.camera, self._rays, seed)

    def is_still(self) -> bool:
        """Whether nothing has moved at all since the anchor."""
        return self.shift() < _STILL

    def _at_anchor(self) -> Pixels:
        return self.anchor.pixels[np.searchsorted(self.anchor.rows, self._alive.rows)]
