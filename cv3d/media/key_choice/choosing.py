"""Choosing the key frames of a clip by how far the view moves, in one pass over it."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import UsageError
from cv3d.media.held import HELD_BYTES, PixelStore
from cv3d.media.key_choice.exposure import ExposureGauge
from cv3d.media.key_choice.motion import Distance, Mark, MotionMeter, Step, small_picture
from cv3d.media.key_choice.result import KeyFrameChoice, PassedOver
from cv3d.media.key_choice.thinning import CUT, Key, thin
from cv3d.media.pipeline import in_background
from cv3d.media.sharpness import sharpness
from cv3d.media.video import VideoFrame, probe_video, video_frames
from cv3d.progress import SILENT, Progress

STEP = 0.05
"""Motion between neighbouring key frames, share of the diagonal, unless told otherwise: nine tenths of a view are seen
in the next one, too."""
_NEAREST, _FARTHEST, _FARTHEST_BLURRED = 0.5, 1.5, 2.5
"""Steps from a key frame between which the next one lies; the last where all before were blurred."""
_SPREAD = 0.6
"""Steps off the ideal place at which a frame counts for e^-0.5."""
_BLURRED = 0.5
"""Share of the usual sharpness below which a key frame is put off for a better one."""
_RECENT = 7
"""Key frames whose median sharpness is the usual one."""
_APART = 0.125
"""Steps between frames that are compared: more of them cost time and gain little."""
_PATIENCE = 5
"""Frames after which one is compared although the view has not moved by that."""
_STILL = 0.003
"""Motion over the whole clip, share of the diagonal, up to which nothing moved."""
_BANDS = (0.25, 0.5, 0.75)
"""Middles of the bands of a picture that are looked at for sharpness, shares of its height."""
_BANDED = 0.35
"""Share of the picture that they make up."""
_FLATTEST = 1e-9
"""Sharpness of a frame without edges, so that its place and its exposure still count."""
_BADLY_EXPOSED = 0.7


@dataclass
class _Candidate:
    """A frame that may become the next key frame."""

    frame: VideoFrame
    gray: NDArray[np.uint8]
    mark: Mark
    sharpness: float = 0.0
    exposure: float = 1.0
    distance: float = 0.0
    """Motion since the last key frame, or since the scene began, share of the diagonal."""
    closeness: float = 1.0
    """How well it lies between its neighbours, from 0 to 1."""

    def __post_init__(self) -> None:
        self.onward = Distance(self.mark)

    @property
    def quality(self) -> float:
        return max(self.sharpness, _FLATTEST) * self.exposure

    @property
    def score(self) -> float:
        return self.quality * self.closeness


@dataclass
class _Chooser:
    """Looks at one frame after the other and keeps at most one and a half times as many as are asked for."""

    path: Path
    name: str
    limit: int
    step: float
    store: PixelStore
    keys: list[Key] = field(default_factory=list)
    passed_over: Counter[PassedOver] = field(default_factory=Counter)
    farthest: float = 0.0
    """Longest motion since the beginning of a scene."""

    def __post_init__(self) -> None:
        self._meter = MotionMeter()
        self._gauge = ExposureGauge()
        self._usual: deque[float] = deque(maxlen=_RECENT)
        self._scene = 0
        self._from_start = self._from_last = Distance(self._meter.mark())
        self._is_begun = False
        self._place = 0.0
        self._best: _Candidate | None = None
        self._compared_at = -np.inf
        self._waited = 0
        self._spare: _Candidate | None = None

    def look(self, frame: VideoFrame) -> None:
        """Go on to the next frame."""
        gray = frame.gray()
        small = small_picture(gray)
        kind = self._meter.advance(small)
        if kind is Step.BLANK:
            self.passed_over[PassedOver.BLANK] += 1
            self._spare = self._spare or _Candidate(frame, gray, self._meter.mark())
            return
        exposure = self._gauge.judge(small)
        if kind is Step.SAME:
            self.passed_over[PassedOver.REPEATED] += 1
            return
        if kind is Step.CUT:
            self._take()
            self._scene += 1
        mark = self._meter.mark()
        if kind in (Step.CUT, Step.FIRST):
            self._from_start, self._from_last, self._is_begun = Distance(mark), Distance(mark), False
            self._usual.clear()
        self.farthest = max(self.farthest, self._from_start.go_on(mark))
        self._consider(_Candidate(frame, gray, mark, exposure=exposure))

    def finish(self) -> None:
        """After the last frame."""
        if self._best is None and not self.keys and self._spare is not None:
            self._best = self._spare
            self.passed_over[PassedOver.BLANK] -= 1
        self._take()
        self._thin(self.limit)

    def _consider(self, now: _Candidate) -> None:
        """Take the best frame so far where this one is too far on; see whether this one is better."""
        steps = self._from_last.go_on(now.mark) / self.step
        if self._best is not None:
            self._best.onward.go_on(now.mark)
            if steps > self._reach():
                self._take()
                steps = self._from_last.value / self.step
        self._waited += 1
        is_beside = abs(steps - self._compared_at) < _APART and self._waited < _PATIENCE
        if (self._is_begun and steps < _NEAREST) or (self._best is not None and is_beside):
            self.passed_over[PassedOver.NEAR] += 1
            return
        self._compared_at, self._waited = steps, 0
        off = (steps - 1.0) / _SPREAD if self._is_begun else 0.0
        now.distance = steps * self.step
        now.closeness = float(np.exp(-0.5 * off * off))
        now.sharpness = _quick_sharpness(now.gray)
        worse, better = self._best, now
        if worse is not None and worse.score >= now.score:
            worse, better = now, worse
        self._best = better
        if worse is not None:
            self.passed_over[_why(worse, better)] += 1

    def _reach(self) -> float:
        """Steps beyond which the best frame so far is taken."""
        if not self._is_begun:
            return _NEAREST
        is_blurred = self._best is not None and self._best.quality < _BLURRED * float(np.median(self._usual))
        return _FARTHEST_BLURRED if is_blurred else _FARTHEST

    def _take(self) -> None:
        """Make the best frame so far a key frame."""
        best, self._best, self._compared_at = self._best, None, -np.inf
        if best is None:
            return
        if self._is_begun:
            self._place += best.distance
        elif self.keys:
            self._place += CUT
        self._is_begun, self._from_last = True, best.onward
        self._usual.append(best.quality)
        picture = self.store.picture(self.path, self.name, best.frame, best.gray)
        self.keys.append(Key(picture, sharpness(best.gray), best.quality, self._place, self._scene))
        if len(self.keys) > 1.5 * self.limit + 1:
            self._thin(self.limit)

    def _thin(self, limit: int) -> None:
        kept, self.step = thin(self.keys, limit, self.step)
        ids = {id(key) for key in kept}
        for key in self.keys:
            if id(key) not in ids:
                self.store.room += len(key.picture.held_gray or b"")
        self.passed_over[PassedOver.LIMIT] += len(self.keys) - len(kept)
        self.keys = kept


def _quick_sharpness(gray: NDArray[np.uint8]) -> float:
    """The sharpness of a few bands of the picture: good enough to compare frames that show nearly the same."""
    height = gray.shape[0]
    band = max(1, round(height * _BANDED / len(_BANDS)))
    tops = (round(height * middle - band / 2) for middle in _BANDS)
    return float(np.mean([sharpness(gray[max(0, top) : top + band]) for top in tops]))


def _why(worse: _Candidate, better: _Candidate) -> PassedOver:
    is_as_sharp = worse.sharpness >= better.sharpness
    return PassedOver.EXPOSURE if is_as_sharp and worse.exposure < _BADLY_EXPOSED else PassedOver.BLURRED


def choose_key_frames(
    path: str | Path,
    *,
    max_frames: int = 300,
    step: float = STEP,
    name: str | None = None,
    held_bytes: int = HELD_BYTES,
    progress: Progress = SILENT,
) -> KeyFrameChoice:
    """Choose frames of a clip that show the scene from view to view, each the best of its stretch.

    A stretch is a range of motion, not of time: corners are followed through small grey pictures, and how far most of
    them are from where they were at the last key frame says how far the view has moved. So a camera at rest gives one
    frame, a quick one gives many, and repeated frames give none. Of the frames about one `step` on, the one is taken
    that is sharp, exposed like its neighbours and close to the ideal place. Sharpness is compared within a stretch
    only: where there is little to see, or everything is somewhat blurred, there still are key frames. At a cut all
    begins anew.

    The clip is decoded once, in bounded memory: small pictures, the best frame so far, and of the chosen frames the
    compressed grey pixels up to `held_bytes`; beyond them pictures are references, which are read by seeking.

    Args:
        path: the video.
        max_frames: the most frames to return; where there would be more, the steps become longer.
        step: motion between neighbouring key frames, share of the picture's diagonal.
        name: how results call the video; its file name by default.
        held_bytes: memory that the compressed pixels may take.
        progress: told about the frames as they are looked at.

    Raises:
        InputError: the file cannot be read.
        PictureError: it is no video, or none of its frames can be decoded.
        UsageError: `max_frames` or `step` is not positive.
    """
    if max_frames < 1 or not 0.0 < step < np.inf:
        raise UsageError(f"key frames need a positive number and step, not {max_frames} and {step}")
    path = Path(path)
    chooser = _Chooser(path, name or path.name, max_frames, step, PixelStore(held_bytes))
    stage = "choose frames"
    progress.start(stage, probe_video(path).frame_count)
    frame_count = 0
    with video_frames(path) as frames, closing(in_background(frames)) as decoded:
        for frame in decoded:
            frame_count += 1
            progress.advance(stage)
            chooser.look(frame)
    chooser.finish()
    progress.finish(stage)
    keys = chooser.keys
    before = [None, *keys[:-1]]
    return KeyFrameChoice(
        pictures=tuple(key.picture for key in keys),
        sharpness=tuple(key.sharpness for key in keys),
        motion=tuple(
            key.place - last.place if last is not None and last.scene == key.scene else 0.0
            for key, last in zip(keys, before, strict=True)
        ),
        scenes=tuple(key.scene for key in keys),
        passed_over={reason: count for reason in PassedOver if (count := chooser.passed_over[reason])},
        frame_count=frame_count,
        step=chooser.step,
        is_still=len({key.scene for key in keys}) == 1 and chooser.farthest < _STILL,
        damaged=frames.damaged,
    )
