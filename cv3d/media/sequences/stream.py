"""The iterator over the frames of a recording, which tells in the end what could not be read."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from types import TracebackType

from cv3d.errors import PictureError
from cv3d.media.pipeline import in_background
from cv3d.media.sequences.frame import SequenceFrame

Produce = Callable[[list[str]], Generator[SequenceFrame, None, None]]
"""Yields the frames, and appends a sentence to the list for what cannot be read."""


def nothing(problems: list[str]) -> Generator[SequenceFrame, None, None]:
    """No frames."""
    yield from ()


class SequenceFrames(Iterator[SequenceFrame]):
    """The frames of a recording in order, decoded a few ahead of their use. A context manager; closes at its end."""

    problems: list[str]
    """What could not be read so far, a sentence each, naming the file."""

    def __init__(self, produce: Produce, source: str, *, in_thread: bool = True) -> None:
        """Begin to read.

        Args:
            produce: yields the frames.
            source: how messages call the recording.
            in_thread: whether to decode in a thread of its own; not for sources that wait for nobody.
        """
        self.problems = []
        self._source = source
        frames = produce(self.problems)
        self._frames = in_background(frames) if in_thread else frames
        self._is_empty = True

    def __next__(self) -> SequenceFrame:
        try:
            frame = next(self._frames)
        except StopIteration:
            if self._is_empty:
                self._is_empty = False
                reason = f": {self.problems[0]}" if self.problems else ""
                raise PictureError(f"{self._source}: not one frame can be decoded{reason}") from None
            raise
        self._is_empty = False
        return frame

    def __enter__(self) -> SequenceFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and release the files or the camera."""
        self._is_empty = False
        self._frames.close()
