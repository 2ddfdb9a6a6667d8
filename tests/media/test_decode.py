from __future__ import annotations

import hashlib
import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from cv3d.errors import PictureError
from cv3d.media import Picture
from cv3d.media.decode import decode_gray, decode_rgb, to_eight_bits
from cv3d.media.jpeg import jpeg_structure
from cv3d.media.orientation import exif_orientation, upright

# Where the top-left pixel of the upright picture lies in the stored one, and what lies to its right (Exif 2.32, 4.6.4).
STORED_BY_ORIENTATION = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).T,
    8: lambda a: np.rot90(a, -1),
}


def scene(height: int = 48, width: int = 80) -> NDArray[np.uint8]:
    """Smooth, and without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    gray = 40.0 + 1.5 * x + 0.7 * y
    gray[4:16, 4:24] = 230
    gray[-10:, :8] = 5
    return gray.clip(0, 255).astype(np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_pictures_come_upright(kind: str, orientation: int) -> None:
    expected = scene()
    stored = np.ascontiguousarray(STORED_BY_ORIENTATION[orientation](expected))
    content = encode(
        Image.fromarray(stored), kind, exif=exif_with(orientation), **({} if kind == "TIFF" else {"quality": 98})
    )
    pixels = decode_gray(content, "a")
    assert pixels.exif_orientation == orientation
    assert pixels.array.shape == expected.shape
    assert np.abs(pixels.array.astype(int) - expected).mean() < 2.0
    assert decode_rgb(content, "a").array.shape == (*expected.shape, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_agrees_with_opencv(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(scene()).save(path, exif=exif_with(orientation), quality=95)
    assert np.array_equal(Picture("a.jpg", path).read_gray().array, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_colour_comes_upright(orientation: int) -> None:
    expected = scene()
    stored = np.ascontiguousarray(STORED_BY_ORIENTATION[orientation](expected))
    png = cv2.imencode(".png", np.dstack([stored.astype(np.uint16) << 8] * 3))[1].tobytes()
    block = exif_with(orientation).tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + block
    chunk = len(block).to_bytes(4, "big") + chunk + zlib_crc(chunk)
    pixels = decode_gray(png[:33] + chunk + png[33:], "a.png")
    assert pixels.exif_orientation == orientation
    assert np.abs(pixels.array.astype(int) - expected).max() <= 1


def zlib_crc(chunk: bytes) -> bytes:
    return zlib.crc32(chunk).to_bytes(4, "big")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_turned_once(orientation: int) -> None:
    expected = scene()
    stored = np.ascontiguousarray(STORED_BY_ORIENTATION[orientation](expected))
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(np.dstack([stored] * 3))).save(
        file, exif=exif_with(orientation).tobytes(), quality=95
    )
    pixels = decode_gray(file.getvalue(), "a.heic")
    assert pixels.exif_orientation == orientation
    assert pixels.array.shape == expected.shape
    assert np.abs(pixels.array.astype(int) - expected).mean() < 4.0
    with pytest.raises(PictureError, match=r"a\.heic"):
        decode_gray(file.getvalue()[: file.tell() // 2], "a.heic")


def test_jpeg_gray_is_opencvs() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    content = cv2.imencode(".jpg", noise)[1]
    assert np.array_equal(decode_gray(content.tobytes(), "a").array, cv2.imdecode(content, cv2.IMREAD_GRAYSCALE))
    assert np.array_equal(decode_rgb(content.tobytes(), "a").array, cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.parametrize("progressive", [False, True])
def test_every_truncation_of_a_jpeg_is_noticed(progressive: bool) -> None:
    thumbnail = encode(Image.fromarray(scene(16, 16)), "JPEG")
    exif = exif_with(1).tobytes() + thumbnail  # a picture within the picture, with an end marker of its own
    content = encode(
        Image.fromarray(scene(120, 160)), "JPEG", progressive=progressive, exif=exif, restart_marker_blocks=3
    )
    assert jpeg_structure(content).complete
    for length in range(2, len(content)):
        assert not jpeg_structure(content[:length]).complete, length
    with pytest.raises(PictureError, match=r"left03\.jpg: truncated"):
        decode_gray(content[: len(content) * 2 // 3], "left03.jpg")


def test_preallocated_but_unwritten_tail_is_a_truncation() -> None:
    content = encode(Image.fromarray(scene(120, 160)), "JPEG")
    half = len(content) // 2
    with pytest.raises(PictureError, match="truncated"):
        decode_gray(content[:half] + bytes(len(content) - half), "a.jpg")


@pytest.mark.parametrize("tail", [b"\0\0\0\x18ftypmp42" + bytes(5000), b"\xff\xd8\xff\xe1 another", b"\xff", b"junk"])
def test_what_phones_append_to_a_jpeg_does_no_harm(tail: bytes) -> None:
    content = encode(Image.fromarray(scene()), "JPEG")
    assert np.array_equal(decode_gray(content + tail, "a").array, decode_gray(content, "a").array)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_truncation_of_other_formats(kind: str) -> None:
    content = encode(Image.fromarray(scene(120, 160)), kind)
    with pytest.raises(PictureError, match=r"^a\.x: "):
        decode_gray(content[: len(content) // 2], "a.x")


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"not a picture at all", b"\x89PNG\r\n\x1a\n", b"\0" * 400])
def test_what_is_no_picture_is_named(content: bytes) -> None:
    with pytest.raises(PictureError, match=r"^photos/a\.jpg: "):
        decode_gray(content, "photos/a.jpg")


def test_zero_bytes_and_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    with pytest.raises(PictureError, match="empty"):
        Picture("a.png", path).read_gray()
    path.unlink()
    with pytest.raises(PictureError, match=r"a\.png: cannot be read"):
        Picture("a.png", path).read_gray()
    with pytest.raises(PictureError, match=r"a\.png: cannot be read"):
        Picture("a.png", path).digest()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_depth_in_the_low_end_of_16_bits_keeps_its_brightness(bits: int) -> None:
    ramp = np.tile(np.linspace(0, 2**bits - 1, 256).astype(np.uint16), (4, 1))
    expected = np.tile(np.linspace(0, 255, 256), (4, 1))
    gray, found = to_eight_bits(ramp)
    assert found == bits
    assert np.abs(gray - expected).max() <= 1.0
    for kind in (".png", ".tif"):
        pixels = decode_gray(cv2.imencode(kind, ramp)[1].tobytes(), "a")
        assert pixels.bits == bits
        assert np.array_equal(pixels.array, gray)
        colour = decode_rgb(cv2.imencode(kind, np.dstack([ramp // 2, ramp // 2, ramp]))[1].tobytes(), "a")
        assert colour.bits == bits
        assert np.abs(colour.array[..., 0] - expected).max() <= 1.0
        assert np.abs(colour.array[..., 2] - expected / 2).max() <= 1.0


def test_pgm_is_scaled_by_its_own_maximum() -> None:
    content = b"P5\n4 1\n1023\n" + np.array([0, 256, 512, 1023], ">u2").tobytes()
    assert decode_gray(content, "a.pgm").array.tolist() == [[0, 63, 128, 255]] or np.allclose(
        decode_gray(content, "a.pgm").array, [[0, 64, 128, 255]], atol=1
    )


def test_transparent_is_white_paper() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = 10, 20, 30, 255
    rgba[1, 1] = 0, 0, 0, 128
    rgb = decode_rgb(encode(Image.fromarray(rgba), "PNG"), "a").array
    assert rgb[0, 0].tolist() == [10, 20, 30]
    assert rgb[0, 1].tolist() == [255, 255, 255]
    assert rgb[1, 1].tolist() == [127, 127, 127]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    assert decode_gray(encode(palette, "PNG", transparency=1), "a").array[0, 1] == 255


def test_cmyk_and_bilevel_and_palette() -> None:
    rgb = np.dstack([scene(), 255 - scene(), scene() // 2])
    cmyk = encode(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=98)
    assert np.abs(decode_rgb(cmyk, "a").array.astype(int) - rgb).mean() < 3.0
    bilevel = encode(Image.fromarray(scene() > 128), "PNG")
    assert set(np.unique(decode_gray(bilevel, "a").array)) == {0, 255}
    palette = encode(Image.fromarray(rgb).quantize(256), "PNG")
    assert np.abs(decode_rgb(palette, "a").array.astype(int) - rgb).mean() < 6.0


@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"garbage" * 9]
)
def test_damaged_exif_says_nothing(block: bytes) -> None:
    assert exif_orientation(block) == 1


def test_upright_is_contiguous() -> None:
    for orientation in range(1, 9):
        assert upright(scene(), orientation).flags.c_contiguous


def test_digest_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(scene()).save(path)
    assert Picture("a.png", path).digest() == hashlib.sha256(path.read_bytes()).hexdigest()
    frames = {Picture("v#0", Path(path), frame=i).digest() for i in range(3)}
    assert len(frames) == 3
