"""From the bytes of one picture file to upright 8-bit pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cv3d.errors import PictureError
from cv3d.media.jpeg import is_jpeg, jpeg_structure
from cv3d.media.orientation import exif_orientation, upright

_HEIF_BRANDS = frozenset([b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"])
_GRAY_DEPTHS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Pixels:
    """One decoded picture, the right way up."""

    array: NDArray[np.uint8]
    """(H, W) grey or (H, W, 3) RGB."""
    exif_orientation: int
    """The EXIF orientation, 1 to 8, that has been applied to the stored pixels; a video's rotation counts as one."""
    bits: int
    """Bits per sample that the source really used; above 8 the array holds its 8 most significant ones."""


def decode_gray(content: bytes, name: str) -> Pixels:
    """Decode a picture to grey, (H, W) uint8.

    A JPEG's grey is its luma channel as stored, without a detour through RGB; other colour pictures are weighted by
    ITU-R BT.601. Transparent pixels are laid over white, as paper is. Deeper samples are reduced as in
    :func:`to_eight_bits`.

    Args:
        content: the whole file.
        name: how the messages call it.

    Raises:
        PictureError: empty, truncated or not decodable.
    """
    return _decode(content, name, gray=True)


def decode_rgb(content: bytes, name: str) -> Pixels:
    """Decode a picture to colour, (H, W, 3) uint8 RGB; else as :func:`decode_gray`.

    Raises:
        PictureError: empty, truncated or not decodable.
    """
    return _decode(content, name, gray=False)


def to_eight_bits(samples: NDArray[np.uint16]) -> tuple[NDArray[np.uint8], int]:
    """Reduce samples deeper than 8 bits to their 8 most significant bits.

    Industrial cameras store 10, 12 or 14 bits in the low end of 16-bit samples, and files seldom say so. The depth is
    taken to be the smallest usual one that holds the brightest sample, so that such pictures keep their brightness.

    Returns:
        The uint8 samples, same shape, and the depth in bits.
    """
    brightest = int(samples.max(initial=0))
    bits = next(depth for depth in _GRAY_DEPTHS if brightest < 1 << depth)
    return (samples >> (bits - 8)).astype(np.uint8), bits


def _decode(content: bytes, name: str, *, gray: bool) -> Pixels:
    if not content:
        raise PictureError(f"{name}: empty file (0 bytes)")
    if is_jpeg(content):
        structure = jpeg_structure(content)
        if not structure.complete:
            raise PictureError(f"{name}: truncated: the JPEG data stop before the end of the picture")
        if structure.components != 4:
            return _decode_jpeg(content, name, structure.orientation, gray=gray)
        pixels = _decode_pillow(content, name)
        pixels = Pixels(upright(pixels.array, structure.orientation), structure.orientation, 8)
    elif content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS:
        pixels = _decode_heif(content, name)
    else:
        pixels = _decode_pillow(content, name)
    return Pixels(_channels(pixels.array, gray=gray), pixels.exif_orientation, pixels.bits)


def _channels(array: NDArray[np.uint8], *, gray: bool) -> NDArray[np.uint8]:
    """Grey or RGB, whichever is asked for, from either."""
    if gray == (array.ndim == 2):
        return array
    converted = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY if gray else cv2.COLOR_GRAY2RGB)
    return np.asarray(converted, dtype=np.uint8)


def _decode_jpeg(content: bytes, name: str, orientation: int, *, gray: bool) -> Pixels:
    mode = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB
    stored = cv2.imdecode(np.frombuffer(content, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
    if stored is None:
        raise PictureError(f"{name}: damaged: its JPEG data cannot be decoded")
    return Pixels(upright(np.asarray(stored, dtype=np.uint8), orientation), orientation, 8)


def _decode_heif(content: bytes, name: str) -> Pixels:
    """HEIC carries its rotation as a property of the picture, which the library applies; EXIF only repeats it."""
    try:
        picture = pillow_heif.open_heif(io.BytesIO(content))
        array = np.asarray(picture)
    except (ValueError, RuntimeError, EOFError, OSError) as error:
        raise PictureError(f"{name}: damaged or truncated HEIC: {error}") from error
    if picture.mode == "RGBA":
        array = _over_white(array)
    elif picture.mode != "RGB":
        array = np.asarray(picture.to_pillow().convert("RGB"))
    bits = int(picture.info.get("bit_depth", 8))
    return Pixels(np.ascontiguousarray(array), exif_orientation(picture.info.get("exif") or b""), bits)


def _decode_pillow(content: bytes, name: str) -> Pixels:
    try:
        with Image.open(io.BytesIO(content)) as image:
            is_tiff = image.format == "TIFF"
            if is_tiff:
                orientation = int(image.getexif().get(0x0112, 1))
            else:
                orientation = exif_orientation(image.info.get("exif") or b"")
            image.load()
            deep_colour = _is_deep_colour(image, content)
            stored, bits = _deep_samples(content, name) if deep_colour else _samples(image)
    except UnidentifiedImageError as error:
        raise PictureError(f"{name}: not a picture that can be decoded, or truncated within its header") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: larger than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels") from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, Warning) as error:
        raise PictureError(f"{name}: damaged or truncated: {error}") from error
    orientation = orientation if 1 <= orientation <= 8 else 1
    is_turned_by_pillow = is_tiff and not deep_colour
    array = stored if is_turned_by_pillow else upright(stored, orientation)
    return Pixels(np.ascontiguousarray(array), orientation, bits)


def _is_deep_colour(image: Image.Image, content: bytes) -> bool:
    """Whether the file holds several channels of more than 8 bits, which Pillow would cut down to their high byte."""
    if image.format == "PNG":
        bits, colour_type = content[24], content[25]
        return (bits, colour_type != 0) == (16, True)
    if image.format == "TIFF" and not image.mode.startswith(("I", "F")):
        depths = getattr(image, "tag_v2", {}).get(258, (8,))
        return any(depth > 8 for depth in depths)
    return False


def _deep_samples(content: bytes, name: str) -> tuple[NDArray[np.uint8], int]:
    stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 3:
        raise PictureError(f"{name}: its pixel format cannot be read; convert it to 8 bits per channel")
    deep = np.asarray(stored, dtype=np.uint16)
    samples, bits = to_eight_bits(np.ascontiguousarray(deep[..., 2::-1]))
    if deep.shape[2] == 4:
        alpha = (deep[..., 3:] >> 8).astype(np.uint8)
        samples = _over_white(np.concatenate([samples, alpha], axis=2))
    return samples, bits


def _samples(image: Image.Image) -> tuple[NDArray[np.uint8], int]:
    """8-bit samples of a decoded Pillow picture, (H, W) or (H, W, 3), and the depth they had."""
    if image.mode.startswith("I"):
        stored = np.asarray(image)
        if image.format == "PPM":
            return (stored >> 8).clip(0, 255).astype(np.uint8), 16
        return to_eight_bits(stored.clip(0, 65535).astype(np.uint16))
    if image.mode == "F":
        stored = np.nan_to_num(np.asarray(image), posinf=0.0, neginf=0.0)
        brightest = max(1.0, float(stored.max(initial=0.0)))
        return np.rint(stored.clip(0.0) * (255.0 / brightest)).astype(np.uint8), 32
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _over_white(np.asarray(image.convert("RGBA"))), 8
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB")), 8


def _over_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay (H, W, 4) RGBA over white paper, (H, W, 3)."""
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
