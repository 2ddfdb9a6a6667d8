"""Pictures and frames of a set by the names that the set has for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cv3d.errors import InputError
from cv3d.media.picture import Picture
from cv3d.reporting.set_pictures import SetPictures

CLIP = Path(__file__).parents[3] / "data" / "samples" / "room.mp4"


def test_pictures_are_found_by_name(noise: Any, tmp_path: Path) -> None:
    pixels = noise((40, 30))
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    (tmp_path / "b.png").write_bytes(b"no picture")
    load = SetPictures(tmp_path)
    assert np.array_equal(load("a.png"), pixels)
    assert load("b.png") is None
    assert load("c.png") is None
    assert load("a.png#000001") is None
    with pytest.raises(InputError, match="nowhere"):
        SetPictures(tmp_path / "nowhere")


def test_frames_are_found_by_name() -> None:
    load = SetPictures([CLIP])
    assert np.array_equal(load("room.mp4#000004"), Picture("frame", CLIP, frame=4).read_rgb().array)
    assert not np.array_equal(load("room.mp4#000004"), load("room.mp4#000009"))
    assert load("room.mp4#999999") is None
    assert load("other.mp4#000004") is None
