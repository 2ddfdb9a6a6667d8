"""Grey pictures of a recording, decoded on the shortest way."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.media.decode import decode_gray, decode_rgb, to_eight_bits
from cv3d.media.sequences.png import is_png, png_structure


class GrayReader:
    """Decodes the pictures of one camera.

    Samples deeper than 8 bits lose the same low bits in every picture, so that brightness does not jump where one
    picture happens to be darker than the others.
    """

    def __init__(self) -> None:
        self._bits = 8

    def read(self, path: Path) -> NDArray[np.uint8]:
        """The grey picture of a file, (H, W) uint8, upright.

        Raises:
            PictureError: unreadable, empty, truncated or not decodable.
        """
        content = read_bytes(path)
        if not is_png(content):
            return decode_gray(content, str(path)).array
        structure = png_structure(content, str(path))
        if not structure.is_plain:
            return decode_gray(content, str(path)).array
        mode = cv2.IMREAD_GRAYSCALE | (cv2.IMREAD_ANYDEPTH if structure.bits == 16 else 0)
        stored = cv2.imdecode(np.frombuffer(content, np.uint8), mode)
        if stored is None:
            raise PictureError(f"{path}: damaged: its PNG data cannot be decoded")
        return self._reduced(np.asarray(stored))

    def _reduced(self, stored: NDArray[np.generic]) -> NDArray[np.uint8]:
        if stored.dtype != np.uint16:
            return np.asarray(stored, dtype=np.uint8)
        deep = np.asarray(stored, dtype=np.uint16)
        if int(deep.max(initial=0)) >= 1 << self._bits or self._bits == 8:
            reduced, self._bits = to_eight_bits(deep)
            return reduced
        return (deep >> (self._bits - 8)).astype(np.uint8)


def read_color(path: Path) -> NDArray[np.uint8]:
    """The colours of a picture file, (H, W, 3) RGB uint8, upright.

    Raises:
        PictureError: unreadable, empty, truncated or not decodable.
    """
    return decode_rgb(read_bytes(path), str(path)).array


def read_bytes(path: Path) -> bytes:
    """The content of a picture file.

    Raises:
        PictureError: it cannot be read, or is empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not content:
        raise PictureError(f"{path}: empty file (0 bytes)")
    return content
