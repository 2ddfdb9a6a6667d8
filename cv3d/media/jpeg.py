"""The structure of a JPEG file, walked marker by marker without decoding it (ITU-T T.81, annex B).

Decoders disagree on what to do with a file that stops early: some fill the rest with grey and say nothing. Walking the
markers finds the end-of-image marker for certain, because entropy-coded data cannot contain it, and ignores
whatever phones append behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cv3d.media.orientation import exif_orientation

_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = 0xD9
_START_OF_SCAN = 0xDA
_APP1 = 0xE1
_STANDALONE = frozenset([0x01, 0xD8, *range(0xD0, 0xD8)])
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# In entropy-coded data 0xFF is followed by a stuffed 0x00, a restart marker or fill bytes; anything else ends the scan.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


@dataclass(frozen=True)
class JpegStructure:
    """What the markers of a JPEG file say."""

    components: int
    """Colour components: 1 grey, 3 colour, 4 CMYK; 0 where the file ends before its frame header."""
    bits: int
    """Bits per sample, 8 or 12."""
    orientation: int
    """EXIF orientation, 1 to 8."""
    complete: bool
    """Whether the end-of-image marker is there."""


def is_jpeg(content: bytes) -> bool:
    """Whether the bytes start as a JPEG file does."""
    return content.startswith(_START_OF_IMAGE + b"\xff")


def jpeg_structure(content: bytes) -> JpegStructure:
    """Walk the markers of the first picture of a JPEG file.

    Args:
        content: the whole file.
    """
    components, bits, orientation, position = 0, 8, 1, 2
    complete = False
    while position + 2 <= len(content):
        if content[position] != 0xFF:
            break
        marker = content[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == _END_OF_IMAGE:
            complete = components > 0
            break
        if marker in _STANDALONE:
            position += 2
            continue
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        body = content[position + 4 : position + 2 + length]
        if length < 2 or len(body) < length - 2:
            break
        if marker in _FRAME_HEADERS and len(body) >= 6:
            bits, components = body[0], body[5]
        elif marker == _APP1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = exif_orientation(body)
        position += 2 + length
        if marker == _START_OF_SCAN:
            following = _NEXT_MARKER.search(content, position)
            if following is None:
                break
            position = following.start()
    return JpegStructure(components, bits, orientation, complete)
