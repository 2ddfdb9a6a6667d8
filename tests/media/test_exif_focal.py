from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cv3d.media.exif_focal import exif_focal_px

TAGS = {
    "focal_mm": 0x920A, "focal_35mm": 0xA405, "zoom": 0xA404, "width": 0xA002, "height": 0xA003,
    "per_unit": 0xA20E, "unit": 0xA210,
}  # fmt: skip
DIAGONAL = math.hypot(36.0, 24.0)


def picture(path: Path, size: tuple[int, int], orientation: int = 1, **inner: Any) -> Path:
    block = Image.Exif()
    block[0x0112] = orientation
    block.get_ifd(0x8769).update({TAGS[name]: value for name, value in inner.items()})
    Image.fromarray(np.zeros(size[::-1], np.uint8)).save(path, exif=block)
    return path


def test_by_the_35mm_equivalent(tmp_path: Path) -> None:
    found = exif_focal_px(picture(tmp_path / "a.jpg", (403, 302), focal_mm=4.4, focal_35mm=26))
    assert found is not None
    focal, deviation = found
    assert focal == pytest.approx(26.0 * math.hypot(403, 302) / DIAGONAL)
    # A maker that goes by the width is within two deviations.
    assert abs(26.0 * 403 / 36.0 - focal) < 2.0 * deviation
    assert 0.01 < deviation / focal < 0.05


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_however_it_is_turned(tmp_path: Path, orientation: int) -> None:
    stored = exif_focal_px(picture(tmp_path / "a.jpg", (400, 300), orientation, focal_35mm=26, width=400, height=300))
    turned = exif_focal_px(picture(tmp_path / "b.jpg", (300, 400), 1, focal_35mm=26, width=400, height=300))
    assert stored == turned == exif_focal_px(picture(tmp_path / "c.jpg", (400, 300), focal_35mm=26))


@pytest.mark.parametrize(("unit", "per_mm"), [(2, 1 / 25.4), (3, 0.1), (4, 1.0)])
def test_by_the_focal_plane(tmp_path: Path, unit: int, per_mm: float) -> None:
    """A 22.3 mm wide sensor of 600 pixels and a 50 mm lens: more exact than 80 mm, rounded."""
    resolution = 600 / 22.3 / per_mm
    path = picture(tmp_path / "a.jpg", (600, 400), focal_mm=50.0, focal_35mm=81, per_unit=resolution, unit=unit)
    found = exif_focal_px(path)
    assert found is not None
    assert found[0] == pytest.approx(50.0 * 600 / 22.3, rel=1e-3)
    assert found[1] / found[0] == pytest.approx(0.02, abs=0.005)


def test_scaled_after_capture(tmp_path: Path) -> None:
    inner = {"focal_mm": 50.0, "width": 6000, "height": 4000, "per_unit": 6000 / 22.3 * 10.0, "unit": 3}
    found = exif_focal_px(picture(tmp_path / "a.jpg", (600, 400), **inner))
    assert found is not None
    assert found[0] == pytest.approx(50.0 * 600 / 22.3, rel=1e-3)


def test_cropped_after_capture_is_doubted(tmp_path: Path) -> None:
    whole = exif_focal_px(picture(tmp_path / "a.jpg", (400, 300), focal_35mm=26, width=400, height=300))
    cropped = exif_focal_px(picture(tmp_path / "b.jpg", (400, 225), focal_35mm=26, width=400, height=300))
    assert whole is not None
    assert cropped is not None
    assert cropped[0] == pytest.approx(whole[0])
    assert cropped[1] > 3.0 * whole[1]


def test_records_that_disagree(tmp_path: Path) -> None:
    found = exif_focal_px(
        picture(tmp_path / "a.jpg", (600, 400), focal_mm=50.0, focal_35mm=80, per_unit=600 / 36.0 * 10.0, unit=3)
    )
    assert found is not None
    assert found[0] == pytest.approx(80.0 * math.hypot(600, 400) / DIAGONAL)
    assert abs(found[0] - 50.0 * 600 / 36.0) < 2.0 * found[1]


def test_digital_zoom_is_doubted(tmp_path: Path) -> None:
    found = exif_focal_px(picture(tmp_path / "a.jpg", (400, 300), focal_35mm=26, zoom=2.0))
    assert found is not None
    assert found[1] / found[0] > 0.15


@pytest.mark.parametrize(
    "inner",
    [{}, {"focal_mm": 4.4}, {"focal_35mm": 0}, {"focal_35mm": 5000}, {"focal_mm": 50.0, "per_unit": 1e9, "unit": 2}],
)
def test_it_is_not_said(tmp_path: Path, inner: dict[str, Any]) -> None:
    assert exif_focal_px(picture(tmp_path / "a.jpg", (400, 300), **inner)) is None


def test_there_is_no_record(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / "a.png")
    assert exif_focal_px(tmp_path / "a.png") is None
    assert exif_focal_px(tmp_path / "absent.jpg") is None
