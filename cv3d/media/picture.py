"""A reference to one picture: a file or a frame of a video, decoded only when its pixels are asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from cv3d.errors import PictureError
from cv3d.media.decode import Pixels, decode_gray, decode_rgb
from cv3d.media.frame_access import read_frame


@dataclass(frozen=True)
class Picture:
    """A reference to a picture file or to one frame of a video."""

    name: str
    """Shown to the user and in results: relative to its input, e.g. "left01.jpg" or "clip.mp4#000123"."""
    source: Path
    """The file that holds it."""
    frame: int | None = None
    """Index of the frame in a video, from 0; None for a picture file."""
    time: float | None = None
    """The source's own time stamp, seconds, where it has one."""
    held_gray: bytes | None = field(default=None, repr=False, compare=False)
    """The grey pixels as a PNG file, where they were kept from an earlier pass over the video."""
    held_orientation: int = field(default=1, repr=False, compare=False)
    """The orientation applied to `held_gray`."""
    held_bits: int = field(default=8, repr=False, compare=False)
    """Bits per sample that the source of `held_gray` had."""

    def digest(self) -> str:
        """SHA-256, in hex, of the file's bytes; for a frame, of the video's SHA-256 and the frame's index.

        Raises:
            PictureError: the file cannot be read.
        """
        try:
            status = self.source.stat()
            whole = _file_digest(self.source, status.st_size, status.st_mtime_ns)
        except OSError as error:
            raise PictureError(f"{self.name}: cannot be read: {error.strerror}") from error
        return whole if self.frame is None else hashlib.sha256(f"{whole}#{self.frame}".encode()).hexdigest()

    def read_gray(self) -> Pixels:
        """Decode to grey, (H, W) uint8, upright.

        Raises:
            PictureError: unreadable, empty, truncated or not decodable.
        """
        if self.held_gray is not None:
            return Pixels(decode_gray(self.held_gray, self.name).array, self.held_orientation, self.held_bits)
        if self.frame is not None:
            frame = read_frame(self.source, self.frame, self.time)
            return Pixels(frame.gray(), frame.orientation, frame.bits)
        return decode_gray(self._content(), self.name)

    def read_rgb(self) -> Pixels:
        """Decode to colour, (H, W, 3) uint8 RGB, upright.

        Raises:
            PictureError: unreadable, empty, truncated or not decodable.
        """
        if self.frame is not None:
            frame = read_frame(self.source, self.frame, self.time)
            return Pixels(frame.rgb(), frame.orientation, frame.bits)
        return decode_rgb(self._content(), self.name)

    def _content(self) -> bytes:
        try:
            return self.source.read_bytes()
        except OSError as error:
            raise PictureError(f"{self.name}: cannot be read: {error.strerror}") from error


def frame_name(video_name: str, index: int) -> str:
    """How a frame of a video is called in results, e.g. "clip.mp4#000123"."""
    return f"{video_name}#{index:06d}"


@lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, modified_ns: int) -> str:
    """SHA-256 of a file; its size and time of change belong to the key of the cache, not to the digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
