"""Streams of frames: order, names, what cannot be read, videos with depth and in pairs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import InputError, PictureError
from cv3d.media.sequences import DepthReader, FrameFiles, SequenceFrames
from cv3d.media.sequences.gray import GrayReader, read_color
from cv3d.media.sequences.picture_files import frames_of_files
from cv3d.media.sequences.videos import frames_of_stereo_videos, frames_of_video


def picture(seed: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.asarray(cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (width, height)), dtype=np.uint8)


def write_video(path: Path, stamps_ms: list[int], rotation: int = 0) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"crf": "10", "preset": "ultrafast", "bf": "0"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for index, stamp in enumerate(stamps_ms):
            frame = av.VideoFrame.from_ndarray(picture(index), format="bgr24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_files_in_order_with_the_unreadable_left_out_and_told(tmp_path: Path) -> None:
    moments = []
    for index in range(6):
        color, right, depth = (tmp_path / f"{kind}{index}.png" for kind in ("c", "r", "d"))
        cv2.imwrite(str(color), picture(index))
        cv2.imwrite(str(right), picture(index + 100))
        cv2.imwrite(str(depth), np.full((24, 32), 1000 + index, np.uint16))
        moments.append(FrameFiles(0.1 * index, color, right, depth))
    for broken in ("c2", "r3", "d4"):
        content = (tmp_path / f"{broken}.png").read_bytes()
        (tmp_path / f"{broken}.png").write_bytes(content[: len(content) // 2])
    with SequenceFrames(lambda problems: frames_of_files(moments, DepthReader(0.001), problems), "clip") as stream:
        frames = list(stream)
    assert [frame.index for frame in frames] == [0, 1, 3, 4, 5]
    assert [frame.name for frame in frames] == [f"c{i}.png" for i in (0, 1, 3, 4, 5)]
    assert [frame.right_gray is None for frame in frames] == [False, False, True, False, False]
    assert [frame.depth is None for frame in frames] == [False, False, False, True, False]
    assert frames[0].depth is not None
    assert frames[0].depth[5, 5] == np.float32(1.0)
    assert [one.rpartition("/")[2].partition(":")[0] for one in stream.problems] == ["c2.png", "r3.png", "d4.png"]
    np.testing.assert_array_equal(frames[1].color(), picture(1)[:, :, ::-1])
    np.testing.assert_array_equal(frames[1].gray, cv2.imread(str(tmp_path / "c1.png"), cv2.IMREAD_GRAYSCALE))


def test_a_recording_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    moments = [FrameFiles(0.0, tmp_path / "a.png"), FrameFiles(0.1, tmp_path / "gone.png")]
    with SequenceFrames(lambda problems: frames_of_files(moments, None, problems), "clip") as stream:
        with pytest.raises(PictureError, match=r"clip: not one frame can be decoded: .*a\.png"):
            next(stream)
        assert len(stream.problems) == 2
    stopped = SequenceFrames(lambda problems: frames_of_files(moments, None, problems), "clip")
    stopped.close()
    assert list(stopped) == []


def test_pixels_are_those_of_the_general_decoder(tmp_path: Path) -> None:
    rgb = picture(3)
    forms = {
        "gray.png": cv2.cvtColor(rgb, cv2.COLOR_BGR2GRAY),
        "color.png": rgb,
        "alpha.png": np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
        "color.jpg": rgb,
        "color.bmp": rgb,
    }
    for name, pixels in forms.items():
        cv2.imwrite(str(tmp_path / name), pixels)
        gray = GrayReader().read(tmp_path / name)
        expected = np.asarray(cv2.imread(str(tmp_path / name), cv2.IMREAD_GRAYSCALE))
        assert np.abs(gray.astype(int) - expected.astype(int)).max() <= 1
        assert read_color(tmp_path / name).shape == (48, 64, 3)


def test_deep_pictures_keep_one_brightness(tmp_path: Path) -> None:
    bright = np.full((8, 8), 900, np.uint16)
    bright[0, 0] = 4000
    for name, factor in {"a": 1, "b": 0.2, "c": 1}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), (bright * factor).astype(np.uint16))
    reader = GrayReader()
    seen = [int(reader.read(tmp_path / f"{name}.png")[4, 4]) for name in "abc"]
    assert seen == [900 >> 4, 180 >> 4, 900 >> 4]


def test_a_video_with_depth_by_the_numbers_of_its_frames(tmp_path: Path) -> None:
    stamps = [0, 40, 80, 130, 160]
    path = write_video(tmp_path / "clip.mp4", stamps)
    depths = {}
    for number in (0, 1, 3):
        depths[number] = tmp_path / f"{number:06d}.png"
        cv2.imwrite(str(depths[number]), np.full((12, 16), 500 + number, np.uint16))
    problems: list[str] = []
    frames = list(frames_of_video(path, problems, depth_files=depths, depth=DepthReader(0.001)))
    assert problems == []
    np.testing.assert_allclose([frame.time for frame in frames], np.array(stamps) / 1000.0, atol=1e-9)
    found = [None if frame.depth is None else round(float(frame.depth[0, 0]) * 1000) for frame in frames]
    assert found == [500, 501, None, 503, None]
    assert frames[2].name == "clip.mp4#000002"
    assert np.abs(frames[2].color().astype(int) - picture(2)[:, :, ::-1].astype(int)).mean() < 8.0
    renamed = list(frames_of_video(path, problems, times={number: 100.0 + number for number in range(5)}))
    assert [frame.time for frame in renamed] == [100.0, 101.0, 102.0, 103.0, 104.0]


def test_a_turned_video_stays_as_stored_where_its_calibration_is(tmp_path: Path) -> None:
    path = write_video(tmp_path / "turned.mp4", [0, 40, 80], rotation=90)
    upright = next(frames_of_video(path, []))
    stored = next(frames_of_video(path, [], is_turned=False))
    assert (upright.gray.shape, stored.gray.shape) == ((64, 48), (48, 64))
    assert stored.color().shape == (48, 64, 3)


def test_two_videos_are_paired_by_their_stamps(tmp_path: Path) -> None:
    left = write_video(tmp_path / "left.mp4", [0, 40, 80, 120, 160, 200])
    right = write_video(tmp_path / "right.mp4", [3, 43, 123, 163, 203, 243])
    problems: list[str] = []
    frames = list(frames_of_stereo_videos(left, right, problems))
    assert [frame.right_gray is not None for frame in frames] == [True, True, False, True, True, True]
    # The right video lacks its third moment, so its third picture belongs to the left one's fourth.
    pair = frames[3].right_gray
    assert pair is not None
    expected = cv2.cvtColor(picture(2), cv2.COLOR_BGR2GRAY)
    assert np.abs(pair.astype(int) - expected.astype(int)).mean() < 8.0
    assert len(problems) == 1
    assert "1 frames have no partner" in problems[0]


def test_no_video_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        next(frames_of_video(tmp_path / "gone.mp4", []))
