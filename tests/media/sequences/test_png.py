"""What is seen of a PNG file without decoding it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.media.sequences.png import is_png, png_structure


def encoded(samples: NDArray[np.integer]) -> bytes:
    return cv2.imencode(".png", samples)[1].tobytes()


def test_kinds_of_pictures() -> None:
    for shape, kind, expected in (
        ((8, 10), np.uint8, (8, True)),
        ((8, 10), np.uint16, (16, True)),
        ((8, 10, 3), np.uint8, (8, True)),
        ((8, 10, 4), np.uint8, (8, False)),
    ):
        content = encoded(np.zeros(shape, kind))
        assert is_png(content)
        structure = png_structure(content, "p")
        assert (structure.bits, structure.is_plain) == expected


def test_damage_is_found_wherever_it_is() -> None:
    rng = np.random.default_rng(3)
    whole = encoded(rng.integers(0, 255, (16, 16), np.uint8))
    for cut in range(8, len(whole), 7):
        with pytest.raises(PictureError, match=r"p: truncated"):
            png_structure(whole[:cut], "p")
    # From the first chunk's kind on, every byte is covered by a check sum, or is one.
    for place in range(12, len(whole), 11):
        spoilt = whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :]
        with pytest.raises(PictureError, match=r"p: (damaged|truncated)"):
            png_structure(spoilt, "p")


def test_real_pictures_are_whole(data_root: Path) -> None:
    for name in ("rgbd/seven_scenes/frame-000010.depth.png", "vo/kitti_a/image_l/000003.png"):
        assert png_structure((data_root / name).read_bytes(), name).is_plain
