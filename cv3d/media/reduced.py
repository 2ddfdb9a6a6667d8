"""Grey pixels for work that needs no full size: a JPEG is decoded at a half, a quarter or an eighth of it at once."""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cv3d.errors import PictureError
from cv3d.media.jpeg import is_jpeg, jpeg_structure
from cv3d.media.orientation import upright
from cv3d.media.picture import Picture


def read_gray_reduced(picture: Picture, longest: int) -> NDArray[np.uint8]:
    """Grey pixels, upright, with a longer side of `longest` pixels, or at full size where that is less.

    Every pixel is a mean over an area of the picture. A JPEG's are in part that of its own transform, in which a
    reduced picture is the low frequencies of its blocks.

    Args:
        picture: a file or a frame of a video.
        longest: pixels.

    Raises:
        PictureError: unreadable, empty, truncated or not decodable.
    """
    gray = _decoded_small(picture, longest)
    if gray is None:
        gray = picture.read_gray().array
    reduction = longest / max(gray.shape)
    if reduction >= 1.0:
        return gray
    size = [max(1, round(side * reduction)) for side in gray.shape[::-1]]
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _decoded_small(picture: Picture, longest: int) -> NDArray[np.uint8] | None:
    """Pixels of a JPEG file that its decoder has reduced, none smaller than asked for; None for anything else."""
    if picture.frame is not None or picture.held_gray is not None:
        return None
    try:
        content = picture.source.read_bytes()
    except OSError as error:
        raise PictureError(f"{picture.name}: cannot be read: {error.strerror}") from error
    if not is_jpeg(content):
        return None
    structure = jpeg_structure(content)
    if not structure.complete or structure.components not in (1, 3):
        return None
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            share = longest / max(width, height)
            if share > 0.5:
                return None
            image.draft("L", (math.ceil(width * share), math.ceil(height * share)))
            stored = np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise PictureError(f"{picture.name}: damaged: its JPEG data cannot be decoded") from error
    # The last row and column of blocks may reach beyond the picture: they stay where most of them is in it.
    step = round(max(width, height) / max(stored.shape))
    stored = np.ascontiguousarray(stored[: round(height / step), : round(width / step)])
    return upright(stored, structure.orientation)
