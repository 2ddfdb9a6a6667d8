"""Pictures and videos written so that a file of the wanted name is always whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.video.stream import VideoStream

from cv3d.errors import DependencyError, OutputError, UsageError
from cv3d.media.unchanged import Samples

PICTURE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".pgm", ".ppm"])
"""Picture files that can be written."""
VIDEO_SUFFIXES = frozenset([".mp4", ".mov", ".m4v", ".mkv"])
"""Video files that can be written."""

CODECS = {"h264": "libx264", "mpeg4": "mpeg4"}
"""Video codecs by name, and the encoder of each."""
_OPTIONS = {"h264": {"preset": "veryfast", "crf": "18"}, "mpeg4": {"qmin": "2", "qmax": "4"}}
"""Settings at which the loss cannot be seen: what follows usually measures."""
_MPEG4_MAX_DENOMINATOR = 65535
_JPEG_QUALITY = 95


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, with its suffix, that becomes `path` when the block ends without an error.

    Raises:
        OutputError: the file cannot be written there.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}.partial.", suffix=path.suffix, dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_picture(path: Path, samples: Samples) -> None:
    """Write a picture in the format of its suffix; JPEG at quality 95, everything else without loss.

    Args:
        path: where to; one of :data:`PICTURE_SUFFIXES`.
        samples: (H, W), (H, W, 3) BGR or (H, W, 4) BGRA; uint8, or what else the format can hold.

    Raises:
        OutputError: the file cannot be written, or its format cannot hold such samples.
    """
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if path.suffix.lower() in (".jpg", ".jpeg") else []
    if path.suffix.lower() == ".webp":
        parameters = [cv2.IMWRITE_WEBP_QUALITY, 101]
    try:
        is_encoded, content = cv2.imencode(path.suffix, samples, parameters)
    except cv2.error as error:
        raise OutputError(f"{path}: {samples.dtype} samples of shape {samples.shape} cannot be written so") from error
    if not is_encoded:
        raise OutputError(f"{path}: {samples.dtype} samples of shape {samples.shape} cannot be written so")
    with replacing(path) as temporary:
        temporary.write_bytes(np.asarray(content).tobytes())


class VideoWriter:
    """Encodes frames to a video file, which is there once the writer is closed without an error. A context manager.

    Args:
        path: where to; one of :data:`VIDEO_SUFFIXES`.
        like: the first frame: its size, colour space and range hold for all.
        rate: frames per second, as a hint; the stamps of the frames are what counts.
        time_base: unit of the stamps, seconds.
        codec: one of :data:`CODECS`.

    Raises:
        UsageError: no such codec or container.
        DependencyError: this build of FFmpeg cannot encode it.
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, like: av.VideoFrame, rate: Fraction, time_base: Fraction, codec: str) -> None:
        check_codec(codec)
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise UsageError(f"{path}: a video is written as one of {', '.join(sorted(VIDEO_SUFFIXES))}")
        if CODECS[codec] not in av.codecs_available:
            raise DependencyError(f"this build of PyAV cannot encode {codec}; pip install --force-reinstall av")
        self.path = path
        self._last: int | None = None
        self._rate = rate
        self._closing = contextlib.ExitStack()
        temporary = self._closing.enter_context(replacing(path))
        try:
            with _as_output_error(path):
                self._container = av.open(str(temporary), "w")
                self._closing.callback(self._container.close)
                self._stream = _add_stream(self._container, like, rate, time_base, codec)
        except BaseException as error:
            self._closing.__exit__(type(error), error, error.__traceback__)
            raise

    def write(self, frame: av.VideoFrame) -> None:
        """Encode a frame; its `pts` counts in its `time_base`, and one not after its predecessor's is moved behind it.

        Raises:
            OutputError: the file cannot be written.
        """
        time_base = self._stream.codec_context.time_base
        pts = round(Fraction(frame.pts or 0) * (frame.time_base or time_base) / time_base)
        pts = pts if self._last is None else max(pts, self._last + 1)
        self._last = frame.pts = pts
        frame.time_base = time_base
        with _as_output_error(self.path):
            self._mux(self._stream.encode(frame))

    def _mux(self, packets: Sequence[av.Packet[Any]]) -> None:
        """Write packets, those without a duration as long as usual: else the last frame would be shown for no time."""
        for packet in packets:
            if not packet.duration and packet.time_base:
                packet.duration = max(1, round(1 / (self._rate * packet.time_base)))
            self._container.mux(packet)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                with _as_output_error(self.path):
                    self._mux(self._stream.encode())
                    self._container.close()
            except BaseException as error:
                self._closing.__exit__(type(error), error, error.__traceback__)
                raise
        self._closing.__exit__(kind, value, trace)


def check_codec(name: str) -> None:
    """See that a video codec is one of :data:`CODECS`.

    Raises:
        UsageError: it is not.
    """
    if name not in CODECS:
        raise UsageError(f"video codec is one of {', '.join(CODECS)}, not '{name}'")


def _add_stream(
    container: av.container.OutputContainer, like: av.VideoFrame, rate: Fraction, time_base: Fraction, codec: str
) -> VideoStream:
    stream = container.add_stream(CODECS[codec], rate=rate)
    if not isinstance(stream, VideoStream):
        raise TypeError(f"{codec} made a {type(stream).__name__}")
    stream.width, stream.height, stream.pix_fmt = like.width, like.height, "yuv420p"
    stream.options = dict(_OPTIONS[codec])
    if codec == "mpeg4" and time_base.denominator > _MPEG4_MAX_DENOMINATOR:
        time_base = Fraction(1, 60000)
    context = stream.codec_context
    context.time_base = stream.time_base = time_base
    context.thread_type = "AUTO"
    context.color_range, context.colorspace = like.color_range, like.colorspace
    context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
    return stream


@contextlib.contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
