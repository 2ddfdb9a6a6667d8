"""Single frames of a video, by index and time stamp.

A reader seeks to the key frame before the wanted stamp and decodes forward until it meets that very stamp, so what it
returns is the frame that plain iteration gives. Readers stay open: a frame that lies ahead in the same group of
pictures costs only the frames between, so reading many frames in order decodes the video at most once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

import av

from cv3d.errors import PictureError
from cv3d.media.video import VideoFrame, decoded_frames, open_video, seconds_per_tick, wrap_frame

_OPEN_READERS = 4
_FORWARD_S = 4.0
"""Where the container has no index of key frames: how far ahead decoding on is taken to be cheaper than a seek."""


class FrameReader:
    """Random access to the frames of one video. Not for several threads at once; :func:`read_frame` is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self._is_stamped = True
        self._open()

    def read(self, index: int, time: float | None) -> VideoFrame:
        """The frame with this time stamp, or with this index where no stamp is known.

        Raises:
            PictureError: the video has no such frame (any more).
        """
        if time is not None and self._is_stamped:
            pts = round(time / self._tick_s)
            found = self._forward_to(pts) if self._is_ahead(pts) else None
            if found is None and self._is_stamped:
                found = self._seek_to(pts)
            if found is not None:
                return wrap_frame(found, self._stream, index)
        return self._count_to(index)

    def close(self) -> None:
        """Release the decoder."""
        self._container.close()

    def _open(self) -> None:
        self._container = open_video(self.path)
        self._stream = self._container.streams.video[0]
        self._tick_s = seconds_per_tick(self._stream)
        self._restart()
        self._next_index: int | None = 0

    def _restart(self) -> None:
        self._frames = decoded_frames(self._container, self._stream, [])
        self._position: int | None = None
        self._next_index = None

    def _next(self) -> av.VideoFrame | None:
        frame = next(self._frames, None)
        if frame is not None:
            self._position = frame.pts
            self._next_index = None if self._next_index is None else self._next_index + 1
        return frame

    def _is_ahead(self, pts: int) -> bool:
        """Whether decoding on from here reaches `pts` without passing a key frame that a seek could have used."""
        if self._position is None or pts <= self._position:
            return False
        entries = self._stream.index_entries
        key = entries.search_timestamp(pts) if len(entries) > 1 else -1
        if key >= 0:
            return bool(entries[key].timestamp <= self._position)
        return (pts - self._position) * self._tick_s <= _FORWARD_S

    def _forward_to(self, pts: int) -> av.VideoFrame | None:
        """Decode on until `pts`; None where the stream passes it without such a frame."""
        while (frame := self._next()) is not None:
            if frame.pts is None:
                self._is_stamped = False
                return None
            if frame.pts >= pts:
                return frame if frame.pts == pts else None
        return None

    def _seek_to(self, pts: int) -> av.VideoFrame | None:
        """Seek to a key frame that is shown before `pts`, further back each time one turns out to lie behind it."""
        start = self._stream.start_time or 0
        for back_s in (0.0, 1.0, 5.0, 25.0):
            target = max(start, pts - round(back_s / self._tick_s))
            self._container.seek(target, stream=self._stream, backward=True)
            self._restart()
            found = self._forward_to(pts)
            if found is not None or target == start or not self._is_stamped:
                return found
        return None

    def _count_to(self, index: int) -> VideoFrame:
        """Decode on to the frame with this index; from the beginning where the present index is unknown or past it."""
        if self._next_index is None or self._next_index > index:
            self.close()
            self._open()
        while (frame := self._next()) is not None:
            if self._next_index == index + 1:
                return wrap_frame(frame, self._stream, index)
        raise PictureError(f"{self.path}: has no frame {index}; was it changed since it was read first?")


_readers: OrderedDict[tuple[int, Path, int, int], FrameReader] = OrderedDict()
_readers_lock = threading.Lock()


def read_frame(path: Path, index: int, time: float | None) -> VideoFrame:
    """One frame of a video, through a small set of readers that stay open between calls. Safe from any thread.

    Args:
        path: the video.
        index: position of the frame among those that can be decoded, from 0.
        time: its stamp, seconds, where known; it makes a seek possible.

    Raises:
        PictureError: the video cannot be opened or has no such frame.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror}") from error
    # The process id is part of the key because a forked child would share the parent's file position.
    key = (os.getpid(), path, status.st_size, status.st_mtime_ns)
    with _readers_lock:
        reader = _readers.pop(key, None) or FrameReader(path)
        _readers[key] = reader
        while len(_readers) > _OPEN_READERS:
            # Not closed here: another thread may be reading from it. It closes with its last reference.
            _readers.popitem(last=False)
    with reader.lock:
        return reader.read(index, time)
