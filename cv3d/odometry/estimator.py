"""The streaming estimator: a frame in, its place out, in bounded time and memory."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import EstimationError, InputError, UsageError
from cv3d.geometry.cameras import Camera
from cv3d.media.sequences.frame import SequenceFrame
from cv3d.odometry.aligners import aligner_for
from cv3d.odometry.atlas import Atlas
from cv3d.odometry.candidates import cross
from cv3d.odometry.corners import find_corners
from cv3d.odometry.finishing import adjust_all, colors_at
from cv3d.odometry.found import Found
from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.looks import Look, look_at
from cv3d.odometry.loop_closing import LoopCloser
from cv3d.odometry.mono_start import MonoStart
from cv3d.odometry.options import OdometryOptions
from cv3d.odometry.patches import Levels, build_levels
from cv3d.odometry.places import Description
from cv3d.odometry.points import CANDIDATE, MAPPED, PointTable
from cv3d.odometry.ranging import Ranges, Ranging
from cv3d.odometry.rays import RayTable
from cv3d.odometry.recognition import Recognizer, view_of
from cv3d.odometry.records import Record
from cv3d.odometry.results import FrameResult, Loop, Sensor, State
from cv3d.odometry.searching import project
from cv3d.odometry.tracking import Before, Tracked, Tracker
from cv3d.odometry.window import Adjusted, adjust

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Rows = NDArray[np.int64]
Depth = NDArray[np.float32]

_SAME_SHAPE = 0.01
"""Relative difference of the proportions of pictures that are of one camera."""
_STEP_RATIO = 4.0
"""Most that a step in time may be longer than the last for the motion to be carried on."""
_PLENTY = 0.6
"""Share of the points asked for that are enough to leave known places to the map."""
_ADJUSTING_LAG = 3
"""Frames that the adjustment of a window has before it is waited for."""
_VIEWS_KEPT = 4
"""Latest key frames whose pictures are kept, for a frame that is hard to place."""


@dataclass(eq=False)
class Now:
    """The frame at hand."""

    frame: SequenceFrame
    levels: Levels
    look: Look
    ranges: Ranges
    description: Description | None = None
    """Once it was asked for."""


class Odometry:
    """Where a camera goes, frame by frame. The same for a file and a live camera."""

    def __init__(
        self,
        camera: Camera,
        sensor: Sensor = Sensor.MONO,
        compute: Compute | None = None,
        options: OdometryOptions | None = None,
        *,
        right_camera: Camera | None = None,
        right_from_left: Floats | None = None,
        depth_camera: Camera | None = None,
        color_from_depth: Floats | None = None,
    ) -> None:
        """Prepare for a recording.

        Args:
            camera: the only, the left or the colour camera.
            sensor: what frames bring.
            compute: device and precision.
            options: how to track.
            right_camera: of a stereo pair.
            right_from_left: (4, 4), metres.
            depth_camera: of the depth pictures, where they have not the colour pictures' pixels.
            color_from_depth: (4, 4), metres.
        """
        self.options = options or OdometryOptions()
        self.sensor = sensor
        self.factor = min(1.0, self.options.max_side / max(camera.width, camera.height))
        """Size of the tracked pictures over that of the source's."""
        self.camera = camera if self.factor == 1.0 else camera.scaled(self.factor)
        self._source_size = camera.width, camera.height
        self._rays = RayTable(self.camera)
        self._distance = self.options.min_distance * max(self.camera.width, self.camera.height) / 640.0
        policy = compute or Compute.choose("cpu")
        self.atlas = Atlas(self.camera, self.options.max_local, aligner_for(policy))
        self._ranging = Ranging(self.camera, right_camera, right_from_left, depth_camera, color_from_depth)
        self.warnings: list[str] = []
        self._tracker = Tracker(self.atlas, self._rays, self.options)
        self._places = Recognizer(
            policy,
            self.camera,
            self._rays,
            is_metric=sensor is not Sensor.MONO,
            seed=self.options.seed,
        )
        if self.options.loops:
            self._places.warm_up()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="cv3d-window")
        self._adjusting: tuple[int, Future[Adjusted]] | None = None
        self._coloring: list[tuple[Rows, int, Future[NDArray[np.uint8] | None]]] = []
        self._closer = LoopCloser(
            self.atlas, self._places, self._beside, self._map_moved, is_metric=sensor is not Sensor.MONO
        )
        self._segment = 0
        self._last_time = math.nan
        self._last_step = math.nan
        self._last_look: Look | None = None
        self._views: list[tuple[int, NDArray[np.uint8], Depth | None]] = []
        self._lost_since: float | None = None
        self._begin_segment()

    @property
    def keys(self) -> list[Key]:
        """All key frames."""
        return self.atlas.keys

    @property
    def points(self) -> PointTable:
        """All points."""
        return self.atlas.points

    @property
    def loops(self) -> list[Loop]:
        """All loops that are believed."""
        return self._closer.loops

    @property
    def records(self) -> list[Record]:
        """All frames."""
        return self.atlas.records

    def track(self, frame: SequenceFrame) -> FrameResult:
        """Take the next frame.

        Args:
            frame: with a right picture or a depth picture, as the sensor has it.

        Returns:
            What is known of it now; corrections come later, see :meth:`result_of`.
        """
        started = clock.perf_counter()
        now = self._prepared(frame)
        if now is None:
            record = self._record(frame, State.LOST, self._other_size(frame))
        else:
            self._settle(frame.index)
            record = self._go_on(now) if self._is_tracking else self._begin(now)
            self._last_look = now.look
        if np.isfinite(self._last_time) and frame.time > self._last_time:
            self._last_step = frame.time - self._last_time
        self._last_time = frame.time
        self.records.append(record)
        record.ms = 1e3 * (clock.perf_counter() - started)
        return record.result(self.keys)

    def result_of(self, record: Record) -> FrameResult:
        """A frame's result as the map stands now."""
        return record.result(self.keys)

    def finish(self) -> None:
        """Adjust everything once more, when no frame will follow."""
        if not self._is_tracking and self._start.pending:
            self._place_still()
        self._settle(-1, is_due=True)
        self._closer.take(-1, is_last=True)
        self._recognise_end()
        self.close()
        for segment in sorted({key.segment for key in self.keys}):
            self._apply(partial(adjust_all, self.atlas.segment(segment), self.points, self.camera))
            self.atlas.spread(segment)

    def _recognise_end(self) -> None:
        """Look for the last key frame among the others: many a path ends where it began."""
        if not self.options.loops or not self._views or not self._is_tracking:
            return
        number, gray, depth = self._views[-1]
        if number not in self._places.index:
            self._closer.recognise(view_of(self.keys[number], gray, self.points, depth))
            self._closer.take(-1, is_last=True)

    def close(self) -> None:
        """End what runs beside the tracking. Nothing can be tracked any more; results stay as they are."""
        self._places.close()
        self._beside.shutdown()

    # -- the frame at hand

    def _prepared(self, frame: SequenceFrame) -> Now | None:
        """The frame in the size that is tracked; None where it is of another shape."""
        height, width = frame.gray.shape
        gray = frame.gray
        if abs(width * self.camera.height - height * self.camera.width) > _SAME_SHAPE * width * self.camera.height:
            return None
        if (width, height) != self._source_size:
            self._tell(f"pictures of {width}x{height} come where {self._expected} are calibrated; they are resized")
        if (width, height) != (self.camera.width, self.camera.height):
            size = self.camera.width, self.camera.height
            gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
        levels = build_levels(gray)
        return Now(frame, levels, look_at(levels), self._ranging.of(frame, levels))

    def _other_size(self, frame: SequenceFrame) -> str:
        height, width = frame.gray.shape
        self._tell(f"pictures of {width}x{height} instead of {self._expected} are of another camera; they are left out")
        return f"the picture is {width}x{height} instead of {self._expected}"

    @property
    def _expected(self) -> str:
        return "x".join(map(str, self._source_size))

    def _tell(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def _record(self, frame: SequenceFrame, state: State, reason: str, inliers: int = 0) -> Record:
        return Record(
            frame.index, frame.time, frame.name, state, reason, self._segment, -1, None, inliers, math.nan, False, 0.0
        )

    def _doubt(self, now: Now, found: int) -> tuple[State, str]:
        """What is wrong with a frame in which little was found."""
        if now.look.is_void:
            return State.EXPOSURE, f"the picture is nearly {'black' if now.look.mean < 128 else 'white'}"
        if now.look.jumped_from(self._last_look):
            return State.EXPOSURE, "the brightness jumped"
        if self._last_look is not None and now.look.detail < 0.6 * self._usual_detail:
            return State.BLUR, "the picture is blurred"
        return State.LOW_TEXTURE, f"only {found} points to hold on to"

    # -- the beginning of a segment

    def _begin_segment(self) -> None:
        self._start = MonoStart(
            self.points, self._rays, self.options.max_points, self._distance, self.options.max_pending
        )
        self._is_tracking = False
        self._cam_from_world: Floats = np.eye(4)
        self._velocity: Floats = np.eye(4)
        self._local: Rows = np.zeros(0, np.int64)
        self._candidates: Rows = np.zeros(0, np.int64)
        self._key_count = 0
        self._since_key = 0
        self._usual_detail = 0.0

    def _begin(self, now: Now) -> Record:
        if self._lost_since is not None:
            record = self._find_again(now)
            if record is not None:
                return record
        if now.look.is_void:
            state, reason = self._doubt(now, 0)
            return self._record(now.frame, state, reason)
        return self._begin_mono(now) if self.sensor is Sensor.MONO else self._begin_metric(now)

    def _begin_metric(self, now: Now) -> Record:
        corners = find_corners(now.levels, Found.nothing().pixels, self.options.max_points, self._distance)
        depth, _ = now.ranges.at(corners, np.zeros(len(corners)))
        known = int((depth > 0.0).sum())
        if known < 2 * self.options.min_inliers:
            return self._record(now.frame, State.INITIALIZING, f"depth at only {known} of {len(corners)} corners")
        self._make_key(now, np.eye(4), Found.nothing())
        record = self._record(now.frame, State.OK, "", known)
        self._set_tracking(np.eye(4))
        self._hang(record, is_key=True)
        return record

    def _set_tracking(self, cam_from_world: Floats) -> None:
        self._is_tracking = True
        self._lost_since = None
        self._cam_from_world = cam_from_world
        self._velocity = np.eye(4)
        self._local = self.atlas.local_rows()

    def _begin_mono(self, now: Now) -> Record:
        start = self._start
        if not start.pending:
            return self._anchor(now, Found.nothing(), "the first frame")
        found = start.follow(now.levels)
        record = self._record(now.frame, State.INITIALIZING, "waiting for parallax", len(found))
        self._touch(found, now)
        if start.needs_anchor():
            return self._anchor(now, found, "the view changed before there was parallax")
        first = start.attempt(self.options.seed)
        if first is not None and first.cam1_from_cam0 is not None:
            return self._draw_first_map(now, record, found, first.cam1_from_cam0, first.points)
        if first is not None:
            record.reason = first.reason
        elif start.is_still():
            record.reason = "the camera stands still"
        start.wait(record, found)
        return record

    def _anchor(self, now: Now, found: Found, reason: str) -> Record:
        if self._start.pending and self.keys and self.keys[-1].segment == self._segment:
            self.keys.pop()
        seen = self._start.set_anchor(now.levels, found, len(self.keys), now.frame.index, self._segment)
        self.keys.append(self._key(now, np.eye(4), seen))
        if len(seen) < 2 * self.options.min_inliers:
            reason = f"only {len(seen)} corners to follow"
        record = self._record(now.frame, State.INITIALIZING, reason, len(seen))
        self._start.wait(record, seen)
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
        job = self.atlas.window_job(self._segment, self.options.window, self.options.held)
        if job is not None:
            self._apply(partial(adjust, job, 20))
        self._set_tracking(self.keys[-1].cam_from_world.copy())
        record.state, record.reason, record.inliers = State.OK, "", int(good.sum())
        self._hang(record, is_key=True)
        self._place_pending(anchor, found)
        return record

    def _place_pending(self, anchor: Key, found: Found) -> None:
        """Frames from before the map, from the last to the first.

        Args:
            anchor: the key frame that they hang on.
            found: what the frame after them sees, whose place is known.
        """
        at = self._cam_from_world
        for pending in reversed(self._start.pending):
            record = pending.record
            if record.index == anchor.frame and self._is_tracking:
                at, count, state = anchor.cam_from_world, len(anchor.rows), State.OK
                record.is_key = True
            else:
                placed = self._placed_before(pending.found, found, at)
                if placed is None:
                    break
                at, count, state = placed
            record.hang_on(anchor, at)
            record.state, record.inliers = state, count
            record.reason = "" if state is State.OK else "the camera only turned, or stood still"
            found = pending.found
        self._start.pending = []

    def _place_still(self) -> None:
        """Frames of a camera that never moved: they have a place all the same, as far as it only turned."""
        last = self._start.pending[-1]
        if len(last.found) < 2 * self.options.min_inliers:
            return
        last.record.hang_on(self.keys[-1], np.eye(4))
        last.record.state, last.record.inliers = State.LOW_PARALLAX, len(last.found)
        last.record.reason = "the camera only turned, or stood still"
        del self._start.pending[-1]
        self._cam_from_world = np.eye(4)
        self._place_pending(self.keys[-1], last.found)

    def _placed_before(self, found: Found, after: Found, at: Floats) -> tuple[Floats, int, State] | None:
        """A frame's place by the map, or else by its turn to the frame after it; None where neither tells."""
        known = self.points.kind[found.rows] == MAPPED
        if int(known.sum()) >= self.options.min_inliers:
            posed = self._tracker.pose(found[known], at)
            if int(posed.inliers.sum()) >= self.options.min_inliers:
                return posed.cam_from_world, int(posed.inliers.sum()), State.OK
        turn = self._tracker.turn(after, found)
        if turn is None:
            return None
        placed = np.eye(4)
        placed[:3, :3] = turn[0]
        return placed @ at, turn[1], State.LOW_PARALLAX

    # -- tracking

    def _go_on(self, now: Now) -> Record:
        tracked = self._tracked(now)
        if tracked is None or tracked.count < self.options.min_inliers:
            return self._lose(now, 0 if tracked is None else tracked.count)
        cam_from_world = tracked.posed.cam_from_world
        self._velocity = cam_from_world @ inverse(self._cam_from_world)
        self._cam_from_world = cam_from_world
        seen = tracked.found[tracked.posed.inliers]
        self._touch(seen, now)
        candidates = self._cross_candidates(tracked.candidates, now)
        angle = self._tracker.parallax(seen, self.keys[-1], cam_from_world)
        self._since_key += 1
        record = self._record(now.frame, State.OK, "", len(seen))
        record.parallax_deg = math.degrees(angle)
        if len(seen) < 2 * self.options.min_inliers:
            record.state, record.reason = self._doubt(now, len(seen))
        else:
            self._usual_detail = now.look.detail + 0.9 * (self._usual_detail - now.look.detail)
        is_key = self._needs_key(len(seen), len(seen) + len(candidates), angle)
        if is_key:
            before = self._cam_from_world
            hanging = cam_from_world @ inverse(self.keys[-1].cam_from_world)
            self._settle(now.frame.index, is_due=True)
            if self._cam_from_world is not before:
                self._cam_from_world = hanging @ self.keys[-1].cam_from_world
            self._make_key(now, self._cam_from_world, seen.and_then(candidates))
            self.keys[-1].from_last = hanging
            self.atlas.retire(self.options.window, self.options.max_keys)
            self.atlas.recycle()
            self._local = self.atlas.local_rows(self._closer.extra)
            self._adjust_beside(now.frame.index)
            if self.options.loops and self._closer.is_due(now.frame.index):
                self._closer.recognise(view_of(self.keys[-1], now.levels[0], self.points, now.ranges.picture))
        self._hang(record, is_key=is_key)
        return record

    def _tracked(self, now: Now) -> Tracked | None:
        """The best of a few attempts, the dearer ones only where the cheaper ones fail."""
        best: Tracked | None = None
        for predicted, coarsest in ((self._predicted(now), 2), (self._cam_from_world, 3), (self._predicted(now), 3)):
            tracked = self._attempt(now, predicted, coarsest)
            if best is None or tracked.count > best.count:
                best = tracked
            if best.is_good(self.options.min_inliers):
                return best
        if best is not None and best.count >= 2 * self.options.min_inliers:
            return best
        recognised = self._by_description(now)
        if recognised is not None and (best is None or recognised.count > best.count):
            best = recognised
        return best

    def _attempt(self, now: Now, predicted: Floats, coarsest: int) -> Tracked:
        index = self.records[-1].index if self.records else -1
        before = Before(index, self._cam_from_world)
        return self._tracker.attempt(now.levels, now.ranges, self._local, self._candidates, before, predicted, coarsest)

    def _predicted(self, now: Now) -> Floats:
        """Where the last motion leads, if the stamps are to be believed."""
        step = now.frame.time - self._last_time
        ratio = step / self._last_step if self._last_step > 0.0 else 1.0
        if not 0.0 < ratio <= _STEP_RATIO:
            ratio = 1.0
        if abs(ratio - 1.0) < 0.1:
            return self._velocity @ self._cam_from_world
        turn, _ = cv2.Rodrigues(self._velocity[:3, :3])
        motion = np.eye(4)
        motion[:3, :3] = cv2.Rodrigues(turn * ratio)[0]
        motion[:3, 3] = ratio * self._velocity[:3, 3]
        return motion @ self._cam_from_world

    def _by_description(self, now: Now) -> Tracked | None:
        """The learned way: where is this frame among the latest key frames, by descriptors alone?"""
        if now.look.is_void or not self._views:
            return None
        for number, gray, depth in reversed(self._views):
            key = self.keys[number]
            if number in self._places.index:
                place = self._places.index[number]
            elif key.segment == self._segment:
                view = view_of(key, gray, self.points, depth)
                place = self._places.place(view, self._places.describe(gray, view.pixels))
            else:
                continue
            found = self._places.find(self._described(now), [place])
            if found is not None:
                return self._attempt(now, found.query_from_place @ key.cam_from_world, 3)
        return None

    def _described(self, now: Now) -> Description:
        """The frame's descriptors; the network sees it once."""
        if now.description is None:
            now.description = self._places.describe(now.levels[0])
        return now.description

    def _touch(self, found: Found, now: Now) -> None:
        self.points.last_frame[found.rows] = now.frame.index
        self.points.last_pixel[found.rows] = found.pixels

    def _cross_candidates(self, found: Found, now: Now) -> Found:
        """Depths of candidates, from where they are seen; those that contradict the motion are given up."""
        if not len(found):
            return found
        rays = self._rays.rays(found.pixels)
        crossing = cross(self.points, found.rows, rays, self.keys, self._cam_from_world, self._rays.pixels_per_radian)
        self.points.free(found.rows[crossing.is_wrong])
        near = crossing.is_near & ~crossing.is_wrong
        self.points.xyz[found.rows[near]] = crossing.xyz[near]
        ready = found.rows[crossing.is_sure & ~crossing.is_wrong]
        self.points.kind[ready] = MAPPED
        self._local = np.concatenate([self._local, ready])
        kept = found[~crossing.is_wrong]
        self._touch(kept, now)
        return kept

    def _needs_key(self, mapped: int, followed: int, angle: float) -> bool:
        """Whether too little is left of the last key frame, or the view has changed by enough.

        Args:
            mapped: points of the map that are seen.
            followed: those and the ones without a depth.
            angle: parallax since the last key frame, radians; NaN: nothing of it is seen.
        """
        options = self.options
        is_urgent = followed < 0.4 * self._key_count or mapped < 2 * options.min_inliers
        if self._since_key < options.min_key_gap and not is_urgent:
            return False
        if followed < options.key_share * self._key_count or mapped < 4 * options.min_inliers:
            return True
        return not angle * self._rays.pixels_per_radian <= options.key_parallax * self.camera.width

    def _hang(self, record: Record, *, is_key: bool) -> None:
        record.hang_on(self.keys[-1], self._cam_from_world)
        record.is_key = is_key

    # -- lost and found

    def _lose(self, now: Now, found: int) -> Record:
        state, reason = self._doubt(now, found)
        if self._lost_since is None:
            self._lost_since = now.frame.time
        record = self._record(now.frame, state, reason)
        self._is_tracking = False
        return record

    def _find_again(self, now: Now) -> Record | None:
        """Look for a lost frame where it was lost, and among the key frames; None once that has been given up."""
        lost_for = now.frame.time - (self._lost_since if self._lost_since is not None else now.frame.time)
        if not now.look.is_void:
            self._local = self.atlas.local_rows(self._closer.extra)
            tracked = self._attempt(now, self._cam_from_world, 3)
            if not tracked.is_good(self.options.min_inliers):
                other = self._by_description(now) or self._elsewhere(now)
                tracked = other if other is not None and other.count > tracked.count else tracked
            if tracked.count >= 2 * self.options.min_inliers:
                self._is_tracking, self._lost_since = True, None
                self._cam_from_world = tracked.posed.cam_from_world
                self._velocity = np.eye(4)
                seen = tracked.found[tracked.posed.inliers]
                self._touch(seen, now)
                record = self._record(now.frame, State.OK, "", len(seen))
                self._since_key = self.options.min_key_gap
                self._hang(record, is_key=False)
                return record
        if 0.0 <= lost_for < self.options.relocalize_s:
            reason = "the place is looked for among the key frames"
            if now.look.is_void:
                return self._record(now.frame, *self._doubt(now, 0))
            return self._record(now.frame, State.RELOCALIZING, reason)
        self._lost_since = None
        self._segment = max((key.segment for key in self.keys), default=-1) + 1
        self._begin_segment()
        return None

    def _elsewhere(self, now: Now) -> Tracked | None:
        """Look among all described key frames."""
        description = self._described(now)
        places = [place for place in self._places.likely(description, 5) if place.segment == self._segment]
        found = self._places.find(description, places)
        if found is None:
            return None
        self._closer.extra = self.atlas.neighbours(found.key)
        self._local = np.unique(np.concatenate([self._local, *(self.keys[n].rows for n in self._closer.extra)]))
        self._local = self._local[self.points.kind[self._local] == MAPPED]
        return self._attempt(now, found.query_from_place @ self.keys[found.key].cam_from_world, 3)

    # -- key frames

    def _key(self, now: Now, cam_from_world: Floats, seen: Found) -> Key:
        mapped = self.points.kind[seen.rows] == MAPPED
        ahead = self.points.xyz[seen.rows] @ cam_from_world[2, :3] + cam_from_world[2, 3]
        depth, sigma = now.ranges.at(seen.pixels, np.where(mapped & (ahead > 0.0), ahead, 0.0))
        frame = now.frame
        return Key(
            len(self.keys), frame.index, frame.time, frame.name, self._segment, cam_from_world.copy(), seen.rows,
            seen.pixels, seen.covariance, depth, sigma,
        )  # fmt: skip

    def _make_key(self, now: Now, cam_from_world: Floats, seen: Found) -> None:
        key = self._key(now, cam_from_world, seen)
        self.keys.append(key)
        points = self.points
        points.views[seen.rows] += 1
        waiting = (points.kind[seen.rows] == CANDIDATE) & (key.depth > 0.0)
        self._map_by_depth(key, seen.rows[waiting], seen.pixels[waiting], key.depth[waiting])
        taken = np.concatenate([seen.pixels, self._mapped_places(cam_from_world, len(seen))])
        corners = find_corners(now.levels, taken, self.options.max_points - len(seen), self._distance)
        begun = points.begin(corners, now.levels, self._rays, key.number, now.frame.index, self._segment)
        depth, sigma = now.ranges.at(corners, np.zeros(len(corners)))
        key.see(begun, corners, Found.begun(begun, corners).covariance, depth, sigma)
        points.views[begun] = 1
        known = depth > 0.0
        self._map_by_depth(key, begun[known], corners[known], depth[known])
        self._guess_depths(key, begun[~known], seen.rows)
        followed = np.concatenate([seen.rows, begun])
        self._candidates = followed[points.kind[followed] == CANDIDATE]
        self._since_key = 0
        self._key_count = len(followed)
        if now.frame.read_color is not None:
            places = (corners + np.float32(0.5)) / np.float32(self.factor) - np.float32(0.5)
            job = self._beside.submit(colors_at, now.frame.read_color, places)
            self._coloring.append((begun, key.number, job))
        else:
            at = np.rint(corners).astype(np.int64)
            points.color[begun] = now.levels[0][at[:, 1], at[:, 0], None]
        self._views = [*self._views[-(_VIEWS_KEPT - 1) :], (key.number, now.levels[0], now.ranges.picture)]

    def _mapped_places(self, cam_from_world: Floats, seen: int) -> Pixels:
        """Where the map has points that were not looked for, there being enough others: no new ones are needed."""
        if seen < _PLENTY * self.options.max_points:
            return np.zeros((0, 2), np.float32)
        local = self._local[self.points.kind[self._local] == MAPPED]
        pixels, visible = project(self.camera, cam_from_world, self.points.xyz[local])
        return pixels[visible].astype(np.float32)

    def _map_by_depth(self, key: Key, rows: Rows, pixels: Pixels, depth: Floats) -> None:
        rays = self._rays.rays(pixels)
        seen = rays * (depth / rays[:, 2])[:, None]
        world_from_cam = key.world_from_cam
        self.points.xyz[rows] = seen @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
        self.points.kind[rows] = MAPPED

    def _guess_depths(self, key: Key, begun: Rows, others: Rows) -> None:
        """Candidates are taken to be as far as the points around them."""
        known = others[self.points.kind[others] == MAPPED]
        seen = self.points.xyz[known] @ key.cam_from_world[:3, :3].T + key.cam_from_world[:3, 3]
        distance = float(np.median(np.linalg.norm(seen, axis=1))) if len(known) else 1.0
        world_from_cam = key.world_from_cam
        rays = self.points.host_rays[begun, 0]
        self.points.xyz[begun] = (distance * rays) @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]

    def _adjust_beside(self, frame: int) -> None:
        """Adjust the latest key frames beside the tracking."""
        job = self.atlas.window_job(self._segment, self.options.window, self.options.held)
        if job is not None:
            self._adjusting = frame, self._beside.submit(adjust, job)

    def _settle(self, frame: int, *, is_due: bool = False) -> None:
        """Take over what was worked out beside the tracking, always at the same frame, so that runs are repeatable."""
        if self._adjusting is not None and (is_due or frame >= self._adjusting[0] + _ADJUSTING_LAG):
            job = self._adjusting[1]
            self._adjusting = None
            self._apply(job.result)
            self._follow_map()
        if is_due:
            self._take_colors()
        if frame >= 0:
            self._closer.take(frame)

    def _apply(self, adjusted: Callable[[], Adjusted | None]) -> None:
        """Take over an adjustment; one that cannot be solved leaves the map as it is, and is told."""
        try:
            done = adjusted()
        except (InputError, EstimationError, UsageError) as error:
            self._tell(f"some key frames could not be adjusted: {error}")
            return
        if done is not None:
            self.atlas.apply(done)

    def _take_colors(self) -> None:
        for rows, host, job in self._coloring:
            colors = job.result()
            if colors is not None:
                own = self.points.host[rows] == host
                self.points.color[rows[own]] = colors[own]
        self._coloring = []

    def _follow_map(self) -> None:
        """The last frame's place, after the map has moved."""
        if not self._is_tracking or not self.records:
            return
        moved = self.records[-1].cam_from_world(self.keys)
        if moved is not None:
            self._cam_from_world = moved

    def _map_moved(self, grown: float) -> None:
        """Follow a correction of the whole map; `grown`: lengths at the latest key frame over what they were."""
        if self._is_tracking or self._lost_since is not None:
            # Its segment may have become part of another.
            self._segment = self.keys[-1].segment
        self._follow_map()
        if self._is_tracking:
            self._velocity[:3, 3] *= grown
            self._local = self.atlas.local_rows(self._closer.extra)
