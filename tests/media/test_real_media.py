from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.media import Picture, find_pictures, pick_sharp_frames, video_frames


@pytest.mark.parametrize(
    ("name", "count"), [("stone_sign", 83), pytest.param("log_building_02", 85, marks=pytest.mark.slow)]
)
def test_hand_held_clips(data_root: Path, name: str, count: int) -> None:
    path = data_root / "clips" / f"{name}.mp4"
    frames = video_frames(path)
    truth = [(frame.index, frame.time, frame.gray()) for frame in frames]
    assert frames.damaged is None
    assert len(truth) == count
    for index, time, gray in [truth[70], truth[12], truth[13], truth[-1]]:
        assert np.array_equal(Picture("f", path, index, time).read_gray().array, gray)
    chosen = pick_sharp_frames(path, 10)
    assert len(chosen.pictures) == 10


def test_gray_of_real_photos_is_opencvs(data_root: Path) -> None:
    found = find_pictures(data_root / "calib" / "udacity_chess")
    assert len(found) == 20
    sizes = set()
    for picture in found:
        array = picture.read_gray().array
        sizes.add(array.shape)
        assert np.array_equal(array, cv2.imread(str(picture.source), cv2.IMREAD_GRAYSCALE))
    assert sizes == {(720, 1280), (721, 1281)}
