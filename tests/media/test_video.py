from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import InputError, PictureError
from cv3d.media import Picture, pick_sharp_frames, probe_video, video_frames
from cv3d.media.frame_access import FrameReader
from cv3d.media.video import decoded_frames

Pixels = NDArray[np.uint8]
WIDTH, HEIGHT = 96, 64


def frame_picture(i: int, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """Unlike any other frame, without symmetry: a bright corner, and a bar that moves."""
    rgb = np.full((height, width, 3), 60, np.uint8)
    rgb[: height // 4, : width // 4] = 235
    rgb[height // 2 :, (3 * i) % width : (3 * i) % width + 8] = 160
    rgb[:, :, 2] += np.uint8(i % 50)
    return rgb


def write_clip(
    path: Path,
    count: int = 40,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int | None = None,
    stamps: Sequence[int] | None = None,
    gop: int = 12,
    b_frames: int = 2,
    movflags: str | None = None,
    pictures: Sequence[Pixels] | None = None,
) -> Path:
    options = {"movflags": movflags} if movflags else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=20)
        first = frame_picture(0) if pictures is None else pictures[0]
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pix_fmt
        stream.gop_size = gop
        if codec == "libx264":
            stream.options = {"bf": str(b_frames), "crf": "12", "preset": "ultrafast"}
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none:pools=1"}
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(frame_picture(i) if pictures is None else pictures[i], format="rgb24")
            if stamps is not None:
                frame.time_base = Fraction(1, 1000)
                frame.pts = stamps[i]
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.MOV", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9")],
)
def test_containers(tmp_path: Path, name: str, codec: str) -> None:
    path = write_clip(tmp_path / name, 12, codec=codec)
    info = probe_video(path)
    assert (info.width, info.height, info.rotation_deg) == (WIDTH, HEIGHT, 0)
    assert info.fps == pytest.approx(20, rel=0.02)
    assert info.frame_count == pytest.approx(12, abs=1)
    frames = video_frames(path)
    decoded = list(frames)
    assert frames.damaged is None
    assert [frame.index for frame in decoded] == list(range(12))
    assert np.allclose([frame.time for frame in decoded], np.arange(12) / 20, atol=2e-3)
    assert np.abs(decoded[7].rgb().astype(int) - frame_picture(7)).mean() < 8.0


def test_gray_has_full_range(tmp_path: Path) -> None:
    black_and_white = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    black_and_white[:, WIDTH // 2 :] = 255
    for name, codec, pix_fmt, bits in (
        ("a.mp4", "libx264", "yuv420p", 8),
        ("b.mp4", "libx265", "yuv420p10le", 10),
        ("c.avi", "mjpeg", "yuvj420p", 8),
    ):
        path = write_clip(tmp_path / name, 3, codec=codec, pix_fmt=pix_fmt, pictures=[black_and_white] * 3)
        frame = next(video_frames(path))
        assert frame.bits == bits
        assert frame.gray().shape == (HEIGHT, WIDTH)
        assert np.abs(frame.gray().astype(int) - black_and_white[..., 0]).mean() < 2.0
        assert np.abs(frame.gray().astype(int) - frame.rgb()[..., 1]).max() <= 6


@pytest.mark.parametrize(("rotation", "turns"), [(0, 0), (90, 1), (180, 2), (270, 3), (-90, 3)])
def test_rotation_metadata_is_applied(tmp_path: Path, rotation: int, turns: int) -> None:
    path = write_clip(tmp_path / "a.mp4", 3, rotation=rotation)
    expected = np.rot90(frame_picture(0), turns)
    frame = next(video_frames(path))
    assert frame.rgb().shape == expected.shape
    assert np.abs(frame.rgb().astype(int) - expected).mean() < 6.0
    assert frame.gray().shape == expected.shape[:2]
    info = probe_video(path)
    assert (info.height, info.width) == expected.shape[:2]
    assert info.rotation_deg == 90 * turns
    pixels = Picture("a", path, 0, 0.0).read_gray()
    assert pixels.exif_orientation == {0: 1, 1: 8, 2: 3, 3: 6}[turns]
    assert np.array_equal(pixels.array, frame.gray())


def test_portrait_phone_matrix_turns_clockwise(tmp_path: Path) -> None:
    """A phone held upright shows (x, y) of the stored frame at (-y, x) (ISO/IEC 14496-12, 8.3.2)."""
    path = write_clip(tmp_path / "a.mp4", 3)
    content = path.read_bytes()
    one, unity = (1 << 16).to_bytes(4, "big"), (1 << 30).to_bytes(4, "big")
    minus_one, zero = (-(1 << 16)).to_bytes(4, "big", signed=True), bytes(4)
    identity = one + zero * 3 + one + zero * 3 + unity
    start = content.index(identity, content.index(b"tkhd"))
    shift = (HEIGHT << 16).to_bytes(4, "big")
    turned = zero + one + zero + minus_one + zero * 2 + shift + zero + unity
    path.write_bytes(content[:start] + turned + content[start + len(identity) :])
    frame = next(video_frames(path))
    assert np.abs(frame.rgb().astype(int) - np.rot90(frame_picture(0), -1)).mean() < 6.0


def test_variable_frame_rate_keeps_the_stamps(tmp_path: Path) -> None:
    stamps = np.cumsum(np.random.default_rng(3).integers(10, 120, 30)).tolist()
    path = write_clip(tmp_path / "a.mkv", 30, stamps=stamps)
    frames = video_frames(path)
    times = [frame.time for frame in frames]
    assert frames.damaged is None
    assert np.allclose(times, np.array(stamps) / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [
        ("a.mp4", "libx264", 3),
        ("a.mkv", "libx264", 3),
        ("a.avi", "mpeg4", 0),
        ("a.mov", "libx264", 0),
        ("a.mp4", "libx265", 3),
    ],
)
def test_a_frame_by_seeking_is_the_frame_by_iteration(tmp_path: Path, name: str, codec: str, b_frames: int) -> None:
    path = write_clip(tmp_path / name, 60, codec=codec, b_frames=b_frames)
    truth = [(frame.index, frame.time, frame.gray()) for frame in video_frames(path)]
    assert len(truth) == 60
    order = np.random.default_rng(0).permutation(60).tolist() + list(range(0, 60, 7)) + [59, 59, 0, 0]
    for i in order:
        index, time, gray = truth[i]
        assert np.array_equal(Picture("f", path, index, time).read_gray().array, gray), i
    assert np.array_equal(Picture("f", path, 33).read_gray().array, truth[33][2])


def test_frames_read_from_many_threads(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 40)
    truth = [(frame.index, frame.time, frame.gray()) for frame in video_frames(path)]
    with ThreadPoolExecutor(4) as pool:
        arrays = list(pool.map(lambda item: Picture("f", path, item[0], item[1]).read_gray().array, truth))
    assert all(np.array_equal(array, item[2]) for array, item in zip(arrays, truth, strict=True))


def test_reading_in_order_decodes_each_frame_at_most_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", 60, gop=60)
    times = [frame.time for frame in video_frames(path)]
    seeks = []
    monkeypatch.setattr(FrameReader, "_seek_to", counting(FrameReader._seek_to, seeks))
    reader = FrameReader(path)
    for i in range(0, 60, 2):
        reader.read(i, times[i])
    assert len(seeks) == 1


def counting(method: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    def wrapper(self: FrameReader, pts: int) -> object:
        calls.append(pts)
        return method(self, pts)

    return wrapper


def test_without_stamps_frames_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.avi", 30, codec="mpeg4")
    truth = [frame.gray() for frame in video_frames(path)]
    decoded: list[int] = []

    def without_stamps(*args: object) -> Iterator[av.VideoFrame]:
        for frame in decoded_frames(*args):  # type: ignore[arg-type]
            decoded.append(1)
            frame.pts = None
            yield frame

    monkeypatch.setattr("cv3d.media.frame_access.decoded_frames", without_stamps)
    reader = FrameReader(path)
    for i in (0, 3, 4, 20, 29, 2):
        assert np.array_equal(reader.read(i, i / 20).gray(), truth[i])
    assert len(decoded) <= 3 + 30 + 3


def test_the_end_is_told_once(tmp_path: Path) -> None:
    frames = video_frames(cut(write_clip(tmp_path / "a.mkv", 40), 0.5))
    assert len(list(frames)) < 40
    damaged = frames.damaged
    assert next(frames, None) is None
    assert frames.damaged == damaged is not None
    with video_frames(write_clip(tmp_path / "b.mkv", 5)) as frames:
        next(frames)
    assert next(frames, None) is None
    assert frames.damaged is None


def test_frame_that_is_not_there(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 10)
    with pytest.raises(PictureError, match="has no frame 99"):
        Picture("a.mp4#000099", path, 99, 50.0).read_gray()


@pytest.mark.parametrize(
    ("name", "movflags"), [("a.mkv", None), ("a.mp4", "faststart"), ("a.mp4", "frag_keyframe+empty_moov")]
)
@pytest.mark.parametrize("share", [0.35, 0.6, 0.85])
def test_a_cut_clip_is_used_as_far_as_it_goes(tmp_path: Path, name: str, movflags: str | None, share: float) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(60)]
    path = write_clip(tmp_path / name, 60, movflags=movflags, pictures=pictures)
    whole = {frame.time: frame.gray() for frame in video_frames(path)}
    frames = video_frames(cut(path, share))
    decoded = list(frames)
    assert 60 * share - 15 < len(decoded) < 60
    for frame in decoded:
        assert np.array_equal(frame.gray(), whole[frame.time])
    if movflags != "frag_keyframe+empty_moov":  # a fragmented file does not say how long it was meant to be
        assert frames.damaged is not None
        assert " s" in frames.damaged
    assert pick_sharp_frames(path, 5).damaged == frames.damaged


def test_overwritten_middle_loses_only_its_group(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(60)]
    path = write_clip(tmp_path / "a.mp4", 60, b_frames=0, movflags="faststart", pictures=pictures)
    whole = {frame.time: frame.gray() for frame in video_frames(path)}
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(content)
    frames = video_frames(path)
    decoded = {frame.time: frame.gray() for frame in frames}
    intact = [time for time, gray in decoded.items() if np.array_equal(gray, whole[time])]
    assert len(intact) >= 60 - 2 * 12
    assert max(intact) == max(whole)


def test_index_at_the_end_cut_off(tmp_path: Path) -> None:
    path = cut(write_clip(tmp_path / "a.mp4", 40), 0.8)
    for use in (probe_video, video_frames, pick_sharp_frames):
        with pytest.raises(PictureError, match=r"a\.mp4: truncated: .*index"):
            use(path)


@pytest.mark.parametrize("content", [b"", b"no video" * 100])
def test_what_is_no_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"a\.mkv: "):
        video_frames(path)


def test_missing_video(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        video_frames(tmp_path / "a.mp4")


def test_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(PictureError, match="no video stream"):
        video_frames(path)


FORKING = """
import multiprocessing, sys
from pathlib import Path
import numpy as np
from cv3d.media.picture import Picture
from cv3d.media.video import video_frames

path = Path(sys.argv[1])
truth = [(frame.time, frame.gray()) for frame in video_frames(path)]

def same(index):
    return np.array_equal(Picture("f", path, index, truth[index][0]).read_gray().array, truth[index][1])

assert same(3)
child = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(0 if same(20) else 3))
child.start()
child.join(30)
assert child.exitcode == 0, child.exitcode
assert same(4)
"""


def test_reading_goes_on_in_a_forked_child(tmp_path: Path) -> None:
    # In a process of its own: a fork of one that has run threads, as a test session has, may hang for other reasons.
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    path = write_clip(tmp_path / "a.mp4", 40)
    ran = subprocess.run(
        [sys.executable, "-c", FORKING, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
