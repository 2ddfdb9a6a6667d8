"""A live camera: always the newest picture, with the stamp of its arrival on the monotonic clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.errors import InputError
from cv3d.media.sequences.frame import SequenceFrame

_PATIENCE_S = 5.0
"""A camera that gives no picture for so long counts as unplugged."""
_MISSES = 50
"""So many failed reads in a row, a second of them, end the stream."""
_PAUSE_S = 0.02


class Capture(Protocol):
    """What is used of OpenCV's VideoCapture."""

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        """Whether there was a picture, and the picture, (H, W, 3) BGR or (H, W) grey."""
        ...

    def release(self) -> None:
        """Let go of the camera."""
        ...


def open_camera(device: int | str) -> Capture:
    """Open a camera of this machine.

    Args:
        device: its number from 0, or its path, such as /dev/video0.

    Raises:
        InputError: there is none, or it cannot be opened.
    """
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(device)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        capture.release()
        raise InputError(
            f"camera:{device}: cannot be opened: it is not there, in use by another program, or not allowed to be used"
        )
    # One picture waiting is one too old.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return cast(Capture, capture)


class _Newest:
    """The newest picture of a camera, kept by a thread that reads all of them."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._changed = threading.Condition()
        self._picture: NDArray[np.uint8] | None = None
        self._stamp = 0.0
        self._count = 0
        self._is_ended = False
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="cv3d-camera", daemon=True)
        self._thread.start()

    def after(self, count: int) -> tuple[int, float, NDArray[np.uint8]] | None:
        """The newest picture's number, from 1, stamp and pixels, once it is beyond `count`; None: there comes none."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > count or self._is_ended, timeout=_PATIENCE_S)
            if self._count > count and self._picture is not None:
                return self._count, self._stamp, self._picture
            return None

    def stop(self) -> None:
        """Let go of the camera."""
        self._is_stopped = True
        # A camera that hangs in a read is left to its daemon thread.
        self._thread.join(timeout=_PATIENCE_S)

    def _run(self) -> None:
        misses = 0
        while not self._is_stopped and misses < _MISSES:
            try:
                is_read, picture = self._capture.read()
            except (OSError, cv2.error):
                # Some drivers fail so where others give no picture.
                is_read, picture = False, None
            stamp = time.monotonic()
            if not is_read or picture is None:
                misses += 1
                time.sleep(_PAUSE_S)
                continue
            misses = 0
            with self._changed:
                self._count, self._stamp, self._picture = self._count + 1, stamp, picture
                self._changed.notify_all()
        self._capture.release()
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()


def frames_of_camera(
    device: int | str, problems: list[str], *, opened: Callable[[int | str], Capture] = open_camera
) -> Generator[SequenceFrame, None, None]:
    """The pictures of a live camera, until it is unplugged or the iterator is closed.

    Pictures that come while the consumer is busy are passed over: `index` counts them, so gaps show how many.

    Args:
        device: the camera's number or path.
        problems: receives the sentence that the camera is gone.
        opened: opens it.

    Raises:
        InputError: it cannot be opened.
    """
    newest = _Newest(opened(device))
    count = 0
    try:
        while (found := newest.after(count)) is not None:
            count, stamp, picture = found
            yield SequenceFrame(
                count - 1, stamp, f"camera:{device}#{count - 1:06d}", _gray(picture), read_color=partial(_rgb, picture)
            )
        problems.append(f"camera:{device}: gives no more pictures: it was unplugged, or another program took it")
    finally:
        newest.stop()


def _gray(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def _rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    code = cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(picture, code), dtype=np.uint8)
