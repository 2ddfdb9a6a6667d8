"""Stamps of all frames, frames by stamp, and sharp moments of several videos."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cv3d.errors import PictureError
from cv3d.media.frame_times import frame_times, pick_frames
from cv3d.media.held import PixelStore
from cv3d.media.moments import pick_sharp_moments
from cv3d.media.video import video_frames


def _texture(index: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(100 * seed + index)
    return cv2.resize(rng.integers(0, 255, (30, 40), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_NEAREST)


def _write(path: Path, frames: list[np.ndarray], ticks: list[int] | None = None, rate: int = 20) -> Path:
    """Lossless-enough MPEG-4 video with frames at multiples of 1 / rate s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        stream.bit_rate = 8_000_000
        stream.codec_context.time_base = Fraction(1, rate)
        for index, gray in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.repeat(gray[..., None], 3, axis=2), format="rgb24")
            frame.pts = index if ticks is None else ticks[index]
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_stamps_are_those_of_decoding(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path / f"clip{suffix}", [_texture(i) for i in range(12)])
    with video_frames(path) as frames:
        decoded = [frame.time for frame in frames]
    np.testing.assert_allclose(frame_times(path), decoded, atol=1e-6)


def test_variable_rates_keep_their_stamps(tmp_path: Path) -> None:
    path = _write(tmp_path / "clip.mp4", [_texture(i) for i in range(6)], [0, 1, 4, 5, 9, 10])
    np.testing.assert_allclose(np.diff(frame_times(path)), np.diff([0, 1, 4, 5, 9, 10]) / 20.0, atol=1e-3)


def test_frames_are_found_by_their_stamps(tmp_path: Path) -> None:
    path = _write(tmp_path / "clip.mp4", [_texture(i) for i in range(20)])
    times = frame_times(path)
    picked = pick_frames(path, [times[3], times[3] + 0.01, times[15]])
    assert [None if picture is None else picture.frame for picture in picked.pictures] == [3, None, 15]
    assert picked.damaged is None
    picture = picked.pictures[2]
    assert picture is not None
    with video_frames(path) as frames:
        expected = [frame.gray() for frame in frames][15]
    np.testing.assert_array_equal(picture.read_gray().array, expected)


def test_pixels_beyond_the_room_are_read_again(tmp_path: Path) -> None:
    path = _write(tmp_path / "clip.mp4", [_texture(i) for i in range(8)])
    held = pick_frames(path, frame_times(path)[[2, 5]])
    bare = pick_frames(path, frame_times(path)[[2, 5]], store=PixelStore(0))
    for first, second in zip(held.pictures, bare.pictures, strict=True):
        assert first is not None
        assert second is not None
        assert second.held_gray is None
        np.testing.assert_array_equal(first.read_gray().array, second.read_gray().array)


def test_no_video_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"")
    with pytest.raises(PictureError, match=r"clip.mp4: empty file"):
        frame_times(path)


def test_the_sharpest_moment_of_each_stretch_is_taken(tmp_path: Path) -> None:
    sharp = {2, 9, 13}
    paths = []
    for seed in (0, 1):
        frames = [_texture(i, seed) for i in range(15)]
        blurred = [frame if i in sharp else cv2.GaussianBlur(frame, (0, 0), 3.0) for i, frame in enumerate(frames)]
        paths.append(_write(tmp_path / f"{seed}.mp4", blurred))
    times = np.stack([frame_times(path) for path in paths], axis=1)
    picked = pick_sharp_moments(paths, ["a", "b"], times, np.arange(15) // 5)
    assert set(picked.moments) == sharp
    assert [picture.name for picture in picked.pictures[0] if picture] == ["a#000002", "b#000002"]


def test_a_moment_that_shows_nothing_new_is_left_out(tmp_path: Path) -> None:
    still = [_texture(0)] * 6 + [_texture(7)] * 3
    paths = [_write(tmp_path / f"{name}.mp4", still) for name in "ab"]
    times = np.stack([frame_times(path) for path in paths], axis=1)
    picked = pick_sharp_moments(paths, ["a", "b"], times, np.arange(9) // 3)
    assert len(picked.moments) == 2
    assert picked.moments[1] >= 6


def test_a_moment_with_more_frames_goes_first(tmp_path: Path) -> None:
    paths = [_write(tmp_path / f"{seed}.mp4", [_texture(i, seed) for i in range(4)]) for seed in (0, 1)]
    times = np.stack([frame_times(path) for path in paths], axis=1)
    times[[0, 1, 3], 1] = np.nan
    picked = pick_sharp_moments(paths, ["a", "b"], times, np.zeros(4, np.int64))
    assert picked.moments == (2,)
    assert all(picked.pictures[0])
