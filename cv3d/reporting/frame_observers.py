"""Who looks on while odometry runs: the progress line, and whatever else is handed every frame."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.results import FrameResult
from cv3d.reporting.progress import Reporter

_OVER = 30
"""Frames that the rate is taken over."""


class FrameObserver(Protocol):
    """Is handed every frame right after it was tracked, from the thread that tracks."""

    def __call__(self, frame: FrameResult, gray: NDArray[np.uint8]) -> None:
        """Look at a frame and its grey picture, (H, W)."""


OnFrame: TypeAlias = Callable[[FrameResult, NDArray[np.uint8]], None]


class FrameStatus:
    """Frames per second and the state, beside the progress."""

    def __init__(self, progress: Reporter, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._times: deque[float] = deque(maxlen=_OVER + 1)

    def __call__(self, frame: FrameResult, gray: NDArray[np.uint8]) -> None:
        """Note how it goes."""
        self._times.append(self._clock())
        words = frame.state.value
        spent = self._times[-1] - self._times[0]
        if len(self._times) > 1 and spent > 0.0:
            words = f"{(len(self._times) - 1) / spent:.3g} frames/s, {words}"
        self._progress.note(words)


def together(observers: Sequence[FrameObserver]) -> OnFrame:
    """One function for all of them, in their order."""

    def on_frame(frame: FrameResult, gray: NDArray[np.uint8]) -> None:
        for observer in observers:
            observer(frame, gray)

    return on_frame
