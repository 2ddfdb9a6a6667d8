"""The streaming estimator: a frame in, its place out, in bounded time and memory."""

from __future__ import annotations

import math
import time as clock
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.geometry.cameras import Camera
from cv3d.media.sequences.frame import SequenceFrame
from cv3d.odometry.beginning import first_map
from cv3d.odometry.corners import find_corners
from cv3d.odometry.depths import read_depths
from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.looks import Look, look_at
from cv3d.odometry.options import OdometryOptions
from cv3d.odometry.patches import build_levels
from cv3d.odometry.points import CANDIDATE, FREE, MAPPED, PointTable
from cv3d.odometry.posing import Posed, refine_pose
from cv3d.odometry.rays import RayTable
from cv3d.odometry.results import FrameResult, Sensor, State
from cv3d.odometry.searching import Expected, Found, expect, look, project, spread_out
from cv3d.odometry.window import adjust, gather

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Rows = NDArray[np.int64]
Levels = tuple[NDArray[np.uint8], ...]

_BEGUN = 0.5**2, 0.0, 0.5**2
"""Covariance of the place where a point begins (xx, xy, yy), pixels squared."""


@dataclass(eq=False)
class Record:
    """What is kept of a frame: its place by that of a key frame, so that it follows its corrections."""

    index: int
    time: float
    name: str
    state: State
    reason: str
    segment: int
    key: int
    """Number of the key frame it hangs on; -1: it has no place."""
    cam_from_key: Floats | None
    inliers: int
    parallax_deg: float
    is_key: bool
    ms: float


@dataclass(eq=False)
class Pending:
    """A frame before the first map."""

    record: Record
    found: Found


@dataclass(eq=False)
class Now:
    """The frame at hand."""

    frame: SequenceFrame
    levels: Levels
    look: Look
    depth: NDArray[np.float32] | None
    started: float
    note: tuple[State, str] = (State.OK, "")


@dataclass(eq=False)
class Tracked:
    """An attempt to place a frame."""

    posed: Posed
    found: Found
    """Mapped points that were found, in the order of `posed`."""
    candidates: Found
    looked: int
    """Mapped points that were looked for."""

    @property
    def count(self) -> int:
        return int(self.posed.inliers.sum())


class Odometry:
    """Where a camera goes, frame by frame."""

    def __init__(
        self,
        camera: Camera,
        sensor: Sensor = Sensor.MONO,
        compute: Compute | None = None,
        options: OdometryOptions | None = None,
    ) -> None:
        self.options = options or OdometryOptions()
        self.sensor = sensor
        self.source_camera = camera
        factor = min(1.0, self.options.max_side / max(camera.width, camera.height))
        self._factor = factor
        self.camera = camera if factor == 1.0 else camera.scaled(factor)
        self._rays = RayTable(self.camera)
        self._distance = self.options.min_distance * max(self.camera.width, self.camera.height) / 640.0
        self.points = PointTable()
        self.keys: list[Key] = []
        self.records: list[Record] = []
        self._segment = 0
        self._reset()

    def _reset(self) -> None:
        self._pending: list[Pending] = []
        self._is_tracking = False
        self._cam_from_world = np.eye(4)
        self._velocity = np.eye(4)
        self._last_time = math.nan
        self._last_look: Look | None = None
        self._local = np.zeros(0, np.int64)
        self._key_count = 0
        self._frames_since_key = 0
        self._attempted_at: Pixels | None = None

    # -- frames

    def track(self, frame: SequenceFrame) -> FrameResult:
        """Take the next frame."""
        started = clock.perf_counter()
        gray = frame.gray
        size = (self.camera.width, self.camera.height)
        if (gray.shape[1], gray.shape[0]) != size:
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        levels = build_levels(gray)
        now = Now(frame, levels, look_at(levels), frame.depth, started)
        if self._is_tracking:
            record = self._go_on(now)
        elif self.sensor is Sensor.MONO:
            record = self._begin_mono(now)
        else:
            record = self._begin_metric(now)
        self.records.append(record)
        self._last_look = now.look
        self._last_time = frame.time
        record.ms = 1e3 * (clock.perf_counter() - started)
        return self.result_of(record)

    def result_of(self, record: Record) -> FrameResult:
        """A frame's result as the map stands now."""
        pose = None
        if record.key >= 0 and record.cam_from_key is not None:
            pose = inverse(record.cam_from_key @ self.keys[record.key].cam_from_world)
        return FrameResult(
            record.index,
            record.time,
            record.name,
            record.state,
            record.reason,
            pose,
            record.segment if pose is not None else -1,
            record.inliers,
            record.parallax_deg,
            record.is_key,
            record.ms,
        )

    def _record(self, now: Now, state: State, reason: str, inliers: int = 0, parallax: float = math.nan) -> Record:
        frame = now.frame
        return Record(
            frame.index, frame.time, frame.name, state, reason, self._segment, -1, None, inliers, parallax, False, 0.0
        )

    # -- the first map

    def _begin_metric(self, now: Now) -> Record:
        corners = find_corners(now.levels, np.zeros((0, 2), np.float32), self.options.max_points, self._distance)
        depth, _ = self._measure(now, corners)
        if int((depth > 0.0).sum()) < 2 * self.options.min_inliers:
            return self._record(now, State.INITIALIZING, f"depth at only {int((depth > 0.0).sum())} corners")
        self._make_key(now, np.eye(4), nothing_found())
        self._start_tracking(np.eye(4))
        record = self._record(now, State.OK, "", len(self._local))
        self._place(record, self._cam_from_world, is_key=True)
        return record

    def _start_tracking(self, cam_from_world: Floats) -> None:
        self._is_tracking = True
        self._cam_from_world = cam_from_world
        self._velocity = np.eye(4)
        self._refresh_local()

    def _begin_mono(self, now: Now) -> Record:
        index = now.frame.index
        if not self._pending or not len(self._initial):
            return self._anchor(now, nothing_found())
        rows = self._initial
        identity = np.tile(np.eye(2, dtype=np.float32), (len(rows), 1, 1))
        guess = self.points.last_pixel[rows] + self._flow[None]
        found = look(self.points, Expected(rows, guess, identity), now.levels, 3)
        good = found.ncc > self.options.min_ncc
        if good.sum() < 0.5 * len(rows):
            again = look(self.points, Expected(rows, self.points.last_pixel[rows], identity), now.levels, 3)
            better = again.ncc > self.options.min_ncc
            if better.sum() > good.sum():
                found, good = again, better
        found = found[good]
        moved = found.pixels - self.points.last_pixel[found.rows]
        self._flow = np.median(moved, axis=0).astype(np.float32) if len(moved) else np.zeros(2, np.float32)
        rows, pixels = found.rows, found.pixels
        self.points.last_pixel[rows] = pixels
        self.points.last_frame[rows] = index
        self._initial = rows
        anchor = self.keys[-1]
        record = self._record(now, State.INITIALIZING, "waiting for parallax", len(rows))
        self._pending.append(Pending(record, found))
        if len(rows) < max(0.35 * len(anchor.rows), 60):
            self._pending.pop()
            return self._anchor(now, found)
        order = np.searchsorted(anchor.rows, rows)
        at = anchor.pixels[order]
        if self._attempted_at is None or self._is_far(at, pixels):
            self._attempted_at = pixels
            first = first_map(at, pixels, self.camera, self._rays, self.options.seed)
            if first.cam1_from_cam0 is not None:
                return self._draw_first_map(now, record, found, first.cam1_from_cam0, first.points)
            record.reason = first.reason
        return record

    def _is_far(self, at: Pixels, pixels: Pixels) -> bool:
        """Whether points have moved enough for another look at the geometry."""
        moved = np.median(np.linalg.norm(pixels - at, axis=1))
        return bool(moved > 0.015 * self.camera.width)

    def _anchor(self, now: Now, found: Found) -> Record:
        """Make this the frame that a later one will be related to."""
        if self.keys and self._pending and self.keys[-1].segment == self._segment:
            self.points.free(np.setdiff1d(self.keys[-1].rows, found.rows))
            self.keys.pop()
        number = len(self.keys)
        self.points.rehost(found.rows, found.pixels, now.levels, self._rays, number)
        corners = find_corners(now.levels, found.pixels, self.options.max_points - len(found.rows), self._distance)
        begun = self.points.begin(corners, now.levels, self._rays, number, now.frame.index, self._segment)
        seen = joined(found, at_their_places(begun, corners))
        seen = seen[np.argsort(seen.rows, kind="stable")]
        self.keys.append(self._key(now, np.eye(4), seen))
        self._initial = seen.rows.copy()
        self._flow = np.zeros(2, np.float32)
        self._attempted_at = None
        reason = "the first frame" if not self._pending else "the view changed before there was parallax"
        if len(seen.rows) < 2 * self.options.min_inliers:
            reason = f"only {len(seen.rows)} corners to follow"
        record = self._record(now, State.INITIALIZING, reason, len(seen.rows))
        self._pending.append(Pending(record, seen))
        del self._pending[: -self.options.max_pending]
        return record

    def _draw_first_map(self, now: Now, record: Record, found: Found, cam_from_anchor: Floats, xyz: Floats) -> Record:
        good = np.isfinite(xyz).all(axis=1)
        mapped = found.rows[good]
        self.points.kind[mapped] = MAPPED
        self.points.xyz[mapped] = xyz[good]
        anchor = self.keys[-1]
        others = np.setdiff1d(anchor.rows, mapped)
        self.points.xyz[others] = self.points.host_rays[others, 0]
        self.points.views[anchor.rows] = 1
        self._make_key(now, cam_from_anchor, found)
        self._adjust_window(iterations=20)
        self._start_tracking(self.keys[-1].cam_from_world.copy())
        self._pending.pop()
        record.state, record.reason, record.inliers = State.OK, "", int(good.sum())
        self._place(record, self._cam_from_world, is_key=True)
        self._place_pending(anchor)
        return record

    def _place_pending(self, anchor: Key) -> None:
        """Frames from before the map, from the last to the first."""
        start = self._cam_from_world.copy()
        for pending in reversed(self._pending):
            if pending.record.index == anchor.frame:
                pending.record.is_key = True
                self._place(pending.record, anchor.cam_from_world, anchor.number)
                pending.record.state, pending.record.reason = State.OK, ""
                start = anchor.cam_from_world.copy()
                continue
            known = self.points.kind[pending.found.rows] == MAPPED
            if int(known.sum()) < self.options.min_inliers:
                continue
            posed = self._pose(pending.found[known], start)
            if int(posed.inliers.sum()) < self.options.min_inliers:
                continue
            start = posed.cam_from_world
            self._place(pending.record, start, anchor.number)
            pending.record.state, pending.record.reason = State.OK, ""
            pending.record.inliers = int(posed.inliers.sum())
        self._pending = []

    # -- tracking

    def _go_on(self, now: Now) -> Record:
        predicted = self._velocity @ self._cam_from_world
        tracked = self._attempt(now, predicted, coarsest=2)
        if not self._is_good(tracked):
            for start, coarsest in ((self._cam_from_world, 3), (predicted, 3)):
                other = self._attempt(now, start, coarsest)
                if other.count > tracked.count:
                    tracked = other
                if self._is_good(tracked):
                    break
        if tracked.count < self.options.min_inliers:
            return self._lose(now)
        cam_from_world = tracked.posed.cam_from_world
        self._velocity = cam_from_world @ inverse(self._cam_from_world)
        self._cam_from_world = cam_from_world
        good = tracked.posed.inliers
        seen = tracked.found[good]
        self.points.last_frame[seen.rows] = now.frame.index
        self.points.last_pixel[seen.rows] = seen.pixels
        candidates = self._update_candidates(tracked.candidates, now)
        parallax, shift = self._parallax(seen.rows, seen.pixels)
        self._frames_since_key += 1
        is_key = self._needs_key(len(seen.rows), shift)
        record = self._record(now, State.OK, "", len(seen.rows), parallax)
        if is_key:
            self._make_key(now, cam_from_world, joined(seen, candidates))
            self._adjust_window()
            self._recycle()
            self._cam_from_world = self.keys[-1].cam_from_world.copy()
            self._refresh_local()
        self._place(record, self._cam_from_world, is_key=is_key)
        return record

    def _is_good(self, tracked: Tracked) -> bool:
        return tracked.count >= max(2 * self.options.min_inliers, 0.4 * tracked.looked)

    def _attempt(self, now: Now, predicted: Floats, coarsest: int) -> Tracked:
        points, options = self.points, self.options
        previous = self.records[-1].index if self.records else -1
        expected = expect(points, self._local, self.keys, self.camera, predicted)
        first = points.last_frame[expected.rows] == previous
        size = (self.camera.width, self.camera.height)
        chosen = spread_out(expected.pixels, first, options.max_points, size)
        mapped = Expected(expected.rows[chosen], expected.pixels[chosen], expected.inverse_warps[chosen])
        candidates = self._candidates[points.kind[self._candidates] == CANDIDATE]
        candidates = candidates[points.last_frame[candidates] == previous]
        at, ahead = project(self.camera, self._cam_from_world, points.xyz[candidates])
        candidates, at = candidates[ahead], at[ahead]
        tentative = expect(
            points, candidates, self.keys, self.camera, predicted, points.last_pixel[candidates].astype(np.float64) - at
        )
        both = Expected(
            np.concatenate([mapped.rows, tentative.rows]),
            np.concatenate([mapped.pixels, tentative.pixels]),
            np.concatenate([mapped.inverse_warps, tentative.inverse_warps]),
        )
        found = look(points, both, now.levels, coarsest)
        good = found.ncc > options.min_ncc
        count = len(mapped.rows)
        mapped_found = found[np.flatnonzero(good[:count])]
        depth, sigma = self._measure(now, mapped_found.pixels)
        posed = self._pose(mapped_found, predicted, depth, sigma)
        return Tracked(posed, mapped_found, found[np.flatnonzero(good[count:]) + count], count)

    def _pose(
        self, found: Found, start: Floats, depth: Floats | None = None, depth_sigma: Floats | None = None
    ) -> Posed:
        rays, moves = self._rays.tangents(found.pixels)
        points = self.points.xyz[found.rows]
        return refine_pose(points, rays, moves, found.covariance, start, depth, depth_sigma)

    def _measure(self, now: Now, pixels: Pixels) -> tuple[Floats, Floats]:
        if now.depth is None:
            return np.zeros(len(pixels)), np.ones(len(pixels))
        height, width = now.depth.shape
        scale = np.array([width / self.camera.width, height / self.camera.height])
        return read_depths(now.depth, (pixels + 0.5) * scale - 0.5)

    def _update_candidates(self, found: Found, now: Now) -> Found:
        """Depths of candidates, from where they are seen; those that contradict the motion are given up."""
        points = self.points
        rows, pixels = found.rows, found.pixels
        if not len(rows):
            return found
        hosts = points.host[rows]
        world_from_host = np.stack([inverse(self.keys[h].cam_from_world) for h in hosts])
        world_from_cam = inverse(self._cam_from_world)
        a = np.einsum("nij,nj->ni", world_from_host[:, :3, :3], points.host_rays[rows, 0])
        b = self._rays.rays(pixels) @ world_from_cam[:3, :3].T
        base = world_from_cam[:3, 3] - world_from_host[:, :3, 3]
        ab = (a * b).sum(1)
        sine2 = np.maximum(1.0 - ab**2, 1e-12)
        along = ((base * a).sum(1) - ab * (base * b).sum(1)) / sine2
        back = (ab * (base * a).sum(1) - (base * b).sum(1)) / sine2
        gap = np.linalg.norm(
            world_from_host[:, :3, 3] + along[:, None] * a - world_from_cam[:3, 3] - back[:, None] * b, axis=1
        )
        angle = np.sqrt(sine2)
        noise = 1.0 / self._rays.pixels_per_radian
        with np.errstate(divide="ignore", invalid="ignore"):
            off = gap / np.maximum(back, 1e-9)
        far = angle < 3.0 * noise
        wrong = ~far & ((along <= 0.0) | (back <= 0.0) | (off > 4.0 * noise)) | ~np.isfinite(b).all(axis=1)
        points.free(rows[wrong])
        kept = ~wrong
        rows, pixels, along, angle, a = rows[kept], pixels[kept], along[kept], angle[kept], a[kept]
        world_from_host, far = world_from_host[kept], far[kept]
        points.last_frame[rows] = now.frame.index
        points.last_pixel[rows] = pixels
        near = ~far
        points.xyz[rows[near]] = world_from_host[near, :3, 3] + along[near, None] * a[near]
        ready = angle > max(math.radians(1.0), 10.0 * noise)
        points.kind[rows[ready]] = MAPPED
        self._local = np.concatenate([self._local, rows[ready]])
        return found[kept]

    def _parallax(self, rows: Rows, pixels: Pixels) -> tuple[float, float]:
        """Median angle (degrees) and shift (pixels) since the last key frame that its rotation does not explain."""
        key = self.keys[-1]
        _, here, there = np.intersect1d(rows, key.rows, return_indices=True)
        if not len(here):
            return math.nan, math.inf
        cam_from_key = self._cam_from_world[:3, :3] @ key.cam_from_world[:3, :3].T
        turned = self._rays.rays(key.pixels[there]) @ cam_from_key.T
        cosine = np.clip((turned * self._rays.rays(pixels[here])).sum(1), -1.0, 1.0)
        angle = float(np.nanmedian(np.arccos(cosine)))
        return math.degrees(angle), angle * self._rays.pixels_per_radian

    def _needs_key(self, count: int, shift: float) -> bool:
        options = self.options
        if self._frames_since_key < options.min_key_gap and count >= 0.4 * self._key_count:
            return False
        if count < options.key_share * self._key_count or count < 4 * options.min_inliers:
            return True
        return shift > options.key_parallax * self.camera.width

    def _lose(self, now: Now) -> Record:
        record = self._record(now, State.LOST, "too few points found")
        self._segment += 1
        self._reset()
        return record

    # -- key frames

    def _key(self, now: Now, cam_from_world: Floats, seen: Found) -> Key:
        depth, sigma = self._measure(now, seen.pixels)
        frame = now.frame
        return Key(
            len(self.keys), frame.index, frame.time, frame.name, self._segment, cam_from_world.copy(), seen.rows,
            seen.pixels, seen.covariance, depth, sigma, frame.read_color,
        )  # fmt: skip

    def _make_key(self, now: Now, cam_from_world: Floats, seen: Found) -> None:
        key = self._key(now, cam_from_world, seen)
        self.keys.append(key)
        points = self.points
        points.views[seen.rows] += 1
        waiting = (points.kind[seen.rows] == CANDIDATE) & (key.depth > 0.0)
        self._map_by_depth(key, seen.rows[waiting], seen.pixels[waiting], key.depth[waiting])
        corners = find_corners(now.levels, seen.pixels, self.options.max_points - len(seen.rows), self._distance)
        begun = points.begin(corners, now.levels, self._rays, key.number, now.frame.index, self._segment)
        depth, sigma = self._measure(now, corners)
        key.see(begun, corners, at_their_places(begun, corners).covariance, depth, sigma)
        points.views[begun] = 1
        known = depth > 0.0
        self._map_by_depth(key, begun[known], corners[known], depth[known])
        self._guess_depths(key, begun[~known], seen.rows)
        followed = np.concatenate([seen.rows, begun])
        self._candidates = followed[points.kind[followed] == CANDIDATE]
        self._frames_since_key = 0
        self._key_count = int((points.kind[followed] == MAPPED).sum())

    def _map_by_depth(self, key: Key, rows: Rows, pixels: Pixels, depth: Floats) -> None:
        rays = self._rays.rays(pixels)
        seen = rays * (depth / rays[:, 2])[:, None]
        world_from_cam = inverse(key.cam_from_world)
        self.points.xyz[rows] = seen @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
        self.points.kind[rows] = MAPPED

    def _guess_depths(self, key: Key, begun: Rows, others: Rows) -> None:
        """Candidates are taken to be as far as the points around them."""
        known = others[self.points.kind[others] == MAPPED]
        seen = self.points.xyz[known] @ key.cam_from_world[:3, :3].T + key.cam_from_world[:3, 3]
        distance = float(np.median(np.linalg.norm(seen, axis=1))) if len(known) else 1.0
        world_from_cam = inverse(key.cam_from_world)
        rays = self.points.host_rays[begun, 0]
        self.points.xyz[begun] = (distance * rays) @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]

    def _recycle(self) -> None:
        """Let new points have the rows of those given up, once no key frame names them."""
        if self.points.dead_count < 1000:
            return
        for key in self.keys:
            alive = self.points.kind[key.rows] != FREE
            if not alive.all():
                key.keep(alive)
        self.points.recycle()

    def _adjust_window(self, iterations: int = 8) -> None:
        own = [key for key in self.keys if key.segment == self._segment]
        window = own[-self.options.window :]
        seen = np.zeros(len(self.points.kind), np.bool_)
        for key in window:
            seen[key.rows] = True
        shared = sorted(((int(seen[key.rows].sum()), key.number) for key in own[: -self.options.window]), reverse=True)[
            : self.options.held
        ]
        held = [self.keys[number] for count, number in shared if count >= 10]
        chosen = held + window
        fixed = [True] * len(held) + [False] * len(window)
        if not held:
            fixed[0] = True
        job = gather(chosen, fixed, self.points, self.camera)
        if job is None:
            return
        done = adjust(job, iterations)
        for number, pose in zip(job.keys, done.poses, strict=True):
            self.keys[number].cam_from_world = pose
        self.points.xyz[job.rows] = done.points
        self._drop(job.entries[done.outliers])

    def _drop(self, entries: NDArray[np.int64]) -> None:
        """Give up observations, and the points that lose their hold."""
        for number in np.unique(entries[:, 0]):
            rows = entries[entries[:, 0] == number, 1]
            key = self.keys[number]
            gone = np.isin(key.rows, rows)
            self.points.views[key.rows[gone]] -= 1
            key.keep(~gone)
        rows = np.unique(entries[:, 1])
        weak = rows[self.points.views[rows] < 1]
        self.points.free(weak)

    def _refresh_local(self) -> None:
        """The points that may be seen next."""
        key = self.keys[-1]
        own = [other for other in self.keys if other.segment == self._segment]
        seen = np.zeros(len(self.points.kind), np.bool_)
        seen[key.rows] = True
        shared = np.array([int(seen[other.rows].sum()) for other in own])
        chosen = np.argsort(-shared, kind="stable")[:15]
        chosen = chosen[shared[chosen] > 0]
        rows = np.unique(np.concatenate([key.rows, *(own[i].rows for i in chosen), *(o.rows for o in own[-4:])]))
        self._local = rows[self.points.kind[rows] == MAPPED]

    def _place(self, record: Record, cam_from_world: Floats, key: int | None = None, is_key: bool = False) -> None:
        number = len(self.keys) - 1 if key is None else key
        record.key = number
        record.cam_from_key = cam_from_world @ inverse(self.keys[number].cam_from_world)
        record.is_key = record.is_key or is_key


def nothing_found() -> Found:
    """No point."""
    return at_their_places(np.zeros(0, np.int64), np.zeros((0, 2), np.float32))


def at_their_places(rows: Rows, pixels: Pixels) -> Found:
    """Points where they begin: by definition there."""
    covariance = np.tile(np.array(_BEGUN, np.float32), (len(rows), 1))
    return Found(rows, pixels, np.ones(len(rows), np.float32), covariance)


def joined(first: Found, second: Found) -> Found:
    """One after the other."""
    return Found(
        np.concatenate([first.rows, second.rows]),
        np.concatenate([first.pixels, second.pixels]),
        np.concatenate([first.ncc, second.ncc]),
        np.concatenate([first.covariance, second.covariance]),
    )
