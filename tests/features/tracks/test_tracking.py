"""Whole clips and folders: results, files, what is damaged, what is interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from cv3d.compute import Compute
from cv3d.errors import FormatError, InputError, PictureError
from cv3d.features.tracks import TrackOptions, length_histogram, load_result, summarise, track
from cv3d.geometry.cameras.camera import Camera
from cv3d.progress import Silent

CPU = Compute.choose("cpu")
OPTIONS = TrackOptions(max_tracks=80, max_lost=80, max_keypoints=256)


@pytest.fixture(scope="session")
def clip(plane: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames with stamps that are not evenly spaced."""
    path = tmp_path_factory.mktemp("clip") / "pan.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *plane.size, "yuv420p"
        stream.options = {"crf": "12"}
        for i in range(12):
            frame = av.VideoFrame.from_ndarray(cv2.cvtColor(plane.frame(i).pixels, cv2.COLOR_GRAY2RGB), "rgb24")
            frame.pts = i + (5 if i >= 6 else 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def folder(plane: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 pictures, the third of which is damaged."""
    path = tmp_path_factory.mktemp("pictures")
    for i in range(5):
        cv2.imwrite(str(path / f"{i}.png"), plane.frame(i).pixels)
    (path / "2.png").write_bytes((path / "2.png").read_bytes()[:300])
    return path


class Interrupting(Silent):
    def __init__(self, after: int) -> None:
        self._left = after

    def advance(self, stage: str, steps: int = 1) -> None:
        self._left -= steps
        if self._left <= 0:
            raise KeyboardInterrupt


def test_a_clip_keeps_its_stamps_and_is_summarised(clip: Path) -> None:
    result = track(clip, OPTIONS, CPU)
    np.testing.assert_allclose(np.diff(result.times) * 30.0, [1, 1, 1, 1, 1, 6, 1, 1, 1, 1, 1], atol=0.01)
    assert result.frames[3] == "pan.mp4#000003"
    assert result.problems == ()
    assert 0 in result.key_frames
    summary = summarise(result)
    assert summary.frames == 12
    assert summary.observations == len(result.tracks)
    assert summary.tracks == sum(length_histogram(result.tracks).counts) == len(result.tracks.ids)
    assert summary.longest <= 12
    assert summary.median_error < 0.2
    json.dumps(summary.as_dict(), allow_nan=False)


def test_a_second_run_reads_what_the_first_wrote(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "tracks.npz"
    first = track(clip, OPTIONS, CPU, output=target)
    stamp = target.stat().st_mtime_ns
    second = track(clip, OPTIONS, CPU, output=target)
    assert (first.is_reused, second.is_reused) == (False, True)
    assert target.stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.tracks.pixels, second.tracks.pixels)
    assert second.statistics == first.statistics or np.isnan(first.statistics[0].error)
    assert (second.frames, second.source, second.problems) == (first.frames, first.source, first.problems)
    other = track(clip, TrackOptions(max_tracks=40, max_lost=80, max_keypoints=256), CPU, output=target)
    assert not other.is_reused
    camera = Camera("pinhole", 240, 180, (200.0, 200.0, 119.5, 89.5))
    assert not track(clip, OPTIONS, CPU, camera=camera, output=target).is_reused


def test_an_interrupted_run_leaves_nothing_half_written(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        track(clip, OPTIONS, CPU, Interrupting(3), output=tmp_path / "tracks.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_file_is_not_overwritten(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "tracks.npz"
    target.write_text("mine")
    with pytest.raises(FormatError, match=r"tracks\.npz: no file of tracks"):
        track(clip, OPTIONS, CPU, output=target)
    assert target.read_text() == "mine"
    track(clip, OPTIONS, CPU, output=target, overwrite=True)
    assert load_result(target).tracks.frame_count == 12


def test_pictures_are_taken_in_order_and_a_damaged_one_is_left_out(folder: Path) -> None:
    result = track(folder, OPTIONS, CPU)
    assert result.frames == ("0.png", "1.png", "3.png", "4.png")
    assert result.times.tolist() == [0.0, 1.0, 3.0, 4.0]
    assert len(result.problems) == 1
    assert "2.png" in result.problems[0]
    assert len(result.tracks.between(0, 3).tracks) > 20


def test_a_damaged_tail_ends_the_tracks_with_a_word(clip: Path, tmp_path: Path) -> None:
    # Matroska keeps its frames in order of time, and can be cut anywhere.
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    with av.open(str(clip)) as source, av.open(str(whole), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(0.7 * len(content))])
    result = track(cut, OPTIONS, CPU)
    assert 2 <= result.tracks.frame_count < 12
    assert any("cut.mkv" in problem for problem in result.problems)
    assert len(result.tracks) > 0


def test_what_cannot_be_tracked_is_said(folder: Path, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        track(tmp_path / "none.mp4", OPTIONS, CPU)
    with pytest.raises(InputError, match="one video or of one set"):
        track([clip, folder / "0.png"], OPTIONS, CPU)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    with pytest.raises(PictureError, match=r"bad\.png"):
        track(tmp_path, OPTIONS, CPU)


def test_one_picture_has_no_tracks(folder: Path) -> None:
    result = track(folder / "0.png", OPTIONS, CPU)
    assert len(result.tracks) == 0
    assert result.statistics[0].alive > 0
    summarise(result)
