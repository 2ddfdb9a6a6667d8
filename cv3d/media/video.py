"""Video files through PyAV: frames one after the other with their own time stamps, the right way up.

A clip that is damaged or stops early is used as far as it goes: the frames that can be trusted are yielded, and what is
missing is told in :attr:`VideoFrames.damaged`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from numpy.typing import NDArray

from cv3d.errors import InputError, PictureError
from cv3d.media.orientation import orientation_of_rotation, upright

_PLANAR_8_BIT = frozenset(["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p", "nv12", "nv21", "gray"])
_FULL_FROM_LIMITED = np.rint((np.arange(256) - 16.0) * (255.0 / 219.0)).clip(0, 255).astype(np.uint8)
"""ITU-R BT.601 and 709 put black at 16 and white at 235."""
_ROTATION_OF_ORIENTATION = {1: 0, 8: 90, 3: 180, 6: 270}
_ISO_MEDIA_SUFFIXES = frozenset([".mp4", ".mov", ".m4v"])


@dataclass(frozen=True)
class VideoInfo:
    """What the headers of a video say; nothing but its first frame has been decoded."""

    width: int
    """Pixels across of an upright frame."""
    height: int
    """Pixels down of an upright frame."""
    frame_count: int | None
    """Estimated number of frames; None where the container says neither a count nor a duration."""
    fps: float | None
    """Average frames per second."""
    duration: float | None
    """Seconds."""
    rotation_deg: int
    """How far frames are turned counter-clockwise to stand upright: 0, 90, 180 or 270."""
    codec: str
    """Name of the decoder, e.g. "h264"."""


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame of a video. It is converted only when asked for."""

    index: int
    """Position among the frames that could be decoded, from 0."""
    time: float
    """The source's own stamp, seconds."""
    orientation: int
    """EXIF orientation that says the same as the video's rotation."""
    bits: int
    """Bits per sample of the source."""
    _frame: av.VideoFrame = field(repr=False)

    def gray(self) -> NDArray[np.uint8]:
        """The upright frame in grey, full range, (H, W) uint8."""
        luma = _luma(self._frame)
        if luma is None:
            luma = np.asarray(self._frame.to_ndarray(format="gray"), dtype=np.uint8)
        return upright(luma, self.orientation)

    def rgb(self) -> NDArray[np.uint8]:
        """The upright frame in colour, (H, W, 3) uint8."""
        return upright(np.asarray(self._frame.to_ndarray(format="rgb24"), dtype=np.uint8), self.orientation)


class VideoFrames(Iterator[VideoFrame]):
    """The frames of a video in order, decoded as they are asked for. A context manager; also closes at its end."""

    path: Path
    damaged: str | None
    """After the last frame: what is missing of the clip, in words for the user; None where it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = None
        self._container = open_video(path)
        self._stream = self._container.streams.video[0]
        self._damage: list[str] = []
        self._decoded = decoded_frames(self._container, self._stream, self._damage)
        self._next_index = 0
        self._end = 0.0
        self._is_finished = False

    def __next__(self) -> VideoFrame:
        try:
            frame = next(self._decoded)
        except StopIteration:
            self._finish()
            raise
        result = wrap_frame(frame, self._stream, self._next_index)
        self._next_index += 1
        shown_s = frame.duration * seconds_per_tick(self._stream) if frame.duration else _usual_step(self._stream)
        self._end = max(self._end, result.time + shown_s)
        return result

    def __enter__(self) -> VideoFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the decoder. What has not been read yet is not looked at for damage."""
        self._is_finished = True
        self._decoded.close()
        self._container.close()

    def _finish(self) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        count = self._next_index
        if count:
            missing = _missing_end(self._container, self._stream, self._end)
            self.damaged = self._damage[0] if self._damage else missing
        self.close()
        if count == 0:
            reason = self._damage[0] if self._damage else "it holds no frame"
            raise PictureError(f"{self.path}: no frame of this video can be decoded: {reason}")


def video_frames(path: str | Path) -> VideoFrames:
    """Stream the frames of a video in bounded memory.

    Rotation metadata is applied; variable frame rates keep their stamps; deeper samples are reduced to 8 bits.
    Frames that depend on damaged data are left out.

    Raises:
        PictureError: the file is no video, is cut off before its index, or (at the end) not one frame could be decoded.
    """
    return VideoFrames(Path(path))


def probe_video(path: str | Path) -> VideoInfo:
    """Read the headers and the first frame of a video.

    Raises:
        PictureError: as for :func:`video_frames`.
    """
    path = Path(path)
    with video_frames(path) as frames:
        first = next(frames)
        stream = frames._stream
        height, width = first.gray().shape
        rotation = _ROTATION_OF_ORIENTATION[first.orientation]
        fps = float(stream.average_rate) if stream.average_rate else None
        duration = _duration(frames._container, stream)
        count = stream.frames or (round(duration * fps) if duration and fps else None)
        return VideoInfo(width, height, count, fps, duration, rotation, stream.codec_context.name)


def open_video(path: Path) -> InputContainer:
    """Open a container that holds at least one video stream, set up for threaded decoding.

    Raises:
        InputError: the file cannot be read.
        PictureError: it is empty, cut off before its index, or holds no video.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if size == 0:
        raise PictureError(f"{path}: empty file (0 bytes)")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except av.error.FFmpegError as error:
        raise PictureError(_why_unusable(path, f"cannot be opened as a video: {error.strerror}")) from error
    if not container.streams.video:
        container.close()
        raise PictureError(_why_unusable(path, "holds no video stream"))
    container.streams.video[0].thread_type = "AUTO"
    return container


def decoded_frames(
    container: InputContainer, stream: VideoStream, damage: list[str]
) -> Generator[av.VideoFrame, None, None]:
    """Decode from the container's present position to its end.

    After damaged data, packets are passed over up to the next key frame: what lies between refers to what is lost.

    Args:
        container: an open container.
        stream: its video stream.
        damage: receives one sentence for each damage met.

    Yields:
        PyAV frames in presentation order.
    """
    awaiting_key = False
    try:
        for packet in container.demux(stream):
            is_flush = packet.size == 0
            if not is_flush:
                awaiting_key = awaiting_key and not packet.is_keyframe
                if packet.is_corrupt:
                    damage.append(_damage_at(packet.pts, stream))
                    awaiting_key = True
                if awaiting_key:
                    continue
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                damage.append(_damage_at(packet.pts, stream))
                awaiting_key = True
                continue
            for frame in frames:
                if frame.is_corrupt:
                    damage.append(_damage_at(frame.pts, stream))
                else:
                    yield frame
    except av.error.FFmpegError as error:
        damage.append(f"reading stops early: {error.strerror}")


def wrap_frame(frame: av.VideoFrame, stream: VideoStream, index: int) -> VideoFrame:
    """Give a PyAV frame its index, time and orientation."""
    time = index / float(stream.average_rate or 1) if frame.pts is None else frame.pts * seconds_per_tick(stream)
    bits = max((component.bits for component in frame.format.components), default=8)
    return VideoFrame(index, time, orientation_of_rotation(frame.rotation), bits, frame)


def _luma(frame: av.VideoFrame) -> NDArray[np.uint8] | None:
    """The luma plane at full range, (H, W); None for pixel formats without an 8-bit one.

    It spares the general conversion, which sets itself up anew for each frame and takes longer than the decoding.
    """
    layout = frame.format.name
    if layout not in _PLANAR_8_BIT:
        return None
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    is_full_range = layout.startswith(("yuvj", "gray")) or frame.color_range == ColorRange.JPEG
    return luma.copy() if is_full_range else np.asarray(cv2.LUT(luma, _FULL_FROM_LIMITED), dtype=np.uint8)


def seconds_per_tick(stream: VideoStream) -> float:
    """The unit of the stream's time stamps, seconds."""
    return float(stream.time_base) if stream.time_base else 1.0


def _usual_step(stream: VideoStream) -> float:
    """Seconds from one frame to the next."""
    return 1.0 / float(stream.average_rate) if stream.average_rate else 0.04


def _damage_at(pts: int | None, stream: VideoStream) -> str:
    where = f" near {pts * seconds_per_tick(stream):.2f} s" if pts is not None else ""
    return f"damaged or cut off{where}"


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds, from the most specific place that says it."""
    if stream.duration:
        return stream.duration * seconds_per_tick(stream)
    tagged = _tagged_duration(stream.metadata)
    if tagged is not None:
        return tagged
    return container.duration / av.time_base if container.duration else None


def _tagged_duration(metadata: dict[str, str]) -> float | None:
    """Matroska's per-stream DURATION tag, "hh:mm:ss.nnnnnnnnn"."""
    parts = next((value for key, value in metadata.items() if key.upper() == "DURATION"), "").split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return None
    return 3600.0 * hours + 60.0 * minutes + seconds


def _missing_end(container: InputContainer, stream: VideoStream, end: float) -> str | None:
    """Compare where the frames end with where the headers say they would. A few frames less are usual."""
    duration = _duration(container, stream)
    if duration is None:
        return None
    step = _usual_step(stream)
    end -= (stream.start_time or 0) * seconds_per_tick(stream)
    is_own_duration = bool(stream.duration) or _tagged_duration(stream.metadata) is not None
    # A container's duration is that of its longest stream; sound often runs on for a moment.
    slack = 3.5 * step if is_own_duration else max(1.0, 0.05 * duration)
    if len(container.streams) == 1:
        slack = 3.5 * step
    return f"ends early, at {end:.2f} s of {duration:.2f} s" if duration - end > slack else None


def _why_unusable(path: Path, otherwise: str) -> str:
    """The message about a video of which nothing can be decoded."""
    if path.suffix.lower() in _ISO_MEDIA_SUFFIXES and _is_cut_before_index(path):
        return (
            f"{path}: truncated: it was cut off before its index (moov) was complete, so no frame can be found; "
            "copy it from the camera again"
        )
    return f"{path}: {otherwise}"


def _is_cut_before_index(path: Path) -> bool:
    """Whether an ISO media file (ISO/IEC 14496-12) has no whole moov box among its top-level boxes."""
    size = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if kind == b"moov":
                return position + length > size
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:
                return True
            position += length
    return True
