"""Depth maps of COLMAP's dense stereo: NAME.geometric.bin, NAME.photometric.bin.

A text head "WIDTH&HEIGHT&1&" and little-endian float32, row by row, depth along z in the model's unit of length; 0
where there is none (src/colmap/mvs/mat.h).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError

_HEAD = re.compile(rb"(\d{1,6})&(\d{1,6})&(\d{1,3})&")


def read_colmap_depth(path: Path) -> NDArray[np.float32]:
    """The depth map of a file, (H, W); 0 where there is none.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no depth map, or cut off.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    head = _HEAD.match(data)
    if head is None:
        raise FormatError(f"{path}: is no depth map of COLMAP")
    width, height, channels = (int(number) for number in head.groups())
    if channels != 1:
        raise FormatError(f"{path}: has {channels} channels, as a map of normals has; a depth map has one")
    if len(data) - head.end() != 4 * width * height:
        raise FormatError(f"{path}: is cut off: it holds {len(data) - head.end()} bytes for {width}x{height} pixels")
    depth = np.frombuffer(data, "<f4", offset=head.end()).reshape(height, width)
    return np.where(np.isfinite(depth) & (depth > 0.0), depth, np.float32(0.0))


def encode_colmap_depth(depth: NDArray[np.float32]) -> bytes:
    """The file of a depth map (H, W)."""
    height, width = depth.shape
    return f"{width}&{height}&1&".encode("ascii") + depth.astype("<f4").tobytes()
