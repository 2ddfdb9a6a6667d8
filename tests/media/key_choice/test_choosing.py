from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import UsageError
from cv3d.media.key_choice import KeyFrameChoice, PassedOver, choose_key_frames

from .walks import scene, view

Pixels = NDArray[np.uint8]

PER_FRAME = 3.2
"""Motion between frames of a walk, pixels: 0.8 % of the diagonal."""


def walk(count: int, image: Pixels | None = None, start: float = 170.0) -> list[Pixels]:
    image = scene(11) if image is None else image
    return [view(image, start + PER_FRAME * i, 400.0) for i in range(count)]


def clip(path: Path, frames: Sequence[Pixels], *, stamps: Sequence[int] | None = None, **options: str) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=25)
        height, width = frames[0].shape
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", 12
        stream.options = {"crf": "14", "preset": "ultrafast"}
        for i, frame in enumerate(frames):
            packed = av.VideoFrame.from_ndarray(np.dstack([frame] * 3), format="rgb24")
            packed.pts = i if stamps is None else stamps[i]
            container.mux(stream.encode(packed))
        container.mux(stream.encode())
    return path


def indices(choice: KeyFrameChoice) -> list[int]:
    return [picture.frame or 0 for picture in choice.pictures]


def accounted(choice: KeyFrameChoice) -> bool:
    """Whether each frame was either chosen or passed over for one reason."""
    return sum(choice.passed_over.values()) + len(choice.pictures) == choice.frame_count


@pytest.mark.parametrize(
    "step", [pytest.param(0.025, marks=pytest.mark.slow), pytest.param(0.05, marks=pytest.mark.slow), 0.1]
)
def test_neighbours_are_a_step_apart(tmp_path: Path, step: float) -> None:
    choice = choose_key_frames(clip(tmp_path / "walk.mp4", walk(120)), step=step)
    assert np.median(choice.motion[1:]) == pytest.approx(step, rel=0.25)
    assert len(choice.pictures) == pytest.approx(120 * 0.008 / step, rel=0.25)
    assert accounted(choice)
    assert not choice.is_still
    assert (choice.motion[0], choice.cuts, choice.damaged) == (0.0, 0, None)


def test_sharp_frames_are_taken(tmp_path: Path) -> None:
    sharp = {0, 6, 12, 17, 24, 29, 36, 43, 48}
    frames = [
        frame if i in sharp else np.asarray(cv2.blur(frame, (7, 1)), np.uint8) for i, frame in enumerate(walk(50))
    ]
    choice = choose_key_frames(clip(tmp_path / "walk.mp4", frames), step=0.05)
    assert set(indices(choice)) <= sharp
    assert len(choice.pictures) >= 8


def test_a_blurred_stretch_still_has_key_frames(tmp_path: Path) -> None:
    frames = walk(90)
    for i in range(30, 60):
        frames[i] = np.asarray(cv2.GaussianBlur(frames[i], (0, 0), 2.5), np.uint8)
    choice = choose_key_frames(clip(tmp_path / "walk.mp4", frames))
    assert sum(30 <= i < 60 for i in indices(choice)) >= 3
    assert np.diff(indices(choice)).max() <= 14


def test_where_little_is_to_be_seen_there_still_are_key_frames(tmp_path: Path) -> None:
    image = scene(12)
    image[:, 300:700] = np.asarray(cv2.GaussianBlur(image, (0, 0), 4.0)[:, 300:700] * 0.1 + 110, np.uint8)
    choice = choose_key_frames(clip(tmp_path / "walk.mp4", walk(170, image)))
    assert np.diff(indices(choice)).max() <= 12


def test_a_camera_at_rest(tmp_path: Path) -> None:
    choice = choose_key_frames(clip(tmp_path / "still.mp4", walk(1) * 30))
    assert choice.is_still
    assert len(choice.pictures) == 1
    assert choice.passed_over[PassedOver.REPEATED] >= 27
    assert accounted(choice)
    moving = walk(30)
    choice = choose_key_frames(clip(tmp_path / "rest.mp4", moving + [moving[-1]] * 60 + walk(30, start=266.0)))
    assert sum(30 <= i < 89 for i in indices(choice)) <= 1
    assert not choice.is_still


def test_noise_at_rest_is_no_motion(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [np.clip(walk(1)[0] + rng.normal(0.0, 6.0, (240, 320)), 0, 255).astype(np.uint8) for _ in range(25)]
    choice = choose_key_frames(clip(tmp_path / "noise.mp4", frames))
    assert choice.is_still
    assert len(choice.pictures) == 1


def test_a_cut_begins_anew(tmp_path: Path) -> None:
    frames = [*walk(31), *walk(30, scene(13)), *walk(2, scene(14))]
    choice = choose_key_frames(clip(tmp_path / "cut.mp4", frames))
    scenes = np.searchsorted([31, 61], indices(choice), side="right")
    assert choice.scenes == tuple(scenes)
    assert set(choice.scenes) == {0, 1, 2}
    firsts = [choice.scenes.index(number) for number in range(3)]
    assert [choice.motion[i] for i in firsts] == [0.0] * 3
    assert choice.cuts == 2


def test_repeated_frames_of_a_variable_rate(tmp_path: Path) -> None:
    frames = [frame for frame in walk(60) for _ in range(2)]
    stamps = [2 * (i // 2) * 3 + i % 2 for i in range(120)]
    choice = choose_key_frames(clip(tmp_path / "double.mp4", frames, stamps=stamps))
    assert choice.frame_count == 120
    assert len(choice.pictures) == pytest.approx(60 * 0.008 / choice.step, abs=2)
    assert choice.passed_over[PassedOver.REPEATED] >= 40


def test_badly_exposed_frames_are_passed_over(tmp_path: Path) -> None:
    frames = walk(90)
    bad = set(range(5, 90, 5))
    for i in bad:
        frames[i] = np.clip(frames[i] * 2.2 + 60.0, 0, 255).astype(np.uint8)
    black = {33, 34, 52}
    for i in black:
        frames[i] = np.zeros_like(frames[i])
    choice = choose_key_frames(clip(tmp_path / "flash.mp4", frames))
    assert not (bad | black) & set(indices(choice))
    assert choice.cuts == 0
    assert choice.passed_over[PassedOver.BLANK] == 3
    assert len(choice.pictures) >= 10
    assert accounted(choice)


def test_a_clip_of_nothing_gives_one_frame(tmp_path: Path) -> None:
    choice = choose_key_frames(clip(tmp_path / "black.mp4", [np.zeros((240, 320), np.uint8)] * 10))
    assert len(choice.pictures) == 1
    assert choice.is_still
    assert choice.passed_over == {PassedOver.BLANK: 9}


@pytest.fixture(scope="module")
def two_walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("walks") / "walk.mp4", [*walk(80), *walk(40, scene(15))])


@pytest.mark.parametrize(
    "most", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 7, 500]
)
def test_never_more_than_asked_for(two_walks: Path, most: int) -> None:
    choice = choose_key_frames(two_walks, max_frames=most)
    assert len(choice.pictures) <= most
    assert accounted(choice)
    assert (choice.step > 0.05) == (most < 500)
    if most == 7:
        assert len(choice.pictures) >= 4
        assert set(choice.scenes) == {0, 1}


def test_dropped_frames_give_their_memory_back(tmp_path: Path) -> None:
    path = clip(tmp_path / "walk.mp4", walk(80))
    few = choose_key_frames(path, max_frames=5)
    room = 2 * sum(len(picture.held_gray or b"") for picture in few.pictures)
    again = choose_key_frames(path, max_frames=5, held_bytes=room)
    assert sum(picture.held_gray is not None for picture in again.pictures) >= 4
    assert all(picture.held_gray is None for picture in choose_key_frames(path, max_frames=5, held_bytes=0).pictures)


def test_a_truncated_clip_gives_what_is_there(tmp_path: Path) -> None:
    path = clip(tmp_path / "whole.mp4", walk(100), movflags="frag_keyframe+empty_moov")
    content = path.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) * 6 // 10])
    choice = choose_key_frames(cut)
    assert choice.damaged
    assert 30 < choice.frame_count < 80
    assert len(choice.pictures) == pytest.approx(choice.frame_count * 0.008 / 0.05, abs=3)


def test_deep_samples(tmp_path: Path) -> None:
    path = tmp_path / "deep.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p10le"
        for i, frame in enumerate(walk(30)):
            packed = av.VideoFrame.from_ndarray(np.dstack([frame] * 3), format="rgb24").reformat(format="yuv420p10le")
            packed.pts = i
            container.mux(stream.encode(packed))
        container.mux(stream.encode())
    choice = choose_key_frames(path)
    assert len(choice.pictures) == pytest.approx(30 * 0.008 / 0.05, abs=2)


def test_wrong_options(tmp_path: Path) -> None:
    path = clip(tmp_path / "walk.mp4", walk(3))
    for options in ({"max_frames": 0}, {"step": 0.0}, {"step": float("nan")}):
        with pytest.raises(UsageError):
            choose_key_frames(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [pytest.param("stone_sign", marks=pytest.mark.slow), "log_building_02"])
def test_real_clips(data_root: Path, name: str) -> None:
    choice = choose_key_frames(data_root / "clips" / f"{name}.mp4")
    assert 15 <= len(choice.pictures) <= 40
    assert choice.cuts == 0
    assert max(choice.motion) < 0.13
    assert accounted(choice)
