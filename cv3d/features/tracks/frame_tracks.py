"""What a builder is given and gives back, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Frame(Protocol):
    """A frame of a clip or of a live camera; :class:`cv3d.media.VideoFrame` is one."""

    @property
    def time(self) -> float:
        """The source's own stamp, seconds."""

    def gray(self) -> NDArray[np.uint8]:
        """(H, W), full range."""


@dataclass(frozen=True, eq=False)
class GrayFrame:
    """A frame that is decoded already, from a live camera for example."""

    time: float
    """The source's own stamp, seconds."""
    pixels: NDArray[np.uint8]
    """(H, W)"""

    def gray(self) -> NDArray[np.uint8]:
        """The pixels."""
        return self.pixels


@dataclass(frozen=True)
class FrameStatistics:
    """How tracking fared in one frame."""

    alive: int
    """Points observed in it."""
    new: int
    """Of these, how many begin here."""
    lost: int
    """Points of the frame before that are not observed here."""
    relinked: int
    """Points that had been lost and are found again here."""
    error: float
    """Median forward-backward error, pixels; NaN where nothing was followed."""
    is_key: bool
    """Whether keypoints were looked for here."""
    ms: float
    """Wall time of the frame, milliseconds, without its decoding."""
    note: str
    """What was out of the ordinary, in words for the user; else empty."""


@dataclass(frozen=True, eq=False)
class FrameTracks:
    """The observations of one frame."""

    index: int
    """Of the frame, counted by the builder from 0."""
    time: float
    """The frame's stamp, seconds."""
    size: tuple[int, int]
    """Width and height of the frame, pixels."""
    tracks: NDArray[np.int32]
    """(n,) ids, ascending."""
    pixels: NDArray[np.float32]
    """(n, 2), pixels."""
    error: NDArray[np.float32]
    """(n,) forward-backward error, pixels; NaN where nothing was followed."""
    covariance: NDArray[np.float32]
    """(n, 3) variances of x and y and their covariance, pixels²; NaN where it is not known."""
    flags: NDArray[np.uint8]
    """(n,) of :class:`cv3d.features.tracks.tracks.Flag`."""
    merged: NDArray[np.int32]
    """(m, 2) tracks found to be of one point: the id that stays, and the id whose earlier observations are its own. The
    second never was in a frame together with the first and does not occur from here on."""
    statistics: FrameStatistics
    """How tracking fared."""
