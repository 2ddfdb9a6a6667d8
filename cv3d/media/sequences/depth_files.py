"""Depth pictures as files: 16-bit integers, or float32 in TIFF, PFM and NumPy files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.media.sequences.exr import decode_exr, is_exr
from cv3d.media.sequences.gray import read_bytes
from cv3d.media.sequences.png import is_png, png_structure

DEPTH_SUFFIXES = frozenset([".png", ".pgm", ".tif", ".tiff", ".pfm", ".npy", ".exr"])
_NUMPY = b"\x93NUMPY"


@dataclass(frozen=True)
class DepthReader:
    """Decodes the depth pictures of one recording."""

    metres_per_unit: float
    """What one unit of the stored numbers is, metres."""
    nothing: float | None = None
    """A stored number, beside 0, that means that nothing was measured."""

    def read(self, path: Path) -> NDArray[np.float32]:
        """The depth of a file, (h, w), metres along z; 0 where nothing was measured.

        Raises:
            PictureError: unreadable, truncated, or no picture of one channel.
        """
        return self.metres(read_stored_depth(path))

    def metres(self, stored: NDArray[np.uint16] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Stored numbers, (h, w), in metres; what is negative, not finite or the mark of nothing becomes 0."""
        metres = np.multiply(stored, np.float32(self.metres_per_unit), dtype=np.float32)
        if stored.dtype == np.uint16:
            if self.nothing is not None:
                metres[stored == np.uint16(self.nothing)] = 0.0
            return metres
        unmeasured = ~(np.isfinite(stored) & (stored > 0.0))
        if self.nothing is not None:
            unmeasured |= stored == self.nothing
        metres[unmeasured] = 0.0
        return metres


def read_stored_depth(path: Path) -> NDArray[np.uint16] | NDArray[np.float32]:
    """The numbers of a depth picture as they are stored, (h, w), uint16 or float32.

    Raises:
        PictureError: unreadable, truncated, or no picture of one channel.
    """
    content = read_bytes(path)
    if content.startswith(_NUMPY):
        stored = _numpy_array(content, path)
    elif is_exr(content):
        stored = decode_exr(content, str(path))
    else:
        stored = _picture(content, path)
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = stored[:, :, 0]
    if stored.ndim != 2 or not stored.size:
        raise PictureError(f"{path}: is no depth picture: it has the shape {stored.shape}, not one channel")
    if stored.dtype == np.uint16:
        return np.asarray(stored, dtype=np.uint16)
    if stored.dtype == np.uint8 or not (np.issubdtype(stored.dtype, np.integer) or stored.dtype.kind == "f"):
        raise PictureError(f"{path}: is no depth picture: its numbers are {stored.dtype}, not 16-bit or float")
    return np.asarray(stored, dtype=np.float32)


def _picture(content: bytes, path: Path) -> NDArray[np.generic]:
    if is_png(content):
        png_structure(content, str(path))
    try:
        stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise PictureError(f"{path}: cannot be decoded as a depth picture") from error
    if stored is None:
        raise PictureError(f"{path}: damaged, or no picture that can be decoded")
    return np.asarray(stored)


def _numpy_array(content: bytes, path: Path) -> NDArray[np.generic]:
    try:
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise PictureError(f"{path}: damaged or truncated NumPy file: {error}") from error
