"""What is made of places seen before: loops that correct the path, and segments that are joined."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.odometry.atlas import Atlas
from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.places import ClosedLoops, LoopConstraint, LoopGate, Meeting, close_loops, join
from cv3d.odometry.recognition import Recognised, Recognizer, View
from cv3d.odometry.results import Loop

Floats = NDArray[np.float64]

_DESCRIBED_GAP = 10
"""Fewest frames between key frames that are described."""
_CONSTRAINTS = 100
"""Loops, the latest, that a correction takes into account."""
_LAG = 20
"""Frames that the correction of loops has before it is waited for."""
_AGREES = 0.05
"""Shift over the distance of what is seen, and turn in radians, up to which a loop tells nothing new."""


@dataclass(frozen=True, eq=False)
class _Closing:
    """A correction under way."""

    frame: int
    numbers: tuple[int, ...]
    world_from_cam: Floats
    """(n, 4, 4) as they were."""
    job: Future[ClosedLoops]


class LoopCloser:
    """Turns recognised places into corrections of the map."""

    def __init__(
        self,
        atlas: Atlas,
        places: Recognizer,
        beside: ThreadPoolExecutor,
        on_moved: Callable[[float], None],
        *,
        is_metric: bool,
    ) -> None:
        """Begin with no loops.

        Args:
            atlas: the map.
            places: what recognises key frames.
            beside: runs corrections beside the tracking.
            on_moved: is told that the map has moved, and by what lengths at its latest key frame have grown.
            is_metric: whether lengths are known.
        """
        self.loops: list[Loop] = []
        self.extra: list[int] = []
        """Key frames that the present place was recognised at, whose points may be seen next."""
        self._atlas = atlas
        self._places = places
        self._beside = beside
        self._on_moved = on_moved
        self._is_metric = is_metric
        self._gate = LoopGate()
        self._constraints: list[LoopConstraint] = []
        self._meetings: list[Meeting] = []
        self._closing: _Closing | None = None
        self._last_described = -_DESCRIBED_GAP

    def is_due(self, frame: int) -> bool:
        """Whether a key frame at this frame should be recognised."""
        return not self._places.is_busy and frame >= self._last_described + _DESCRIBED_GAP

    def recognise(self, view: View) -> None:
        """Have a key frame described and looked for, beside the tracking."""
        self._last_described = view.frame
        self._places.submit(view, self._atlas.neighbours(view.key))

    def take(self, frame: int, *, is_last: bool = False) -> None:
        """Take over what is due at a frame, or, after the last one, all that is under way."""
        if self._closing is not None and (is_last or frame >= self._closing.frame + _LAG):
            closing, self._closing = self._closing, None
            self._take_closed(closing)
        done = self._places.take(frame, is_last=is_last)
        if done is not None:
            self._learn(done, frame)
        if is_last and self._closing is not None:
            closing, self._closing = self._closing, None
            self._take_closed(closing)

    def _learn(self, done: Recognised, frame: int) -> None:
        """What a recognised key frame means for the path."""
        keys = self._atlas.keys
        query = keys[done.view.key]
        meetings = [
            Meeting.of(query.number, found, query.world_from_cam, keys[found.key].world_from_cam)
            for found in done.found
        ]
        for meeting in self._gate.judge(meetings):
            place, other = keys[meeting.place], keys[meeting.query]
            if place.segment != other.segment:
                self._meetings.append(meeting)
                self._join(place.segment, other.segment)
                continue
            self._constraints.append(meeting.constraint(place.number, other.number))
            del self._constraints[:-_CONSTRAINTS]
            self.loops.append(Loop(other.frame, place.frame, meeting.inliers, joined_segments=False))
            if self._says_more(meeting):
                self._close(other.segment, frame)
            self.extra = self._atlas.neighbours(place.number)

    def _says_more(self, meeting: Meeting) -> bool:
        """Whether the path as it is disagrees with a loop."""
        place, query = self._atlas.keys[meeting.place], self._atlas.keys[meeting.query]
        off = meeting.place_from_query @ inverse(place.cam_from_world @ query.world_from_cam)
        scale = float(np.cbrt(np.linalg.det(off[:3, :3])))
        turn = float(np.linalg.norm(cv2.Rodrigues(off[:3, :3] / scale)[0]))
        shift = float(np.linalg.norm(off[:3, 3]))
        return shift > _AGREES * meeting.depth or turn > _AGREES or abs(math.log(scale)) > 2.0 * _AGREES

    def _close(self, segment: int, frame: int) -> None:
        """Correct a segment by its loops; one at a time, a later one has all loops anyway."""
        if self._closing is not None:
            return
        own = self._atlas.segment(segment)
        place = {key.number: i for i, key in enumerate(own)}
        constraints = [
            LoopConstraint(place[c.first], place[c.second], c.first_from_second, c.covariance)
            for c in self._constraints
            if c.first in place and c.second in place
        ]
        steps = [(i, i + gap) for gap in (1, 2) for i in range(len(own) - gap)]
        first, second = np.array(steps, np.int64).reshape(-1, 2).T
        poses = np.stack([key.world_from_cam for key in own])
        job = self._beside.submit(close_loops, poses, first, second, constraints, self._is_metric)
        self._closing = _Closing(frame, tuple(place), poses, job)

    def _take_closed(self, closing: _Closing) -> None:
        """Take over corrected loops."""
        try:
            closed = closing.job.result()
        except EstimationError:
            # Key frames that hang together with nothing: there is nothing to correct.
            return
        if not closed.accepted.any():
            return
        keys = self._atlas.keys
        last = keys[closing.numbers[-1]]
        newer = [key for key in self._atlas.segment(last.segment) if key.number > last.number]
        poses, scales = [], []
        for i, number in enumerate(closing.numbers):
            # What was adjusted in the meantime stays adjusted.
            change = closed.world_from_cam[i] @ inverse(closing.world_from_cam[i])
            poses.append(change @ keys[number].world_from_cam)
            scales.append(float(closed.scales[i]))
        for key in newer:
            # What came in the meantime goes along with the last key frame that was corrected.
            from_last = last.cam_from_world @ key.world_from_cam
            from_last[:3, 3] *= closed.scales[-1]
            poses.append(poses[len(closing.numbers) - 1] @ from_last)
            scales.append(float(closed.scales[-1]))
        self._move([*(keys[number] for number in closing.numbers), *newer], np.stack(poses), np.array(scales))

    def _move(self, own: list[Key], world_from_cam: Floats, scales: Floats) -> None:
        self._atlas.move([key.number for key in own], world_from_cam, scales)
        grown = {key.number: float(scale) for key, scale in zip(own, scales, strict=True)}
        for key in own:
            self._places.index.move_to_segment([key.number], key.segment, grown[key.number])
        self._constraints = [
            replace(one, first_from_second=_rescaled(one, grown)) if one.first in grown or one.second in grown else one
            for one in self._constraints
        ]
        self._gate.forget()
        self._on_moved(grown.get(self._atlas.keys[-1].number, 1.0))

    def _join(self, first: int, second: int) -> None:
        """Make one of two segments, where meetings tell how they lie."""
        keys = self._atlas.keys
        pair = {first, second}
        into, away = min(pair), max(pair)
        between = [
            meeting
            for meeting in self._meetings
            if keys[meeting.place].segment == into and keys[meeting.query].segment == away
        ]
        joined = join(between, self._is_metric) if between else None
        if joined is None:
            return
        own = self._atlas.segment(away)
        poses = joined.moved(np.stack([key.world_from_cam for key in own]))
        for meeting, agrees in zip(between, joined.agreeing, strict=True):
            if agrees:
                query, place = keys[meeting.query], keys[meeting.place]
                self.loops.append(Loop(query.frame, place.frame, meeting.inliers, joined_segments=True))
                self._constraints.append(meeting.constraint(place.number, query.number))
        self._meetings = [one for one in self._meetings if all(one is not meeting for meeting in between)]
        self._atlas.join(away, into)
        self._move(own, poses, np.full(len(own), joined.scale))


def _rescaled(constraint: LoopConstraint, grown: dict[int, float]) -> Floats:
    """A loop's motion, (4, 4), after lengths at its ends have grown."""
    first, second = grown.get(constraint.first, 1.0), grown.get(constraint.second, 1.0)
    motion = constraint.first_from_second.copy()
    motion[:3, :3] *= first / second
    motion[:3, 3] *= first
    return motion
