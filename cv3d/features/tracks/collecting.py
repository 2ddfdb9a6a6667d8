"""From the observations of one frame after another to :class:`Tracks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.features.tracks.frame_tracks import FrameTracks
from cv3d.features.tracks.tracks import Tracks


class TrackCollector:
    """Keeps what a builder gives, about 33 bytes an observation, and carries out its mergers."""

    def __init__(self) -> None:
        self._frames: list[FrameTracks] = []
        self._kept_as: dict[int, int] = {}

    def add(self, frame: FrameTracks) -> None:
        """Take the next frame's observations."""
        self._frames.append(frame)
        for kept, away in frame.merged.tolist():
            self._kept_as[away] = kept

    def tracks(self, least_length: int = 1, about: Mapping[str, Any] | None = None) -> Tracks:
        """All of them so far.

        Args:
            least_length: shorter tracks are left out.
            about: how they were made.
        """
        frames = self._frames
        counts = [len(frame.tracks) for frame in frames]
        frame = np.repeat(np.arange(len(frames), dtype=np.int32), counts)
        track = self._final(_stacked([f.tracks for f in frames], np.int32))
        order = np.lexsort((track, frame))
        tracks = Tracks(
            times=np.array([f.time for f in frames], np.float64),
            sizes=np.array([f.size for f in frames], np.int32).reshape(-1, 2),
            frame=frame[order],
            track=track[order],
            pixels=_stacked([f.pixels for f in frames], np.float32, 2)[order],
            error=_stacked([f.error for f in frames], np.float32)[order],
            covariance=_stacked([f.covariance for f in frames], np.float32, 3)[order],
            flags=_stacked([f.flags for f in frames], np.uint8)[order],
            about=about or {},
        )
        return tracks if least_length <= 1 else tracks.at_least(least_length)

    def _final(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """The ids under which tracks live on after all mergers."""
        if not self._kept_as:
            return ids
        final = np.arange(int(ids.max(initial=0)) + 1, dtype=np.int32)
        for away in self._kept_as:
            kept = away
            while kept in self._kept_as:
                kept = self._kept_as[kept]
            final[away] = kept
        return final[ids]


def _stacked(parts: list[NDArray[Any]], kind: type, width: int = 0) -> NDArray[Any]:
    empty: NDArray[Any] = np.zeros((0, width) if width else 0, kind)
    return np.concatenate([empty, *parts])
