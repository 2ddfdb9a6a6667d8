from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.media import pick_sharp_frames
from cv3d.media.sharpness import sharpness

Pixels = NDArray[np.uint8]


def texture(seed: int = 0, size: tuple[int, int] = (240, 320)) -> Pixels:
    """Edges of all directions and contrasts."""
    rng = np.random.default_rng(seed)
    image = np.full(size, 128, np.uint8)
    for _ in range(120):
        centre = rng.integers(0, size[::-1])
        axes = rng.integers(4, 40, 2)
        cv2.ellipse(
            image, centre.tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, int(rng.integers(0, 256)), -1
        )
    return image


def noisy(image: Pixels, sigma: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, sigma, image.shape)
    return np.rint(image + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0.0, 2.0, 5.0])
def test_sharpness_falls_with_blur(noise: float) -> None:
    values = [
        sharpness(noisy(cv2.GaussianBlur(texture(), (0, 0), sigma), noise)) for sigma in (0.5, 1.0, 1.5, 2.0, 3.0)
    ]
    assert all(a > 1.1 * b for a, b in pairwise(values))


@pytest.mark.parametrize("length", [3, 5, 9])
def test_motion_blur_is_noticed(length: int) -> None:
    kernel = np.full((1, length), 1.0 / length)
    assert sharpness(cv2.filter2D(texture(), -1, kernel)) < 0.9 * sharpness(texture())


def test_sharpness_does_not_depend_on_light_or_on_how_much_is_seen() -> None:
    soft = cv2.GaussianBlur(texture(), (0, 0), 1.2)
    reference = sharpness(soft)
    assert sharpness((soft * 0.5 + 30).astype(np.uint8)) == pytest.approx(reference, rel=0.2)
    half = soft.copy()
    half[:, 160:] = 90
    assert sharpness(half) == pytest.approx(reference, rel=0.25)
    assert sharpness(cv2.GaussianBlur(texture(7), (0, 0), 1.2)) == pytest.approx(reference, rel=0.25)


def test_nothing_to_see_is_not_sharp() -> None:
    flat = np.full((240, 320), 90, np.uint8)
    assert sharpness(flat) == 0.0
    assert sharpness(noisy(flat, 3.0)) == 0.0
    assert sharpness(noisy(flat, 12.0)) == 0.0


def moving_clip(
    path: Path, count: int = 60, blurred: Collection[int] = (), still: Collection[int] = (), movflags: str | None = None
) -> Path:
    pictures = []
    scene = texture(2, (400, 500))
    position = 0
    for i in range(count):
        position += 0 if i in still else 2
        view = scene[position // 2 : position // 2 + 160, position : position + 240]
        if i in blurred:
            view = cv2.GaussianBlur(view, (0, 0), 2.0)
        pictures.append(np.dstack([view] * 3))
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 240, 160, "yuv420p", 12
        stream.options = {"crf": "12", "preset": "ultrafast"}
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_the_sharp_frame_of_each_stretch_is_taken(tmp_path: Path) -> None:
    sharp = {3, 14, 22, 37, 41, 55}
    path = moving_clip(tmp_path / "clip.mp4", blurred=set(range(60)) - sharp)
    chosen = pick_sharp_frames(path, 6)
    assert [picture.frame for picture in chosen.pictures] == sorted(sharp)
    assert chosen.pictures[0].name == "clip.mp4#000003"
    assert chosen.pictures[0].time == pytest.approx(3 / 20)
    assert chosen.frame_count == 60
    assert chosen.damaged is None


def test_held_pixels_are_those_of_the_video(tmp_path: Path) -> None:
    path = moving_clip(tmp_path / "clip.mp4")
    held = pick_sharp_frames(path, 8).pictures
    referred = pick_sharp_frames(path, 8, held_bytes=0).pictures
    assert held == referred
    assert all(picture.held_gray is not None for picture in held)
    assert all(picture.held_gray is None for picture in referred)
    for a, b in zip(held, referred, strict=True):
        assert np.array_equal(a.read_gray().array, b.read_gray().array)
        assert a.digest() == b.digest()


def test_a_camera_at_rest_gives_one_view(tmp_path: Path) -> None:
    path = moving_clip(tmp_path / "clip.mp4", still=set(range(20, 50)))
    chosen = pick_sharp_frames(path, 12)
    assert chosen.alike >= 4
    assert sum(19 < (picture.frame or 0) < 50 for picture in chosen.pictures) <= 2


@pytest.mark.parametrize("max_frames", [1, 7, 60, 500])
def test_never_more_than_asked_for(tmp_path: Path, max_frames: int) -> None:
    path = moving_clip(tmp_path / "clip.mp4", 30)
    assert 1 <= len(pick_sharp_frames(path, max_frames).pictures) <= min(max_frames, 30)


def test_a_length_that_is_not_known_beforehand(tmp_path: Path) -> None:
    path = moving_clip(tmp_path / "clip.mp4", movflags="frag_keyframe+empty_moov")
    chosen = pick_sharp_frames(path, 6)
    assert 3 <= len(chosen.pictures) <= 6
    frames = [picture.frame or 0 for picture in chosen.pictures]
    assert frames == sorted(frames)
    assert max(frames) > 40
