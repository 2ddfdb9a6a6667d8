"""Constant borders around pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.media.trimming import Frame, inside_border


@pytest.fixture
def scene() -> NDArray[np.uint8]:
    """(120, 160, 3), smooth random colours with no constant line."""
    coarse = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def test_a_picture_without_border_is_whole(scene: NDArray[np.uint8]) -> None:
    assert inside_border(scene) == Frame(0, 0, 160, 120)
    assert inside_border(scene[..., 0]) == Frame(0, 0, 160, 120)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("quality", [None, 90])
def test_borders_of_any_level_and_of_jpegs(scene: NDArray[np.uint8], level: int, quality: int | None) -> None:
    bordered = cv2.copyMakeBorder(scene, 4, 0, 7, 10, cv2.BORDER_CONSTANT, value=(level, level, level))
    if quality is not None:
        code = cv2.imencode(".jpg", bordered, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        bordered = cv2.imdecode(code, cv2.IMREAD_COLOR)
    frame = inside_border(np.asarray(bordered, dtype=np.uint8))
    # All of the border goes, with it a few lines beside it, and nothing where there is none.
    assert 7 <= frame.left <= 10
    assert 4 <= frame.top <= 7
    assert 164 <= frame.right <= 167
    assert frame.bottom == 124
    assert frame.of(bordered).shape[:2] == (frame.bottom - frame.top, frame.right - frame.left)


@pytest.mark.parametrize("level", [0, 255])
def test_what_is_level_throughout_is_no_border(level: int, scene: NDArray[np.uint8]) -> None:
    assert inside_border(np.full((40, 50), level, np.uint8)) == Frame(0, 0, 50, 40)
    sky = scene.copy()
    sky[:50] = level
    assert inside_border(sky).top == 0


def test_tiny_pictures() -> None:
    assert inside_border(np.zeros((1, 1), np.uint8)) == Frame(0, 0, 1, 1)
