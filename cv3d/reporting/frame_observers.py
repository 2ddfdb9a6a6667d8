"""Who looks on while odometry runs: the progress line, and whatever else is handed every frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.results import FrameResult
from cv3d.reporting.progress import Reporter


class FrameObserver(Protocol):
    """Is handed every frame right after it was tracked, from the thread that tracks."""

    def __call__(self, frame: FrameResult, gray: NDArray[np.uint8]) -> None:
        """Look at a frame and its grey picture, (H, W)."""


OnFrame: TypeAlias = Callable[[FrameResult, NDArray[np.uint8]], None]


class FrameStatus:
    """The state, beside the progress, which tells the rate."""

    def __init__(self, progress: Reporter) -> None:
        self._progress = progress

    def __call__(self, frame: FrameResult, gray: NDArray[np.uint8]) -> None:
        """Note how it goes."""
        self._progress.note(frame.state.value)


def together(observers: Sequence[FrameObserver]) -> OnFrame:
    """One function for all of them, in their order."""

    def on_frame(frame: FrameResult, gray: NDArray[np.uint8]) -> None:
        for observer in observers:
            observer(frame, gray)

    return on_frame
