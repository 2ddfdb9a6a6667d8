"""A camera that only turns tells its focal length; one that moves or stands still is told from it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from cv3d.odometry.turning import focal_of_turning, follow_turning

from .simulated_turning import SIZE, Picture, turned, wall


def shifted(count: int) -> list[Picture]:
    """Pictures of a camera that moves along the wall and towards it, the wall bending away on one side."""
    picture = wall()
    pictures = []
    for i in range(count):
        near = np.array([[1.0 + 0.01 * i, 0.0, -300.0 - 8.0 * i], [0.0, 1.0 + 0.01 * i, -400.0], [0.0, 0.0, 1.0]])
        far = np.array([[1.0, 0.0, -300.0 - 3.0 * i], [0.0, 1.0, -400.0], [0.0, 0.0, 1.0]])
        left = np.asarray(cv2.warpPerspective(picture, near, SIZE), np.uint8)
        right = np.asarray(cv2.warpPerspective(picture, far, SIZE), np.uint8)
        pictures.append(np.concatenate([left[:, :160], right[:, 160:]], axis=1))
    return pictures


@pytest.mark.parametrize("focal", [pytest.param(220.0, marks=pytest.mark.slow), 450.0])
def test_the_focal_length_of_a_turning_camera(focal: float) -> None:
    steps = [(0.08 * math.sin(i / 5.0), 0.016 * i - 0.25) for i in range(32)]
    found = focal_of_turning(follow_turning(turned(focal, steps)), SIZE)
    assert found is not None
    assert found.focal == pytest.approx(focal, rel=0.02)
    assert found.deviation < 0.03 * focal


def test_it_is_told_in_pixels_of_the_source() -> None:
    steps = [(0.08 * math.sin(i / 5.0), 0.016 * i - 0.25) for i in range(32)]
    doubled = [
        np.asarray(cv2.resize(picture, None, fx=2.0, fy=2.0, interpolation=cv2.INTER_CUBIC), np.uint8)
        for picture in turned(300.0, steps)
    ]
    found = focal_of_turning(follow_turning(doubled), (640, 480))
    assert found is not None
    assert found.focal == pytest.approx(600.0, rel=0.02)


def test_a_camera_that_stands_still_does_not_tell() -> None:
    found = focal_of_turning(follow_turning(turned(300.0, [(0.0, 0.0)] * 5)), SIZE)
    assert found is not None
    assert math.isinf(found.deviation)


def test_a_camera_that_moves_is_not_said_to_turn() -> None:
    followed = follow_turning(shifted(25))
    assert followed.pairs
    assert focal_of_turning(followed, SIZE) is None


def test_nothing_is_said_of_pictures_without_detail() -> None:
    followed = follow_turning([np.full((240, 320), 90, np.uint8)] * 4)
    assert followed.pairs == ()
    assert focal_of_turning(followed, SIZE) is None
