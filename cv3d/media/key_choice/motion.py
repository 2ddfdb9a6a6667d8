"""How far the view moves through a clip, measured cheaply on small grey pictures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

_LONGEST_SIDE = 320
_CORNERS = 100
_REFILL = 0.6
"""Share of the corners below which new ones are looked for."""
_APART_PX = 7
_CORNER_QUALITY = 0.01
_USUAL = 0.7
"""Quantile of the corners' displacements that counts as motion: around a thing that the camera goes round, what is
before it and what is behind move against each other, and about half of all hardly at all."""
_FEWEST = 10
"""Corners below which a quantile of their displacements is not trusted."""
_SURVIVING = 0.25
"""Share of the corners that has to be found again for two frames to show the same scene."""
_COMMON = 0.65
"""Share of the corners of a moment that has to be seen still for motion to be measured from it: what stays in sight
longest is what moves least."""
_BACKWARD_PX = 1.0
_WINDOW = (13, 13)
_LEVELS = 3
_TERMINATION = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
_SAME_LEVELS = 0.12
"""Mean absolute difference of small pictures, grey levels, below which a frame repeats the one before: what the
compression of a repeated frame leaves; the noise of a sensor leaves more."""
_BLANK_LEVELS = 3.0
"""Standard deviation of a small picture, grey levels, below which it shows nothing to follow."""
_SHIFT_RESPONSE = 0.15
"""Height of the phase correlation's peak from which a shift is believed."""
_ALIKE = 0.8
"""Correlation of thumbnails from which two frames are taken to show the same scene."""
_THUMBNAIL = (16, 16)

Small = NDArray[np.uint8]


class Step(StrEnum):
    """How a frame goes on from the one before it."""

    FIRST = "first"
    MOVED = "moved"
    """The same scene, moved or not."""
    SAME = "same"
    """The very same picture again."""
    BLANK = "blank"
    """Nothing can be seen in it; the next frame is compared with the one before it."""
    CUT = "cut"
    """Another scene."""


@dataclass(frozen=True, eq=False)
class Mark:
    """A moment of the clip from which motion can be measured."""

    ids: NDArray[np.int64]
    """Of the corners, (n,), ascending."""
    points: NDArray[np.float32]
    """Where they were, (n, 2), pixels of the small picture."""
    travelled: float
    """Length of the way up to here, shares of the diagonal."""
    diagonal: float
    """Of the small picture, pixels."""

    def since(self, earlier: Mark) -> float:
        """The usual displacement of what is seen in both, or, where that is too little, the length of the way."""
        displaced = self.displaced(earlier)
        return self.travelled - earlier.travelled if displaced is None else displaced

    def displaced(self, earlier: Mark) -> float | None:
        """The usual displacement of what is seen in both; None where that is too little."""
        _, now, then = np.intersect1d(self.ids, earlier.ids, assume_unique=True, return_indices=True)
        if len(now) < max(_FEWEST, _COMMON * len(earlier.ids)):
            return None
        return _usual_length(self.points[now] - earlier.points[then]) / self.diagonal


class Distance:
    """How far the view is from where it was at a mark: neither shaking adds up in it nor going to and fro.

    Where what was seen then is out of sight, it is measured on from the last moment at which it was not.
    """

    def __init__(self, start: Mark) -> None:
        self._anchor, self._base = start, 0.0
        self._previous, self.value = start, 0.0

    def go_on(self, now: Mark) -> float:
        """Measure to the next moment; the motion since the start, a share of the diagonal."""
        displaced = now.displaced(self._anchor)
        if displaced is None:
            self._anchor, self._base = self._previous, self.value
            displaced = now.since(self._anchor)
        self._previous, self.value = now, self._base + displaced
        return self.value


class MotionMeter:
    """Follows corners through the frames of one clip; lengths are shares of the picture's diagonal."""

    def __init__(self) -> None:
        self.travelled = 0.0
        self._previous: Small | None = None
        self._pace = 0.0
        self._next_id = 0
        self._diagonal = 1.0
        self._forget()

    def advance(self, small: Small) -> Step:
        """Go on to the next frame.

        Args:
            small: the frame as :func:`small_picture` makes it, (h, w), all of one size.
        """
        if float(small.std()) < _BLANK_LEVELS:
            return Step.BLANK
        previous = self._previous
        if previous is None or previous.shape != small.shape:
            self._begin(small)
            return Step.FIRST if previous is None else Step.CUT
        if float(cv2.norm(small, previous, cv2.NORM_L1)) < _SAME_LEVELS * small.size:
            return Step.SAME
        moved = self._follow(previous, small)
        if moved is None:
            moved = self._bridge(previous, small)
            self._forget()
        if moved is None:
            self._begin(small)
            return Step.CUT
        self._pace = moved
        self.travelled += moved
        self._previous = small
        if len(self._points) < _REFILL * _CORNERS:
            self._refill(small)
        return Step.MOVED

    def mark(self) -> Mark:
        """The present moment."""
        return Mark(self._ids, self._points, self.travelled, self._diagonal)

    def _begin(self, small: Small) -> None:
        self._previous, self._pace = small, 0.0
        self._diagonal = float(np.hypot(*small.shape))
        self._forget()
        self._refill(small)

    def _forget(self) -> None:
        self._ids, self._points = np.zeros(0, np.int64), np.zeros((0, 2), np.float32)

    def _follow(self, previous: Small, small: Small) -> float | None:
        """Lucas-Kanade there and back (Bouguet 2000); None where too few corners are found again."""
        before = self._points
        if len(before) < _FEWEST:
            return None
        after, found = _flow(previous, small, before)
        back, found_back = _flow(small, previous, after)
        good = found & found_back & (np.abs(back - before).max(axis=1) < _BACKWARD_PX)
        good &= ((after >= 0) & (after < small.shape[::-1])).all(axis=1)
        if int(good.sum()) < max(_FEWEST, _SURVIVING * len(before)):
            return None
        self._ids, self._points = self._ids[good], after[good]
        return _usual_length(after[good] - before[good]) / self._diagonal

    def _bridge(self, previous: Small, small: Small) -> float | None:
        """What moved where no corner could be followed: blur, or too little to see; None where the scene changed."""
        window = cv2.createHanningWindow((small.shape[1], small.shape[0]), cv2.CV_32F)
        (across, down), response = cv2.phaseCorrelate(previous.astype(np.float32), small.astype(np.float32), window)
        if response >= _SHIFT_RESPONSE:
            return float(np.hypot(across, down)) / self._diagonal
        return self._pace if _correlation(previous, small) >= _ALIKE else None

    def _refill(self, small: Small) -> None:
        free = np.full(small.shape, 255, np.uint8)
        for x, y in self._points:
            cv2.circle(free, (int(x), int(y)), _APART_PX, 0, -1)
        room = _CORNERS - len(self._points)
        corners: MatLike | None = cv2.goodFeaturesToTrack(
            small, room, _CORNER_QUALITY, _APART_PX, mask=free, blockSize=5
        )
        if corners is None:
            return
        new = corners.reshape(-1, 2).astype(np.float32)
        self._points = np.concatenate((self._points, new))
        self._ids = np.concatenate((self._ids, self._next_id + np.arange(len(new))))
        self._next_id += len(new)


def small_picture(gray: NDArray[np.uint8]) -> Small:
    """A grey picture, (H, W), reduced by a whole number, which is fastest, to at most 320 pixels on each side."""
    block = -(-max(gray.shape) // _LONGEST_SIDE)
    height, width = (max(1, side // block) for side in gray.shape)
    whole = gray[: height * block, : width * block]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _flow(first: Small, second: Small, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        first, second, points, points.copy(), winSize=_WINDOW, maxLevel=_LEVELS, criteria=_TERMINATION
    )
    return np.asarray(moved, np.float32).reshape(-1, 2), np.asarray(found).ravel() > 0


def _usual_length(displacements: NDArray[np.float32]) -> float:
    lengths = np.hypot(displacements[:, 0], displacements[:, 1])
    return float(np.quantile(lengths, _USUAL))


def _correlation(first: Small, second: Small) -> float:
    """Pearson's correlation of thumbnails."""
    a, b = (cv2.resize(one, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float64) for one in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0.0 else 0.0
