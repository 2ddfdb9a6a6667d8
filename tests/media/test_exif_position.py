from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from cv3d.media.exif_position import exif_position

PLACE = {1: "S", 2: (33.0, 51.0, 24.5), 3: "E", 4: (151.0, 12.0, 54.0)}


def block(tags: dict[int, Any]) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8825).update(tags)
    return exif


def picture(path: Path, tags: dict[int, Any]) -> Path:
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(path, exif=block(tags))
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_place(tmp_path: Path, suffix: str) -> None:
    found = exif_position(picture(tmp_path / f"a{suffix}", PLACE | {5: b"\0", 6: 58.25, 31: 4.5}))
    assert found is not None
    assert found.latitude_deg == pytest.approx(-(33 + 51 / 60 + 24.5 / 3600), abs=1e-7)
    assert found.longitude_deg == pytest.approx(151 + 12 / 60 + 54 / 3600, abs=1e-7)
    assert found.altitude_m == pytest.approx(58.25)
    assert found.error_m == pytest.approx(4.5)


def test_of_heic(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    pillow_heif.from_pillow(Image.fromarray(np.zeros((64, 64, 3), np.uint8))).save(path, exif=block(PLACE).tobytes())
    found = exif_position(path)
    assert found is not None
    assert found.altitude_m is None


def test_below_the_sea(tmp_path: Path) -> None:
    found = exif_position(picture(tmp_path / "a.jpg", PLACE | {5: b"\1", 6: 410.0}))
    assert found is not None
    assert found.altitude_m == pytest.approx(-410.0)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
        PLACE | {2: (91.0, 0.0, 0.0)},
        PLACE | {1: "X"},
        {2: (1.0, 2.0, 3.0), 4: (1.0, 2.0, 3.0)},
        {1: "N", 2: (1.0, 2.0, 3.0)},
    ],
)
def test_no_place(tmp_path: Path, tags: dict[int, Any]) -> None:
    assert exif_position(picture(tmp_path / "a.jpg", tags)) is None


def test_no_picture(tmp_path: Path) -> None:
    assert exif_position(tmp_path / "absent.jpg") is None
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe1\x00\x08Exif\0\0II*\0")
    assert exif_position(tmp_path / "a.jpg") is None
