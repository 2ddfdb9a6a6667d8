"""One channel of an OpenEXR picture: what depth cameras' apps export (openexr.com, "OpenEXR File Layout").

Scan lines with half, float or unsigned samples, stored plainly, run-length coded or by zip, are read; tiles, several
parts and the lossy codings are not.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import PictureError

_MAGIC = b"\x76\x2f\x31\x01"
_OTHER_LAYOUTS = 0x200 | 0x800 | 0x1000
_LINES_PER_BLOCK = {0: 1, 1: 1, 2: 1, 3: 16}
"""By compression: none, run lengths, zip of one line, zip of 16 lines."""
_CODINGS = ("none", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB")
_SAMPLE: dict[int, np.dtype[np.generic]] = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
_PREFERRED = ("Z", "Y", "depth", "R")


@dataclass(frozen=True)
class _Header:
    channels: tuple[tuple[str, np.dtype[np.generic]], ...]
    compression: int
    top: int
    width: int
    height: int
    end: int


def is_exr(content: bytes) -> bool:
    """Whether the bytes start as an OpenEXR file does."""
    return content.startswith(_MAGIC)


def decode_exr(content: bytes, name: str) -> NDArray[np.float32]:
    """The channel Z, Y, depth or R of a picture, the first that is there, else its first one, (H, W) float32.

    Args:
        content: the whole file.
        name: how the messages call it.

    Raises:
        PictureError: truncated, or of a layout that is not read.
    """
    try:
        return _decode(content, name)
    except (struct.error, zlib.error, ValueError, IndexError, KeyError) as error:
        raise PictureError(f"{name}: damaged or truncated OpenEXR file") from error


def _decode(content: bytes, name: str) -> NDArray[np.float32]:
    header = _header(content, name)
    names = [channel for channel, _ in header.channels]
    chosen = next((wanted for wanted in _PREFERRED if wanted in names), names[0])
    lines = _LINES_PER_BLOCK[header.compression]
    blocks = -(-header.height // lines)
    offsets = struct.unpack_from(f"<{blocks}Q", content, header.end)
    line_bytes = sum(sample.itemsize for _, sample in header.channels) * header.width
    skipped = sum(sample.itemsize for channel, sample in header.channels[: names.index(chosen)]) * header.width
    sample = header.channels[names.index(chosen)][1]
    picture = np.zeros((header.height, header.width), np.float32)
    for offset in offsets:
        y, size = struct.unpack_from("<ii", content, offset)
        row = y - header.top
        count = min(lines, header.height - row)
        data = content[offset + 8 : offset + 8 + size]
        raw = _unpacked(data, header.compression, count * line_bytes)
        if len(data) != size or len(raw) != count * line_bytes or row < 0:
            raise PictureError(f"{name}: damaged or truncated OpenEXR file")
        table = np.frombuffer(raw, np.uint8).reshape(count, line_bytes)
        wanted = np.ascontiguousarray(table[:, skipped : skipped + sample.itemsize * header.width])
        picture[row : row + count] = wanted.view(sample)
    return picture


def _header(content: bytes, name: str) -> _Header:
    if int.from_bytes(content[4:8], "little") & _OTHER_LAYOUTS:
        raise PictureError(f"{name}: an OpenEXR file of tiles or several parts is not read; save it as scan lines")
    attributes, position = {}, 8
    while content[position] != 0:
        key, position = _text(content, position)
        _, position = _text(content, position)
        (size,) = struct.unpack_from("<i", content, position)
        attributes[key] = content[position + 4 : position + 4 + size]
        position += 4 + size
    compression = attributes["compression"][0]
    if compression not in _LINES_PER_BLOCK:
        coding = _CODINGS[compression] if compression < len(_CODINGS) else str(compression)
        raise PictureError(f"{name}: OpenEXR's compression {coding} is not read; save it with ZIP or none")
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    channels = _channels(attributes["channels"], name)
    return _Header(channels, compression, top, right - left + 1, bottom - top + 1, position + 1)


def _channels(data: bytes, name: str) -> tuple[tuple[str, np.dtype[np.generic]], ...]:
    channels, position = [], 0
    while data[position] != 0:
        channel, position = _text(data, position)
        kind, _, x_step, y_step = struct.unpack_from("<iiii", data, position)
        if (x_step, y_step) != (1, 1):
            raise PictureError(f"{name}: an OpenEXR file with subsampled channels is not read")
        channels.append((channel, _SAMPLE[kind]))
        position += 16
    return tuple(channels)


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = data.index(b"\0", position)
    return data[position:end].decode("latin-1"), end + 1


def _unpacked(data: bytes, compression: int, size: int) -> bytes:
    # A block that coding would not shrink is stored plainly.
    if compression == 0 or len(data) == size:
        return data
    packed = _run_lengths(data) if compression == 1 else zlib.decompress(data)
    # Halves of even and odd bytes, each byte but the first the difference to the one before, plus 128.
    steps = np.frombuffer(packed, np.uint8).astype(np.int64)
    steps[1:] -= 128
    halves = np.cumsum(steps).astype(np.uint8)
    middle = (len(halves) + 1) // 2
    joined = np.empty_like(halves)
    joined[0::2], joined[1::2] = halves[:middle], halves[middle:]
    return joined.tobytes()


def _run_lengths(data: bytes) -> bytes:
    parts, position = [], 0
    while position < len(data):
        count = int.from_bytes(data[position : position + 1], "little", signed=True)
        if count < 0:
            parts.append(data[position + 1 : position + 1 - count])
            position += 1 - count
        else:
            parts.append(data[position + 1 : position + 2] * (count + 1))
            position += 2
    return b"".join(parts)
