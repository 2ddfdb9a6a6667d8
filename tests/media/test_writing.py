"""Pictures and videos on disk: whole or not at all, with their depth and their stamps."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from cv3d.errors import OutputError, PictureError, UsageError
from cv3d.media import video_frames
from cv3d.media.unchanged import decode_unchanged
from cv3d.media.writing import VideoWriter, replacing, write_picture

TICK = Fraction(1, 1000)


def frame(level: int, pts: int, tick: Fraction = TICK) -> av.VideoFrame:
    picture = np.full((48, 64), level, np.uint8)
    result = av.VideoFrame.from_ndarray(np.concatenate([picture, np.full((24, 64), 128, np.uint8)]), format="yuv420p")
    result.pts, result.time_base = pts, tick
    return result


def write(path: Path, stamps: Sequence[int], codec: str = "h264", tick: Fraction = TICK) -> Path:
    first = frame(40, stamps[0], tick)
    with VideoWriter(path, first, Fraction(25), tick, codec) as writer:
        for i, pts in enumerate(stamps):
            writer.write(frame(40 + 10 * i, pts, tick))
    return path


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_stamps_survive(tmp_path: Path, codec: str, suffix: str) -> None:
    stamps = [1500, 1533, 1570, 1602, 1640, 1900, 2000]
    times = [one.time for one in video_frames(write(tmp_path / f"clip{suffix}", stamps, codec))]
    assert times == pytest.approx([stamp / 1000 for stamp in stamps], abs=1e-9)


def test_mpeg4_with_a_tick_finer_than_it_can_say(tmp_path: Path) -> None:
    stamps = [0, 3003, 6006, 9009]
    times = [one.time for one in video_frames(write(tmp_path / "clip.mp4", stamps, "mpeg4", Fraction(1, 90000)))]
    assert times == pytest.approx([stamp / 90000 for stamp in stamps], abs=2e-5)


def test_stamps_that_stand_still_are_moved_on(tmp_path: Path) -> None:
    frames = list(video_frames(write(tmp_path / "clip.mp4", [0, 40, 40, 30, 120])))
    times = [one.time for one in frames]
    assert len(frames) == 5
    assert times == sorted(times)


def test_an_error_leaves_no_file(tmp_path: Path) -> None:
    first = frame(10, 0)

    def fail() -> None:
        with VideoWriter(tmp_path / "clip.mp4", first, Fraction(25), TICK, "h264") as writer:
            writer.write(first)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def stop() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"new, half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert [item.name for item in tmp_path.iterdir()] == ["file.bin"]
    assert path.read_bytes() == b"old"


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="h264"):
        VideoWriter(tmp_path / "clip.mp4", frame(1, 0), Fraction(25), TICK, "vp9")
    with pytest.raises(UsageError, match="mkv"):
        VideoWriter(tmp_path / "clip.avi", frame(1, 0), Fraction(25), TICK, "h264")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        VideoWriter(tmp_path / "file" / "clip.mp4", frame(1, 0), Fraction(25), TICK, "h264")
    with pytest.raises(OutputError, match="cannot be written"):
        write_picture(tmp_path / "file" / "a.png", np.zeros((4, 4), np.uint8))


SAMPLES = {
    "grey8.png": np.arange(96, dtype=np.uint8).reshape(8, 12),
    "grey16.png": np.arange(96, dtype=np.uint16).reshape(8, 12) * 600,
    "colour8.png": np.arange(288, dtype=np.int64).reshape(8, 12, 3).astype(np.uint8),
    "colour16.png": np.arange(288, dtype=np.uint16).reshape(8, 12, 3) * 200,
    "alpha8.png": np.arange(384, dtype=np.int64).reshape(8, 12, 4).astype(np.uint8),
    "grey16.tif": np.arange(96, dtype=np.uint16).reshape(8, 12) * 600,
    "colour16.tiff": np.arange(288, dtype=np.uint16).reshape(8, 12, 3) * 200,
    "float.tif": np.linspace(0, 1, 96, dtype=np.float32).reshape(8, 12),
    "colour.bmp": np.arange(288, dtype=np.int64).reshape(8, 12, 3).astype(np.uint8),
    "colour.webp": np.arange(288, dtype=np.int64).reshape(8, 12, 3).astype(np.uint8),
    "grey.pgm": np.arange(96, dtype=np.uint8).reshape(8, 12),
    "grey16.pgm": np.arange(96, dtype=np.uint16).reshape(8, 12) * 600,
    "colour16.ppm": np.arange(288, dtype=np.uint16).reshape(8, 12, 3) * 200,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_survive_to_the_bit(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / name, SAMPLES[name])
    decoded = decode_unchanged((tmp_path / name).read_bytes(), name)
    assert decoded.dtype == SAMPLES[name].dtype
    np.testing.assert_array_equal(decoded, SAMPLES[name])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_pictures_are_decoded_upright(tmp_path: Path, suffix: str) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif)
    upright = decode_unchanged((tmp_path / f"a{suffix}").read_bytes(), "a")
    assert upright.shape[:2] == (32, 16)
    assert upright[3, 12].min() > 200
    assert upright[3, 3].max() < 50


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_truncated_pictures_are_told(tmp_path: Path, name: str, share: float) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    content = cv2.imencode(Path(name).suffix, picture)[1].tobytes()
    with pytest.raises(PictureError, match=r"a\.(jpg|png|tif): "):
        decode_unchanged(content[: int(len(content) * share)], name)
