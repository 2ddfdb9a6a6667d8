"""Which way up a picture was taken: the EXIF orientation tag, and turning arrays upright by it."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_ORIENTATION_TAG = 0x0112
_SHORT = 3


def exif_orientation(exif: bytes) -> int:
    r"""The orientation tag of an EXIF block (Exif 2.32, 4.6.2 and 4.6.4), 1 where it is absent or nonsensical.

    Args:
        exif: the TIFF structure, with or without its leading ``Exif\0\0``.

    Returns:
        A value from 1 to 8. A damaged block counts as "not said", since the picture itself may be fine.
    """
    block = exif[6:] if exif.startswith(b"Exif\0\0") else exif
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, start + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def orientation_of_rotation(counterclockwise_deg: float) -> int:
    """The EXIF orientation (1, 3, 6 or 8) that says the same as a video's display rotation.

    Args:
        counterclockwise_deg: the angle by which the stored frame is to be turned to stand upright, degrees,
            rounded to the nearest quarter turn.
    """
    return (1, 8, 3, 6)[round(counterclockwise_deg / 90.0) % 4]


def upright(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn stored pixels, (H, W) or (H, W, C), to the way the picture is to be seen.

    Args:
        stored: pixels in file order.
        orientation: EXIF orientation from 1 to 8.

    Returns:
        A contiguous array; height and width are exchanged for 5 to 8. The input itself for 1.
    """
    if orientation == 1:
        return np.ascontiguousarray(stored)
    if orientation in (5, 6, 7, 8):
        stored = stored.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    return np.ascontiguousarray(stored)
