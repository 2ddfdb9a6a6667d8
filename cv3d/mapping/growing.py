"""The incremental mapper: two pictures first, then the best next ones, adjusting as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.absolute_pose import AbsolutePoseOptions, estimate_absolute_pose
from cv3d.mapping.adjusting import adjust
from cv3d.mapping.intrinsics import FOCAL, HELD, RADIAL, KnownCamera
from cv3d.mapping.starting import Start, find_starts
from cv3d.mapping.state import MapState, Tolerances
from cv3d.progress import SILENT, Progress

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

STAGE = "place pictures"
_LEVELS = (2, 4, 8)
"""Cells along a picture's side, by which the spread of the points that it sees is measured."""
_NEARLY_BEST = 0.7
"""Pictures with this share of the best one's score are placed together with it."""
_TOGETHER = 0.34
"""Pictures placed at a time, over those that stand."""
_GROWN = 1.2
"""Growth from which on everything is adjusted, not only what is new."""
_ALL_UP_TO = 12
"""Pictures up to which everything is adjusted each time."""
_COVISIBLE = 12
"""Pictures that move with the new ones in a local adjustment."""
_FREE_FOCAL_FROM = 3
_FREE_RADIAL_FROM = 5
"""Pictures from which on these parameters are estimated while the map grows."""
_START_ANGLE_DEG = 2.0
"""A first map's points need a wider angle than later ones."""


@dataclass(frozen=True)
class GrowOptions:
    """How a map is grown."""

    max_error: float = 4.0
    """Largest reprojection error, pixels as matched."""
    min_angle_deg: float = 1.5
    """Smallest angle between the rays of a point, degrees."""
    min_points: int = 20
    """Points that a picture has to agree with to be placed."""
    min_share: float = 0.2
    """The same over the mapped points whose keypoints it has."""
    starts: int = 12
    """Pairs that a map is tried to be begun with."""
    seed: int = 0


@dataclass
class Attempts:
    """What became of the pictures that were tried, for the reasons told to the user."""

    reasons: dict[int, str] = field(default_factory=dict)
    """Why a picture could not be placed, in the last attempt."""
    points: dict[int, int] = field(default_factory=dict)
    """How many mapped points it saw."""


@dataclass
class Grower:
    """One map in the making."""

    state: MapState
    known: Sequence[KnownCamera]
    options: GrowOptions
    progress: Progress = SILENT
    attempts: Attempts = field(default_factory=Attempts)
    _adjusted_at: int = 0

    def begin(self, excluded: Bools) -> bool:
        """Place the first two pictures, trying one pair after the other.

        Args:
            excluded: (P,), pictures that belong to other maps.

        Returns:
            Whether there is a beginning.
        """
        starts = find_starts(self.state, excluded, 0.5 * self.options.max_error, self.options.seed)
        for tried, start in enumerate(starts):
            if tried >= self.options.starts:
                break
            if self._begin_with(start):
                return True
            self.state.displace(np.ones(len(self.state.graph), np.bool_))
        return False

    def grow(self, excluded: Bools) -> None:
        """Place what can be placed, the best next pictures first.

        Args:
            excluded: (P,), pictures that belong to other maps.
        """
        state, failed = self.state, np.zeros(len(self.state.graph), np.bool_)
        while True:
            chosen = self._next(excluded | failed)
            if not len(chosen):
                if not failed.any() or not self._adjust_all():
                    return
                # What did not fit before the adjustment is given one more chance after it.
                chosen = self._next(excluded)
                failed[:] = True
                if not len(chosen):
                    return
            placed = [picture for picture in chosen.tolist() if self._place(picture)]
            failed[chosen] = True
            failed[placed] = False
            if placed:
                self.progress.advance(STAGE, len(placed))
                self._extend(placed)
                # New points may be what the failed ones lacked.
                gained = state.seen_counts() > 1.3 * np.array(
                    [self.attempts.points.get(i, 0) for i in range(len(failed))]
                )
                failed &= ~gained

    def finish(self, stage: int, rounds: int = 3) -> None:
        """Complete tracks, adjust all and filter, by turns, until little changes.

        Args:
            stage: which intrinsics are free.
            rounds: at most.
        """
        state = self.state
        for turn in range(rounds):
            state.triangulate()
            state.reconsider()
            before = int(state.active.sum())
            adjust(state, self.known, stage=stage, iterations=30, tolerance=1e-5 if turn else 1e-4)
            changed = state.reconsider()
            self._drop_weak()
            if changed < 0.002 * max(before, 1):
                break

    def _begin_with(self, start: Start) -> bool:
        state, pair = self.state, start.pair
        motion = start.motion.cam1_from_cam0
        if motion is None:
            return False
        first, second = pair.first, pair.second
        state.poses[first], state.poses[second] = np.eye(4), motion
        state.placed[[first, second]] = True
        state.tolerances = Tolerances(self.options.max_error, _START_ANGLE_DEG)
        state.triangulate()
        adjust(state, self.known, iterations=15)
        state.reconsider()
        state.tolerances = Tolerances(self.options.max_error, self.options.min_angle_deg)
        if min(state.counts()[[first, second]]) < self.options.min_points:
            return False
        self._adjusted_at = 2
        return True

    def _next(self, excluded: Bools) -> Ints:
        """The pictures to place now, the best first."""
        state = self.state
        seen = state.seen_counts()
        open_ones = np.flatnonzero(~state.placed & ~excluded & (seen >= self.options.min_points))
        if not len(open_ones):
            return open_ones
        scores = np.array([self._score(picture) for picture in open_ones.tolist()])
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= _NEARLY_BEST * scores.max()]
        most = max(1, int(_TOGETHER * state.placed.sum()))
        chosen: Ints = open_ones[order[:most]]
        return chosen

    def _score(self, picture: int) -> float:
        """How many of the mapped points a picture sees, and how they are spread over it.

        Schönberger and Frahm 2016, "Structure-from-motion revisited", section 4.2.
        """
        state = self.state
        rows = state.mapped_rows(picture)
        width, height = state.camera(picture).width, state.camera(picture).height
        total = 0.0
        for cells in _LEVELS:
            places = np.floor(state.pixels[rows] / np.array([width, height]) * cells).clip(0, cells - 1)
            total += cells * cells * len(np.unique(places @ np.array([cells, 1.0])))
        return total

    def _place(self, picture: int) -> bool:
        state, options = self.state, self.options
        rows = state.mapped_rows(picture)
        self.attempts.points[picture] = len(rows)
        found = estimate_absolute_pose(
            state.points[state.table.track[rows]],
            state.pixels[rows],
            state.camera(picture),
            AbsolutePoseOptions(
                max_error=options.max_error * state.graph.noise[picture],
                min_inliers=options.min_points,
                seed=options.seed,
            ),
        )
        count = found.inlier_count
        if found.cam_from_world is None or not found.verified or count < options.min_share * len(rows):
            self.attempts.reasons[picture] = f"only {count} of its {len(rows)} points on the map agree on a place"
            return False
        state.poses[picture] = found.cam_from_world
        state.placed[picture] = True
        state.active[rows] = found.inliers
        self.attempts.reasons.pop(picture, None)
        return True

    def _extend(self, placed: list[int]) -> None:
        """Take in what new pictures see, and adjust."""
        state = self.state
        new = np.zeros(len(state.graph), np.bool_)
        new[placed] = True
        touched = np.zeros(state.table.count, np.bool_)
        touched[state.table.track[new[state.table.picture]]] = True
        state.triangulate(touched)
        count = int(state.placed.sum())
        if count <= _ALL_UP_TO or count >= _GROWN * self._adjusted_at:
            self._adjust_all()
            return
        free = self._neighbours(new)
        adjust(state, self.known, free=free, iterations=8, tolerance=1e-3)
        state.reconsider(free)
        self._drop_weak()

    def _adjust_all(self) -> bool:
        state = self.state
        count = int(state.placed.sum())
        if count == self._adjusted_at and count > _ALL_UP_TO:
            return False
        adjust(state, self.known, stage=stage_while_growing(count), iterations=15, tolerance=1e-3)
        state.reconsider()
        self._drop_weak()
        grown = count != self._adjusted_at
        self._adjusted_at = count
        return grown

    def _neighbours(self, new: Bools) -> Bools:
        """The new pictures and those that share the most points with them."""
        state = self.state
        tracks = np.zeros(state.table.count, np.bool_)
        tracks[state.table.track[state.active & new[state.table.picture]]] = True
        shared = np.bincount(state.table.picture[state.active & tracks[state.table.track]], minlength=len(new))
        shared[new] = 0
        free = new.copy()
        best = np.argsort(-shared, kind="stable")[:_COVISIBLE]
        free[best[shared[best] > 0]] = True
        return free

    def _drop_weak(self) -> None:
        """Take out pictures that lost their points."""
        weak = self.state.placed & (self.state.counts() < self.options.min_points // 2)
        if weak.any() and self.state.placed.sum() > 2:
            for picture in np.flatnonzero(weak).tolist():
                self.attempts.reasons[picture] = "too few of its points stood up to the adjustment"
            self.state.displace(weak)


def stage_while_growing(pictures: int) -> int:
    """Which intrinsics so many pictures determine while they are still few, or roughly placed."""
    return RADIAL if pictures >= _FREE_RADIAL_FROM else FOCAL if pictures >= _FREE_FOCAL_FROM else HELD
