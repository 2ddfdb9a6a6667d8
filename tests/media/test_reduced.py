from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cv3d.errors import PictureError
from cv3d.media.picture import Picture
from cv3d.media.reduced import read_gray_reduced


def blobs(width: int, height: int) -> NDArray[np.uint8]:
    """Smooth spots, which survive reduction and compression."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.0, 1.0, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, None, 12.0)
    return np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def saved(path: Path, pixels: NDArray[np.uint8]) -> Picture:
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return Picture(path.name, path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize(
    ("size", "longest"), [((640, 480), 300), ((641, 477), 150), ((640, 480), 70), ((300, 611), 400)]
)
def test_it_is_the_picture_made_smaller(tmp_path: Path, name: str, size: tuple[int, int], longest: int) -> None:
    picture = saved(tmp_path / name, blobs(*size))
    small = read_gray_reduced(picture, longest)
    assert max(small.shape) == longest
    expected = cv2.resize(picture.read_gray().array, small.shape[::-1], interpolation=cv2.INTER_AREA)
    difference = small.astype(float) - expected
    assert np.sqrt((difference**2).mean()) < 2.5


def test_a_small_picture_stays(tmp_path: Path) -> None:
    picture = saved(tmp_path / "a.jpg", blobs(200, 100))
    np.testing.assert_array_equal(read_gray_reduced(picture, 400), picture.read_gray().array)


def test_colours_are_their_luma(tmp_path: Path) -> None:
    colours = np.stack([blobs(640, 480), blobs(640, 480)[::-1], blobs(640, 480)[:, ::-1]], axis=-1)
    picture = saved(tmp_path / "a.jpg", colours)
    expected = cv2.resize(picture.read_gray().array, (160, 120), interpolation=cv2.INTER_AREA)
    assert np.abs(read_gray_reduced(picture, 160).astype(float) - expected).max() < 6.0


def test_it_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(blobs(640, 480)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    picture = Picture("a.jpg", tmp_path / "a.jpg")
    small = read_gray_reduced(picture, 160)
    assert small.shape == (160, 120)
    expected = cv2.resize(picture.read_gray().array, (120, 160), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - expected).max() < 6.0


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="cannot be read"):
        read_gray_reduced(Picture("gone.jpg", tmp_path / "gone.jpg"), 100)
    picture = saved(tmp_path / "a.jpg", blobs(640, 480))
    picture.source.write_bytes(picture.source.read_bytes()[:3000])
    with pytest.raises(PictureError, match="truncated"):
        read_gray_reduced(picture, 100)
