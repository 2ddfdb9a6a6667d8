"""Pictures decoded as they are: their own channels and depth, only turned upright."""

from __future__ import annotations

import io
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cv3d.errors import PictureError
from cv3d.media.decode import decode_rgb
from cv3d.media.jpeg import is_jpeg, jpeg_structure
from cv3d.media.orientation import exif_orientation, upright

Samples = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]

_ORIENTATION_TAG = 0x0112
_BITS_PER_SAMPLE_TAG = 258
_EXACT_MODES = {"L": None, "RGB": cv2.COLOR_RGB2BGR, "RGBA": cv2.COLOR_RGBA2BGRA}


def decode_unchanged(content: bytes, name: str) -> Samples:
    """Decode a picture with the channels and the depth that it has.

    Args:
        content: the whole file.
        name: how the messages call it.

    Returns:
        Upright samples, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, uint8, uint16 or float32. CMYK, palettes and HEIC
        become 8-bit colour.

    Raises:
        PictureError: empty, truncated or not decodable.
    """
    if is_jpeg(content):
        structure = jpeg_structure(content)
        if structure.complete and structure.components in (1, 3):
            return upright(_with_opencv(content, name), structure.orientation)
    elif content and content[4:8] != b"ftyp":
        return _with_pillow(content, name)
    return np.asarray(cv2.cvtColor(decode_rgb(content, name).array, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def _with_opencv(content: bytes, name: str) -> NDArray[np.uint8]:
    stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if stored is None:
        raise PictureError(f"{name}: damaged: its data cannot be decoded")
    return np.asarray(stored)


def _with_pillow(content: bytes, name: str) -> Samples:
    """Pillow notices a file that stops early, where OpenCV fills the rest; OpenCV keeps deep colour, unlike it."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            is_tiff = image.format == "TIFF"
            tagged = image.getexif().get(_ORIENTATION_TAG, 1) if is_tiff else None
            orientation = int(tagged) if tagged else exif_orientation(image.info.get("exif") or b"")
            image.load()
            is_deep = _is_deep_colour(image, content)
            stored = _with_opencv(content, name) if is_deep else _samples(image)
    except UnidentifiedImageError as error:
        raise PictureError(f"{name}: not a picture that can be decoded, or truncated within its header") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: larger than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels") from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, Warning) as error:
        raise PictureError(f"{name}: damaged or truncated: {error}") from error
    is_turned_by_pillow = is_tiff and not is_deep
    return stored if is_turned_by_pillow or not 1 <= orientation <= 8 else _upright(stored, orientation)


def _upright(stored: Samples, orientation: int) -> Samples:
    """As :func:`upright`, which does not look at the samples, for any depth."""
    return cast(Samples, upright(cast(NDArray[np.uint8], stored), orientation))


def _is_deep_colour(image: Image.Image, content: bytes) -> bool:
    """Whether the file holds several channels of more than 8 bits."""
    if image.format == "PNG":
        bits, colour_type = content[24], content[25]
        return (bits, colour_type != 0) == (16, True)
    if image.format == "TIFF" and not image.mode.startswith(("I", "F")):
        return any(depth > 8 for depth in getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE_TAG, (8,)))
    return image.format == "PPM" and image.mode == "RGB" and _ppm_maximum(content) > 255


def _ppm_maximum(content: bytes) -> int:
    """The third number of a PPM header, after comments are taken out."""
    lines = [line.partition(b"#")[0] for line in content[:512].split(b"\n")]
    numbers = b" ".join(lines).split()[1:4]
    return int(numbers[2]) if len(numbers) == 3 and numbers[2].isdigit() else 255


def _samples(image: Image.Image) -> Samples:
    if image.mode.startswith("I"):
        return np.asarray(image).clip(0, 65535).astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image, dtype=np.float32)
    if image.mode not in _EXACT_MODES:
        has_alpha = image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info
        image = image.convert("RGBA" if has_alpha else "L" if image.mode == "1" else "RGB")
    order = _EXACT_MODES[image.mode]
    array = np.asarray(image)
    return array if order is None else np.asarray(cv2.cvtColor(array, order), dtype=np.uint8)
