"""The data structure: order, queries, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cv3d.errors import FormatError, InputError
from cv3d.features.tracks import Flag, Tracks, length_histogram


def make_tracks(observed: dict[int, list[int]], frames: int = 6) -> Tracks:
    """Tracks by id and the frames that observe them; the pixel tells which is which."""
    pairs = sorted((frame, track) for track, seen in observed.items() for frame in seen)
    frame = np.array([f for f, _ in pairs], np.int32)
    track = np.array([t for _, t in pairs], np.int32)
    count = len(pairs)
    return Tracks(
        times=np.arange(frames) / 10.0,
        sizes=np.tile(np.array([64, 48], np.int32), (frames, 1)),
        frame=frame,
        track=track,
        pixels=np.stack([track, frame], 1).astype(np.float32),
        error=np.full(count, 0.5, np.float32),
        covariance=np.zeros((count, 3), np.float32),
        flags=np.zeros(count, np.uint8),
        about={"source": "made up"},
    )


SOME = {3: [0, 1, 2], 7: [1, 2, 4], 9: [4], 12: [0, 4]}


def test_queries_agree_with_one_another() -> None:
    tracks = make_tracks(SOME)
    assert tracks.ids.tolist() == [3, 7, 9, 12]
    assert tracks.lengths.tolist() == [3, 3, 1, 2]
    assert tracks.first_frames.tolist() == [0, 1, 4, 0]
    assert tracks.last_frames.tolist() == [2, 4, 4, 4]
    for track, seen in SOME.items():
        rows = tracks.of_track(track)
        assert tracks.frame[rows].tolist() == seen
        assert set(tracks.track[rows].tolist()) == {track}
    for frame in range(tracks.frame_count):
        rows = tracks.in_frame(frame)
        assert tracks.track[rows].tolist() == [track for track, seen in SOME.items() if frame in seen]
    assert len(tracks.of_track(8)) == 0


def test_two_frames_share_what_both_observe() -> None:
    shared = make_tracks(SOME).between(1, 4)
    assert shared.tracks.tolist() == [7]
    assert shared.pixels0.tolist() == [[7.0, 1.0]]
    assert shared.pixels1.tolist() == [[7.0, 4.0]]


def test_shared_counts_are_those_of_all_pairs() -> None:
    tracks = make_tracks(SOME)
    counts = tracks.shared_counts()
    for i in range(tracks.frame_count):
        for j in range(tracks.frame_count):
            assert counts[i, j] == len(tracks.between(i, j).tracks)
    assert tracks.shared_counts(np.array([1, 4])).tolist() == counts[np.ix_([1, 4], [1, 4])].tolist()


def test_a_frame_that_is_not_there_is_an_index_error() -> None:
    with pytest.raises(IndexError, match="no frame 6"):
        make_tracks(SOME).in_frame(6)


def test_subsets_keep_the_frames() -> None:
    long = make_tracks(SOME).at_least(3)
    assert long.ids.tolist() == [3, 7]
    assert long.frame_count == 6
    assert length_histogram(long).counts == (0, 2)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    tracks = make_tracks(SOME)
    tracks.save(tmp_path / "t.npz")
    read = Tracks.load(tmp_path / "t.npz")
    for name in ("times", "sizes", "frame", "track", "pixels", "error", "covariance", "flags"):
        before, after = getattr(tracks, name), getattr(read, name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    assert read.about == tracks.about
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


def test_no_tracks_are_tracks_too(tmp_path: Path) -> None:
    empty = make_tracks({})
    empty.save(tmp_path / "t.npz")
    read = Tracks.load(tmp_path / "t.npz")
    assert (len(read), read.frame_count, len(read.ids)) == (0, 6, 0)
    assert read.shared_counts().sum() == 0
    assert len(read.between(0, 1).tracks) == 0


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(FormatError, match="lacks about"):
        Tracks.load(tmp_path / "other.npz")
    make_tracks(SOME).save(tmp_path / "t.npz")
    whole = (tmp_path / "t.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="damaged"):
        Tracks.load(tmp_path / "cut.npz")
    with pytest.raises(InputError, match="cannot be read"):
        Tracks.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(track=a["track"][::-1].copy()), "ordered"),
        (lambda a: a["track"].__setitem__(1, a["track"][0]), "two observations in frame 0"),
        (lambda a: a.update(error=a["error"][1:]), "'error' has the shape"),
        (lambda a: a["frame"].__setitem__(-1, 6), "0 … 5"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: Callable[[dict], object], message: str) -> None:
    tracks = make_tracks(SOME)
    names = ("times", "sizes", "frame", "track", "pixels", "error", "covariance", "flags")
    arrays = {name: getattr(tracks, name).copy() for name in names}
    change(arrays)
    with pytest.raises(InputError, match=message):
        Tracks(**arrays)


def test_flags_fit_a_byte() -> None:
    assert int(max(Flag)) < 256
