"""Black pictures, blurred ones, and sudden light are told from the picture alone."""

from __future__ import annotations

import cv2
import numpy as np

from cv3d.odometry.looks import Look, look_at
from cv3d.odometry.patches import build_levels

from .simulated import Texture, rounded

PICTURE = Texture.random(4).picture((320, 240))


def look(picture: np.ndarray) -> Look:
    return look_at(build_levels(rounded(picture)))


def test_black_and_white_pictures_are_void() -> None:
    rng = np.random.default_rng(0)
    assert look(rng.normal(2.0, 2.0, (240, 320))).is_void
    assert look(np.full((240, 320), 255.0)).is_void
    assert not look(PICTURE).is_void
    # Dark is not black.
    assert not look(0.1 * PICTURE + 5.0).is_void


def test_blur_takes_detail_away_and_exposure_does_not() -> None:
    sharp = look(PICTURE)
    details = [look(cv2.GaussianBlur(PICTURE, (0, 0), sigma)).detail for sigma in (1.0, 2.0, 4.0, 8.0)]
    assert sharp.detail > details[0]
    assert sorted(details, reverse=True) == details
    assert details[2] < 0.5 * sharp.detail
    for gain, bias in ((0.5, 0.0), (1.2, 20.0), (0.7, 60.0)):
        assert abs(look(gain * PICTURE + bias).detail / sharp.detail - 1.0) < 0.12


def test_a_flat_picture_has_no_detail() -> None:
    assert look(np.full((240, 320), 90.0)).detail == 0.0


def test_a_jump_of_brightness_is_seen_both_ways() -> None:
    normal, dark, less = look(PICTURE), look(0.4 * PICTURE), look(0.8 * PICTURE)
    assert dark.jumped_from(normal)
    assert normal.jumped_from(dark)
    assert not less.jumped_from(normal)
    assert not normal.jumped_from(None)


def test_small_pictures_have_a_look() -> None:
    assert look(PICTURE[:12, :12]).mean > 0.0
