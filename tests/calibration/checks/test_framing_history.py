"""Scaling, cropping, zoom and other cameras, from files and from the calibration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from cv3d.calibration.checks.base import Severity
from cv3d.calibration.checks.framing_history import changed_sizes, recorded_history
from cv3d.media.exif import CameraRecord, read_record

PHONE = CameraRecord("Maker Phone", "1.0", 4.4, 26.0, None, (4032, 3024))
FOCAL = 26.0 / 36.0 * 4032.0


def exif(**inner: Any) -> Image.Exif:
    tags = {"focal_mm": 0x920A, "focal_35mm": 0xA405, "zoom": 0xA404, "width": 0xA002, "height": 0xA003}
    block = Image.Exif()
    block[0x010F], block[0x0110], block[0x0131] = "Maker", "Phone", "1.0"
    block.get_ifd(0x8769).update({tags[name]: value for name, value in inner.items()})
    return block


def kinds(records: dict[str, CameraRecord], size: tuple[int, int] = (4032, 3024), focal: float = FOCAL) -> list[str]:
    findings = recorded_history(records, dict.fromkeys(records, size), (focal, focal), size)
    return [finding.kind for finding in findings]


class TestRecord:
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
    def test_it_is_read_from_files(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"a{suffix}"
        block = exif(focal_mm=4.4, focal_35mm=26, zoom=2.0, width=4032, height=3024)
        Image.fromarray(np.zeros((30, 40), np.uint8)).save(path, exif=block)
        record = read_record(path)
        assert record is not None
        assert record.camera == "Maker Phone"
        assert record.focal_mm == pytest.approx(4.4)
        assert (record.focal_35mm, record.digital_zoom, record.size) == (26.0, 2.0, (4032, 3024))

    def test_of_heic(self, tmp_path: Path) -> None:
        path = tmp_path / "a.heic"
        picture = pillow_heif.from_pillow(Image.fromarray(np.zeros((64, 64, 3), np.uint8)))
        picture.save(path, exif=exif(focal_mm=4.4).tobytes())
        record = read_record(path)
        assert record is not None
        assert record.focal_mm == pytest.approx(4.4)

    def test_zero_means_unknown(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        Image.fromarray(np.zeros((30, 40), np.uint8)).save(path, exif=exif(focal_35mm=0, zoom=0.0))
        record = read_record(path)
        assert record is not None
        assert record.focal_35mm is record.digital_zoom is record.size is None

    @pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe1\x00\x08Exif\0\0II*\0"])
    def test_there_is_none(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        assert read_record(path) is None
        assert read_record(tmp_path / "absent.jpg") is None

    def test_a_picture_without(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        Image.fromarray(np.zeros((30, 40), np.uint8)).save(path)
        assert read_record(path) is None


class TestHistory:
    def test_pictures_as_the_camera_wrote_them(self) -> None:
        assert kinds({"a": PHONE, "b": PHONE}) == []

    @pytest.mark.parametrize(
        ("size", "kind"), [((2016, 1512), "scaled"), ((4032, 2268), "cropped"), ((3024, 4032), None)]
    )
    def test_other_sizes_than_written(self, size: tuple[int, int], kind: str | None) -> None:
        found = kinds({"a": PHONE}, size, FOCAL * max(size) / 4032)
        assert found == ([] if kind is None else [kind])

    def test_zoom(self) -> None:
        wide = CameraRecord("Maker Phone", "1.0", 2.2, 13.0, None, (4032, 3024))
        findings = recorded_history(
            {"a": PHONE, "b": PHONE, "c": wide}, dict.fromkeys("abc", (4032, 3024)), (FOCAL, FOCAL), (4032, 3024)
        )
        assert [finding.kind for finding in findings] == ["zoom"]
        assert findings[0].views == ("c",)
        assert "2.2 to 4.4 mm" in findings[0].sentence

    def test_digital_zoom(self) -> None:
        zoomed = CameraRecord("Maker Phone", "1.0", 4.4, None, 2.0, (4032, 3024))
        assert kinds({"a": PHONE, "b": zoomed}) == ["digital_zoom"]

    def test_several_cameras(self) -> None:
        other = CameraRecord("Other", "1.0", 4.4, None, None, (4032, 3024))
        assert kinds({"a": PHONE, "b": PHONE, "c": other}) == ["several_cameras"]

    def test_editors(self) -> None:
        edited = CameraRecord("Maker Phone", "Adobe Photoshop Lightroom 9", 4.4, 26.0, None, (4032, 3024))
        assert kinds({"a": PHONE, "b": edited}) == ["edited"]

    @pytest.mark.parametrize(("factor", "said"), [(1.0, False), (1.08, False), (0.95, False), (1.5, True), (0.7, True)])
    def test_field_of_view(self, factor: float, said: bool) -> None:
        assert kinds({"a": PHONE}, focal=factor * FOCAL) == (["field_of_view"] if said else [])


def test_sizes_that_differ() -> None:
    assert changed_sizes({"a": (640, 480), "b": (480, 640)}, (640, 480)) is None
    finding = changed_sizes({"a": (640, 480), "b": (320, 240), "c": (640, 360), "d": (641, 481)}, (640, 480))
    assert finding is not None
    assert finding.severity is Severity.INFO
    assert finding.figures == {"trimmed": 1.0, "scaled": 1.0, "cropped": 1.0}
    assert finding.views == ("d", "b", "c")


def test_a_cropped_frame_is_seen_by_its_axis(make_views: Callable[..., Any]) -> None:
    findings = make_views(seed=4, views=24, offset=(300.0, 0.0)).findings()
    assert list(findings) == ["cropped"]
    assert "cropped at the right" in findings["cropped"].sentence
    assert findings["cropped"].figures["off_x_percent"] == pytest.approx(-100 * (490 - 350.3) / 980, abs=1.0)
