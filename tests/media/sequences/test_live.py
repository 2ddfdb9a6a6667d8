"""A live camera, played by a stand-in: the newest picture, gaps, unplugging, letting go."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.media.sequences import SequenceFrames
from cv3d.media.sequences.live import frames_of_camera, open_camera


class Camera:
    """Gives numbered pictures when it is let, and none once it is unplugged."""

    def __init__(self, pictures: int) -> None:
        self.left = pictures
        self.count = 0
        self.is_released = False
        self.allowed = threading.Semaphore(0)

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        if self.left == 0:
            return False, None
        if not self.allowed.acquire(timeout=0.05):
            return False, None
        self.left -= 1
        self.count += 1
        return True, np.full((6, 8, 3), (self.count, 2 * self.count, 3 * self.count), np.uint8)

    def release(self) -> None:
        self.is_released = True


def wait_for(camera: Camera, count: int) -> None:
    while camera.count < count:
        time.sleep(0.001)
    time.sleep(0.01)


def test_the_newest_picture_is_given_and_gaps_are_counted() -> None:
    camera = Camera(9)
    problems: list[str] = []
    frames = frames_of_camera(0, problems, opened=lambda device: camera)
    camera.allowed.release()
    first = next(frames)
    camera.allowed.release(6)
    wait_for(camera, 7)
    second = next(frames)
    assert (first.index, second.index) == (0, 6)
    assert second.time > first.time
    assert second.name == "camera:0#000006"
    # OpenCV's pictures are blue first.
    assert second.color()[0, 0].tolist() == [21, 14, 7]
    camera.allowed.release(2)
    rest = list(frames)
    assert rest[-1].index == 8
    assert problems == ["camera:0: gives no more pictures: it was unplugged, or another program took it"]
    assert camera.is_released


def test_closing_lets_go_of_the_camera() -> None:
    camera = Camera(100)
    camera.allowed.release(50)
    opened = []

    def opening(device: int | str) -> Camera:
        opened.append(device)
        return camera

    stream = SequenceFrames(
        lambda problems: frames_of_camera("/dev/video7", problems, opened=opening), "live", in_thread=False
    )
    assert opened == []
    with stream:
        assert next(stream).gray.shape == (6, 8)
    assert camera.is_released
    assert stream.problems == []
    assert opened == ["/dev/video7"]


def test_a_camera_that_is_not_there_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"camera:/dev/no_such_camera: cannot be opened"):
        open_camera("/dev/no_such_camera")
