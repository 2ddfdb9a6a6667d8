"""Mergers: what is found to be one point is one track."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.errors import InputError
from cv3d.features.tracks import FrameStatistics, FrameTracks, TrackCollector


def observed(index: int, tracks: list[int], merged: list[tuple[int, int]] | None = None) -> FrameTracks:
    count = len(tracks)
    return FrameTracks(
        index=index,
        time=index / 10.0,
        size=(64, 48),
        tracks=np.array(tracks, np.int32),
        pixels=np.stack([np.array(tracks), np.full(count, index)], 1).astype(np.float32),
        error=np.full(count, 0.1, np.float32),
        covariance=np.zeros((count, 3), np.float32),
        flags=np.zeros(count, np.uint8),
        merged=np.array(merged or [], np.int32).reshape(-1, 2),
        statistics=FrameStatistics(count, 0, 0, 0, 0.1, False, 1.0, ""),
    )


def test_the_past_of_a_merged_track_becomes_the_others() -> None:
    collector = TrackCollector()
    for one in (observed(0, [0, 1]), observed(1, [1, 2]), observed(2, [0, 1], [(0, 2)])):
        collector.add(one)
    tracks = collector.tracks()
    assert tracks.ids.tolist() == [0, 1]
    assert tracks.frame[tracks.of_track(0)].tolist() == [0, 1, 2]
    # Within a frame, tracks are in order under their final ids.
    assert tracks.track[tracks.in_frame(1)].tolist() == [0, 1]
    assert tracks.pixels[tracks.of_track(0)][:, 0].tolist() == [0.0, 2.0, 0.0]


def test_mergers_follow_one_another() -> None:
    collector = TrackCollector()
    for one in (observed(0, [0]), observed(1, [1]), observed(2, [2]), observed(3, [1], [(1, 2)])):
        collector.add(one)
    collector.add(observed(4, [0], [(0, 1)]))
    tracks = collector.tracks()
    assert tracks.ids.tolist() == [0]
    assert tracks.lengths.tolist() == [5]


def test_a_merger_of_tracks_seen_together_is_refused() -> None:
    collector = TrackCollector()
    collector.add(observed(0, [0, 1]))
    collector.add(observed(1, [0], [(0, 1)]))
    with pytest.raises(InputError, match="two observations in frame 0"):
        collector.tracks()
