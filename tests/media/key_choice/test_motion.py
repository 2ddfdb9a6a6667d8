from __future__ import annotations

import cv2
import numpy as np
import pytest

from cv3d.media.key_choice.motion import Distance, MotionMeter, Step, small_picture

from .walks import scene, view


@pytest.mark.parametrize("per_frame", [0.5, 4.0, 17.0])
def test_a_shift_is_measured(per_frame: float) -> None:
    meter = MotionMeter()
    image = scene()
    places = 200.0 + per_frame * np.arange(9)
    kinds = [meter.advance(view(image, x, 400.0)) for x in places]
    assert kinds == [Step.FIRST, *[Step.MOVED] * 8]
    assert meter.travelled == pytest.approx(8 * per_frame / 400.0, rel=0.05)


def test_going_to_and_fro_does_not_add_up() -> None:
    meter = MotionMeter()
    image = scene(1)
    meter.advance(view(image, 400.0, 400.0))
    distance = Distance(meter.mark())
    farthest = 0.0
    for x in 400.0 + 12.0 * np.sin(np.arange(60)):
        meter.advance(view(image, x, 400.0))
        farthest = max(farthest, distance.go_on(meter.mark()))
    assert farthest == pytest.approx(12.0 / 400.0, rel=0.1)
    assert meter.travelled > 10 * farthest


def test_distance_goes_on_when_the_beginning_is_out_of_sight() -> None:
    meter = MotionMeter()
    image = scene(2)
    meter.advance(view(image, 170.0, 400.0))
    distance = Distance(meter.mark())
    for x in 170.0 + 8.0 * np.arange(1, 70):
        meter.advance(view(image, x, 400.0))
        distance.go_on(meter.mark())
    assert distance.value == pytest.approx(8.0 * 69 / 400.0, rel=0.05)


def test_something_that_passes_by_is_no_motion() -> None:
    meter = MotionMeter()
    image = scene(3)
    meter.advance(view(image, 400.0, 400.0))
    distance = Distance(meter.mark())
    for i in range(30):
        picture = view(image, 400.0, 400.0)
        picture[60:180, 5 * i : 5 * i + 80] = scene(4)[:120, :80]
        assert meter.advance(picture) is Step.MOVED
        distance.go_on(meter.mark())
    assert distance.value < 0.001


def test_kinds_of_frames() -> None:
    meter = MotionMeter()
    first, other = scene(5), scene(6)
    black = np.zeros((240, 320), np.uint8)
    frames = [view(first, 400.0, 400.0), view(first, 400.0, 400.0), black, view(first, 404.0, 400.0)]
    assert [meter.advance(frame) for frame in frames] == [Step.FIRST, Step.SAME, Step.BLANK, Step.MOVED]
    assert meter.advance(view(other, 400.0, 400.0)) is Step.CUT
    assert meter.advance(view(other, 400.0, 404.0)) is Step.MOVED


def test_blur_is_no_cut() -> None:
    meter = MotionMeter()
    image = scene(7)
    meter.advance(view(image, 400.0, 400.0))
    for x in (410.0, 425.0, 445.0):
        smeared = cv2.blur(view(image, x, 400.0), (41, 1))
        assert meter.advance(np.asarray(smeared, np.uint8)) is Step.MOVED
    assert meter.advance(view(image, 455.0, 400.0)) is Step.MOVED


def test_small_pictures() -> None:
    assert small_picture(np.zeros((2160, 3840), np.uint8)).shape == (180, 320)
    assert small_picture(np.zeros((1920, 1080), np.uint8)).shape == (320, 180)
    assert small_picture(np.zeros((100, 90), np.uint8)).shape == (100, 90)
    assert small_picture(np.zeros((3, 4000), np.uint8)).shape == (1, 307)
