"""Files of disparities."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.errors import PictureError, UsageError
from cv3d.media.disparity_files import read_disparities

VALUES = np.array([[0.0, 1.5, 20.25], [3.0, 0.0, 60.0]], np.float32)


@pytest.mark.parametrize(
    ("name", "steps", "stored"),
    [
        ("a.png", 4.0, (4.0 * VALUES).astype(np.uint8)),
        ("b.png", 256.0, (256.0 * VALUES).astype(np.uint16)),
        ("c.pgm", 4.0, (4.0 * VALUES).astype(np.uint8)),
        ("d.pfm", 1.0, np.where(VALUES > 0.0, VALUES, np.float32(np.inf))),
        ("e.tif", 256.0, (256.0 * VALUES).astype(np.uint16)),
        ("f.png", 4.0, np.repeat((4.0 * VALUES).astype(np.uint8)[..., None], 3, axis=2)),
    ],
)
def test_what_a_file_holds_is_read(name: str, steps: float, stored: np.ndarray, tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / name), stored)
    read = read_disparities(tmp_path / name, steps)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, VALUES)


def test_arrays_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.where(VALUES > 0.0, VALUES, np.float32(np.nan)))
    np.testing.assert_array_equal(read_disparities(tmp_path / "a.npy"), VALUES)


def test_colours_and_other_files_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[0, 0] = (1, 2, 3)
    assert cv2.imwrite(str(tmp_path / "a.png"), colours)
    with pytest.raises(PictureError, match="colours"):
        read_disparities(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("nothing")
    with pytest.raises(PictureError):
        read_disparities(tmp_path / "b.png")
    with pytest.raises(UsageError, match="positive"):
        read_disparities(tmp_path / "a.png", 0.0)
