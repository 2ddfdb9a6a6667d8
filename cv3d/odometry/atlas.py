"""The map: key frames and points, and what is done to them as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.odometry.aligners import Aligner
from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.points import FREE, MAPPED, PointTable
from cv3d.odometry.records import Record
from cv3d.odometry.window import Adjusted, Job, gather

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_COVISIBLE = 15
"""Key frames that share points with the last one, whose points may be seen next."""
_NEARBY = 6
"""Key frames that merely stand near it and look the same way."""
_NEAR_ANGLE = 0.7
"""Least cosine between viewing directions."""
_LEAST_SHARED = 10
"""Fewest shared points of an older key frame that holds the window."""
_RECYCLE_AT = 1000
_SEEN_ENOUGH = 2
"""Key frames that are enough for a point."""
_REDUNDANT = 0.9
"""Share of a key frame's points that others see often enough, from which on it can be spared."""


class Atlas:
    """Key frames and points of all segments."""

    def __init__(self, camera: Camera, max_local: int, aligner: Aligner | None = None) -> None:
        self._max_local = max_local
        self.camera = camera
        self.points = PointTable(aligner=aligner)
        self.keys: list[Key] = []
        self.records: list[Record] = []

    def segment(self, number: int) -> list[Key]:
        """Its key frames, in order."""
        return [key for key in self.keys if key.segment == number]

    def window_job(self, segment: int, size: int, held: int) -> Job | None:
        """The adjustment of the latest key frames, those before them that see the same points holding them."""
        own = self.segment(segment)
        window, older = own[-size:], own[:-size]
        fixed: list[Key] = []
        if older:
            seen = self._seen_by(window)
            shared = np.array([int(seen[key.rows].sum()) for key in older])
            order = np.argsort(-shared, kind="stable")[:held]
            fixed = [older[i] for i in order if shared[i] >= _LEAST_SHARED]
        chosen = fixed + window
        holds = [True] * len(fixed) + [False] * len(window)
        if not fixed:
            holds[0] = True
        return gather(chosen, holds, self.points, self.camera) if len(chosen) > 1 else None

    def apply(self, done: Adjusted) -> None:
        """Take over what an adjustment found."""
        for number, cam_from_world in zip(done.job.keys, done.poses, strict=True):
            self.keys[number].cam_from_world = cam_from_world
        alive = self.points.kind[done.job.rows] == MAPPED
        self.points.xyz[done.job.rows[alive]] = done.points[alive]
        for key in self.keys:
            if key.follows is not None and key.from_followed is not None:
                key.cam_from_world = key.from_followed @ self.keys[key.follows].cam_from_world
        self.drop(done.job.entries[done.outliers])

    def drop(self, entries: NDArray[np.int64]) -> None:
        """Give up observations, (n, 2) key frame and row, and the points that nothing sees any more."""
        for number in np.unique(entries[:, 0]):
            key = self.keys[number]
            gone = np.isin(key.rows, entries[entries[:, 0] == number, 1])
            self.points.views[key.rows[gone]] -= 1
            key.keep(~gone)
        rows = np.unique(entries[:, 1])
        self.points.free(rows[self.points.views[rows] < 1])

    def recycle(self) -> None:
        """Let new points have the rows of those given up, once no key frame names them."""
        if self.points.dead_count < _RECYCLE_AT:
            return
        for key in self.keys:
            alive = self.points.kind[key.rows] != FREE
            if not alive.all():
                key.keep(alive)
        self.points.recycle()

    def retire(self, window: int, most: int) -> None:
        """Take key frames out of the map that see nothing which others do not see as well, and those beyond a number.

        Frames hang on them still, and they move along with a neighbour (the rule is that of Mur-Artal et al.,
        "ORB-SLAM: a versatile and accurate monocular SLAM system", 2015).

        Args:
            window: latest key frames, which all stay.
            most: key frames of a segment that stay at most.
        """
        own = [key for key in self.segment(self.keys[-1].segment) if key.follows is None]
        seen = self._seen_by([self.keys[-1]])
        for key in own[1:-window]:
            rows = key.rows[self.points.kind[key.rows] == MAPPED]
            if seen[rows].any() and self._spared(rows) >= _REDUNDANT:
                self._retire(key, own)
        kept = [key for key in own if key.follows is None]
        if len(kept) > max(most, window + 1):
            # One a time is enough, as they come one at a time: the one that is missed least, the oldest of equals.
            spared = [self._spared(key.rows[self.points.kind[key.rows] == MAPPED]) for key in kept[1:-window]]
            self._retire(kept[1 + int(np.argmax(spared))], kept)

    def _spared(self, rows: Rows) -> float:
        """Share of points that other key frames see often enough; 1 without any."""
        return float((self.points.views[rows] > _SEEN_ENOUGH).mean()) if len(rows) else 1.0

    def _retire(self, key: Key, own: list[Key]) -> None:
        at = key.world_from_cam[:3, 3]
        others = [other for other in own if other.follows is None and other is not key]
        away = [float(np.linalg.norm(other.world_from_cam[:3, 3] - at)) for other in others]
        nearest = others[int(np.argmin(away))]
        self.points.views[key.rows] -= 1
        self.points.free(key.rows[self.points.views[key.rows] < 1])
        key.keep(np.zeros(len(key.rows), np.bool_))
        for follower in [key, *(other for other in self.keys if other.follows == key.number)]:
            follower.follows = nearest.number
            follower.from_followed = follower.cam_from_world @ inverse(nearest.cam_from_world)

    def local_rows(self, extra: Sequence[int] = ()) -> Rows:
        """Mapped points that may be seen next: of the last key frame, and of those that see or stand where it does."""
        last = self.keys[-1]
        own = self.segment(last.segment)
        seen = self._seen_by([last])
        shared = np.array([int(seen[key.rows].sum()) for key in own])
        order = np.argsort(-shared, kind="stable")
        chosen = [own[i] for i in order[:_COVISIBLE] if shared[i] > 0]
        chosen += own[-4:] + [self.keys[number] for number in extra if self.keys[number].segment == last.segment]
        chosen += self._nearby(own, last)
        rows = np.unique(np.concatenate([key.rows for key in chosen]))
        rows = rows[self.points.kind[rows] == MAPPED]
        if len(rows) > self._max_local:
            # Those seen lately, and of the others those seen most often.
            order = np.lexsort((-self.points.views[rows], -self.points.last_frame[rows]))
            rows = np.sort(rows[order[: self._max_local]])
        return rows

    def nearest(self, cam_from_world: Floats, segment: int) -> Key:
        """The key frame of a segment that stands nearest to a place."""
        own = self.segment(segment)
        centre = inverse(cam_from_world)[:3, 3]
        distances = [float(np.linalg.norm(key.world_from_cam[:3, 3] - centre)) for key in own]
        return own[int(np.argmin(distances))]

    def neighbours(self, number: int) -> list[int]:
        """Numbers of the key frames that share points with one, and its own."""
        own = self.segment(self.keys[number].segment)
        seen = self._seen_by([self.keys[number]])
        return [key.number for key in own if int(seen[key.rows].sum()) >= _LEAST_SHARED or key.number == number]

    def move(self, numbers: Sequence[int], world_from_cam: Floats, scales: Floats) -> None:
        """Put key frames elsewhere, with the points that they host and the frames that hang on them.

        Args:
            numbers: of the key frames, n of them.
            world_from_cam: their new places, (n, 4, 4), rigid.
            scales: by what lengths in their cameras grow, (n,).
        """
        place = np.full(len(self.keys), -1, np.int64)
        place[list(numbers)] = np.arange(len(numbers))
        rows = np.flatnonzero(self.points.kind != FREE)
        which = place[self.points.host[rows]]
        rows, which = rows[which >= 0], which[which >= 0]
        before = np.stack([self.keys[number].cam_from_world for number in numbers])[which]
        seen = np.einsum("nij,nj->ni", before[:, :3, :3], self.points.xyz[rows]) + before[:, :3, 3]
        seen *= scales[which, None]
        after = world_from_cam[which]
        self.points.xyz[rows] = np.einsum("nij,nj->ni", after[:, :3, :3], seen) + after[:, :3, 3]
        for number, pose in zip(numbers, world_from_cam, strict=True):
            self.keys[number].cam_from_world = inverse(pose)
            self.keys[number].depth = self.keys[number].depth * scales[place[number]]
        for key in self.keys:
            if key.follows is not None:
                key.from_followed = key.cam_from_world @ inverse(self.keys[key.follows].cam_from_world)
        for record in self.records:
            if record.key >= 0 and place[record.key] >= 0 and record.cam_from_key is not None:
                record.cam_from_key = record.cam_from_key.copy()
                record.cam_from_key[:3, 3] *= scales[place[record.key]]

    def spread(self, segment: int) -> None:
        """Give the frames between two key frames their share of what the way between these has been corrected by."""
        own = self.segment(segment)
        times = {key.number: (key.frame, after) for key, after in pairwise(own)}
        for record in self.records:
            if record.key not in times or record.cam_from_key is None:
                continue
            begun, after = times[record.key]
            share = (record.index - begun) / max(after.frame - begun, 1)
            if after.from_last is None or not 0.0 < share < 1.0:
                continue
            corrected = after.cam_from_world @ inverse(self.keys[record.key].cam_from_world)
            change = corrected @ inverse(after.from_last)
            turn = cv2.Rodrigues(change[:3, :3])[0]
            part = np.eye(4)
            part[:3, :3] = cv2.Rodrigues(share * turn)[0]
            # Of the motion itself, not of the camera's centre, as the two ends stay where they are.
            part[:3, 3] = share * change[:3, 3]
            record.cam_from_key = part @ record.cam_from_key
        for key in own:
            key.from_last = None

    def join(self, segment: int, into: int) -> None:
        """Count key frames, points and frames of a segment to another one."""
        for key in self.keys:
            if key.segment == segment:
                key.segment = into
        self.points.segment[self.points.segment == segment] = into
        for record in self.records:
            if record.segment == segment:
                record.segment = into

    def _seen_by(self, keys: Sequence[Key]) -> NDArray[np.bool_]:
        seen = np.zeros(len(self.points.kind), np.bool_)
        for key in keys:
            seen[key.rows] = True
        return seen

    def _nearby(self, own: list[Key], last: Key) -> list[Key]:
        """Older key frames near the last one that look the same way."""
        older = own[:-_COVISIBLE]
        mapped = last.rows[self.points.kind[last.rows] == MAPPED]
        if not older or not len(mapped):
            return []
        poses = np.stack([key.cam_from_world for key in older])
        centres = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
        at = last.world_from_cam[:3, 3]
        reach = 0.5 * float(np.median(np.linalg.norm(self.points.xyz[mapped] - at, axis=1)))
        away = np.linalg.norm(centres - at, axis=1)
        alike = poses[:, 2, :3] @ last.cam_from_world[2, :3] > _NEAR_ANGLE
        order = np.argsort(np.where(alike, away, np.inf), kind="stable")[:_NEARBY]
        return [older[i] for i in order if alike[i] and away[i] < reach]
