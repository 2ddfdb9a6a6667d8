"""Drawn tracks: the marks are where the points are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.features.tracks.tracks import Flag, Tracks
from cv3d.reporting.track_figures import draw_tracks, write_track_figure


def make_tracks() -> Tracks:
    """Three tracks over 40 frames that move to the right along three rows; the last has a gap."""
    frame = np.repeat(np.arange(40, dtype=np.int32), 3)
    track = np.tile(np.arange(3, dtype=np.int32), 40)
    pixels = np.stack([20.0 + 2.0 * frame, 30.0 + 40.0 * track], 1).astype(np.float32)
    flags = np.where(frame == 0, int(Flag.SEED), int(Flag.ALIGNED)).astype(np.uint8)
    flags[(track == 1) & (frame > 30)] = int(Flag.NONE)
    flags[(track == 2) & (frame == 35)] = int(Flag.ALIGNED | Flag.RELINKED)
    everything = Tracks(
        times=np.arange(40) / 30.0,
        sizes=np.tile(np.array([160, 140], np.int32), (40, 1)),
        frame=frame,
        track=track,
        pixels=pixels,
        error=np.full(120, 0.1, np.float32),
        covariance=np.zeros((120, 3), np.float32),
        flags=flags,
    )
    return everything.subset((track != 2) | (frame < 28) | (frame >= 35))


def test_marks_are_where_the_points_are() -> None:
    drawn = draw_tracks(np.zeros((140, 160), np.uint8), make_tracks(), 39)
    assert drawn.shape == (140 * 6, 160 * 6, 3)
    coloured = drawn.sum(-1) > 0
    x = round((20 + 2 * 39 + 0.5) * 6 - 0.5)
    for row in range(3):
        y = round((30 + 40 * row + 0.5) * 6 - 0.5)
        # The way ends at the point, and nothing is drawn far beside it.
        assert coloured[y - 2 : y + 3, x - 20 : x].any()
        assert not coloured[y - 2 : y + 3, x + 12 :].any()
        assert not coloured[y + 12 : y + 100].any()
    # The gap of the third is left open.
    gap = round((20 + 2 * 31 + 0.5) * 6)
    y = round((30 + 80 + 0.5) * 6)
    assert not coloured[y - 3 : y + 4, gap - 5 : gap + 5].any()


def test_a_trail_is_as_long_as_asked_for() -> None:
    image = np.zeros((140, 160, 3), np.uint8)
    short, long = (draw_tracks(image, make_tracks(), 39, trail=trail) for trail in (3, 30))
    assert (short.sum(-1) > 0).sum() < 0.5 * (long.sum(-1) > 0).sum()


def test_the_figure_is_a_png_of_the_drawing(tmp_path: Path) -> None:
    image = np.full((140, 160, 3), 60, np.uint8)
    write_track_figure(tmp_path / "t.png", image, make_tracks(), 10)
    read = cv2.cvtColor(cv2.imread(str(tmp_path / "t.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read, draw_tracks(image, make_tracks(), 10))


def test_a_frame_that_is_not_there_is_an_error() -> None:
    with pytest.raises(IndexError, match="no frame 40"):
        draw_tracks(np.zeros((140, 160), np.uint8), make_tracks(), 40)
