"""Streams of frames: what tracks do when the camera moves, rests, goes dark, changes its size or drops frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.tracks import Flag, FrameTracks, GrayFrame, TrackBuilder, TrackOptions, Tracks
from cv3d.features.tracks.seeding import choose_seeds

Run = Callable[..., tuple[Tracks, list[FrameTracks]]]


def check_consistency(tracks: Tracks, added: list[FrameTracks]) -> None:
    """What holds for any stream. That no track is twice in a frame, the constructor of tracks has checked."""
    alive = 0
    for one in added:
        statistics = one.statistics
        assert statistics.alive == len(one.tracks) == len(np.unique(one.tracks))
        assert statistics.alive == alive - statistics.lost - len(one.merged) + statistics.new + statistics.relinked
        assert (one.pixels >= 0).all()
        assert (one.pixels <= np.array(one.size) - 1).all()
        alive = statistics.alive
    assert len(tracks) == sum(len(one.tracks) for one in added)


def errors_by_age(tracks: Tracks, plane: Any, moments: list[float]) -> tuple[np.ndarray, np.ndarray]:
    errors, ages = [], []
    for track in tracks.ids:
        rows = tracks.of_track(int(track))
        first = rows[0]
        for row in rows[1:]:
            start, stop = moments[tracks.frame[first]], moments[tracks.frame[row]]
            true = plane.carried(tracks.pixels[first][None], start, stop)[0]
            errors.append(np.linalg.norm(tracks.pixels[row] - true))
            ages.append(tracks.frame[row] - tracks.frame[first])
    return np.array(errors), np.array(ages)


@pytest.fixture(scope="module")
def panned(plane: Any, build: Run) -> tuple[Tracks, list[FrameTracks]]:
    return build([plane.frame(i) for i in range(25)])


def test_tracks_stay_on_their_points(plane: Any, panned: tuple[Tracks, list[FrameTracks]]) -> None:
    tracks, added = panned
    check_consistency(tracks, added)
    errors, ages = errors_by_age(tracks, plane, list(range(25)))
    assert np.median(errors[ages == 1]) < 0.1
    assert np.median(errors[ages >= 20]) < 0.15
    assert (errors > 3.0).mean() < 0.005
    assert np.median(tracks.lengths) >= 10
    followed = tracks.flags & Flag.SEED == 0
    assert np.nanmedian(tracks.error) < 0.1
    assert np.isfinite(tracks.error[followed]).all()
    assert np.isnan(tracks.error[~followed]).all()


def test_equal_runs_are_equal(plane: Any, build: Run, panned: tuple[Tracks, list[FrameTracks]]) -> None:
    again, _ = build([plane.frame(i) for i in range(25)])
    np.testing.assert_array_equal(again.pixels, panned[0].pixels)
    np.testing.assert_array_equal(again.track, panned[0].track)


def test_the_camera_rests(plane: Any, build: Run) -> None:
    tracks, added = build([plane.frame(0.0, i / 30.0) for i in range(8)])
    check_consistency(tracks, added)
    assert added[-1].statistics.alive >= 0.9 * added[0].statistics.alive
    moved = tracks.between(0, 7)
    assert np.abs(moved.pixels1 - moved.pixels0).max() < 0.5
    assert sum(one.statistics.is_key for one in added) == 1


def test_two_frames_are_enough(plane: Any, build: Run) -> None:
    tracks, _ = build([plane.frame(0), plane.frame(1)])
    assert len(tracks.between(0, 1).tracks) > 30


def test_points_come_back_after_black_frames(plane: Any, build: Run) -> None:
    black = np.zeros((180, 240), np.uint8)
    frames = [plane.frame(i) if not 8 <= i < 12 else GrayFrame(i / 30.0, black) for i in range(24)]
    tracks, added = build(frames)
    check_consistency(tracks, added)
    assert added[9].statistics.alive == 0
    shared = tracks.between(7, 23)
    assert len(shared.tracks) > 15
    errors = np.linalg.norm(shared.pixels1 - plane.carried(shared.pixels0, 7, 23), axis=1)
    assert np.median(errors) < 0.3
    assert (tracks.flags & Flag.RELINKED > 0).sum() > 15


def test_points_come_back_from_behind_something(plane: Any, build: Run) -> None:
    frames = []
    for i in range(30):
        frame = plane.frame(i)
        left = 14 * i - 120
        pixels = frame.pixels.copy()
        pixels[:, max(left, 0) : max(left + 50, 0)] = 90
        frames.append(replace(frame, pixels=pixels))
    tracks, added = build(frames)
    check_consistency(tracks, added)
    gaps = [np.diff(tracks.frame[tracks.of_track(int(track))]).max(initial=1) for track in tracks.ids]
    assert sum(gap > 1 for gap in gaps) >= 5
    errors, _ = errors_by_age(tracks, plane, list(range(30)))
    assert (errors > 3.0).mean() < 0.02


def test_another_size_ends_all_tracks(plane: Any, build: Run) -> None:
    small = [replace(f, pixels=cv2.resize(f.pixels, (200, 150))) for f in (plane.frame(i) for i in range(4, 8))]
    tracks, added = build([plane.frame(i) for i in range(4)] + small)
    check_consistency(tracks, added)
    assert added[4].statistics.note == "the size changes from 240x180 to 200x150: all tracks end here"
    assert len(tracks.between(3, 4).tracks) == 0
    assert len(tracks.between(4, 7).tracks) > 30
    assert tracks.sizes[3:5].tolist() == [[240, 180], [200, 150]]


def test_dropped_frames_and_stamps_that_stand_still(plane: Any, build: Run) -> None:
    moments = [0, 1, 2, 5, 6, 7, 11, 12, 13]
    times = [m / 30.0 for m in moments]
    times[4] = times[3]
    tracks, added = build([plane.frame(m, t) for m, t in zip(moments, times, strict=True)])
    check_consistency(tracks, added)
    errors, _ = errors_by_age(tracks, plane, moments)
    assert np.median(errors) < 0.15
    assert len(tracks.between(0, 8).tracks) > 15


def test_frames_without_texture_give_no_tracks(build: Run) -> None:
    tracks, added = build([GrayFrame(i / 30.0, np.full((100, 100), 128, np.uint8)) for i in range(3)])
    check_consistency(tracks, added)
    assert len(tracks) == 0


def test_memory_is_bounded(plane: Any) -> None:
    options = TrackOptions(max_tracks=20, max_lost=15, max_keypoints=128)
    builder = TrackBuilder(Compute.choose("cpu"), options)
    rng = np.random.default_rng(0)
    for i in range(12):
        # Nothing of one frame is in the next: everything gets lost all the time.
        added = builder.add(GrayFrame(i / 30.0, np.roll(plane.frame(i).pixels, int(rng.integers(20, 200)), 1)))
        assert added.statistics.alive <= options.max_tracks
        held = builder._live, builder._lost, builder._tentative
        rows = np.concatenate([points.rows for points in held])
        assert len(held[1]) <= options.max_lost
        # Every row of the pool is in use once or free once.
        assert sorted([*rows.tolist(), *builder._free]) == list(range(1, builder._stepper.row_count))


def test_the_torch_reference_tracks_as_the_twin_does(plane: Any, build: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [plane.frame(i) for i in range(4)]
    twin, _ = build(frames)
    monkeypatch.setattr("cv3d.features.tracks.stepping.TWINS", {})
    reference, _ = build(frames)
    first, second = twin.between(0, 3), reference.between(0, 3)
    shared, i, j = np.intersect1d(first.tracks, second.tracks, return_indices=True)
    assert len(shared) > 0.95 * max(len(first.tracks), len(second.tracks))
    distance = np.linalg.norm(first.pixels1[i] - second.pixels1[j], axis=1)
    # Both end at the reference patch: where flow put a point matters little.
    assert np.median(distance) < 0.01


def test_frames_that_are_none_are_refused() -> None:
    builder = TrackBuilder(Compute.choose("cpu"), TrackOptions(max_tracks=20))
    with pytest.raises(InputError, match="frame 0"):
        builder.add(GrayFrame(0.0, np.zeros((20, 20), np.uint8)))
    with pytest.raises(InputError, match="float32"):
        builder.add(GrayFrame(0.0, np.zeros((64, 64), np.float32)))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"max_tracks": 0}, {"min_ncc": 1.0}, {"max_scale": 1.0}, {"max_lost": -1}])
def test_options_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError):
        TrackOptions(**change)  # type: ignore[arg-type]


def test_seeds_keep_their_distance_and_spread() -> None:
    rng = np.random.default_rng(0)
    # Most keypoints, and all strong ones, are in one corner.
    pixels = np.concatenate([rng.uniform(10, 150, (900, 2)), rng.uniform(10, 470, (300, 2))]).astype(np.float32)
    taken = rng.uniform(10, 470, (30, 2)).astype(np.float32)
    picked = pixels[choose_seeds(pixels, taken, (480, 480), 100, 10.0)]
    everyone = np.concatenate([picked, taken])
    apart = np.linalg.norm(picked[:, None] - everyone[None], axis=-1)
    assert (apart + 99.0 * (apart == 0.0)).min() >= 10.0
    assert len(picked) == 100
    assert (picked < 150).all(1).mean() < 0.35
