"""Recordings that are picture files: one, two or a depth picture for every moment."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.media.sequences.depth_files import DepthReader
from cv3d.media.sequences.frame import SequenceFrame
from cv3d.media.sequences.gray import GrayReader, read_color


@dataclass(frozen=True)
class FrameFiles:
    """The files of one moment."""

    time: float
    """The source's own stamp, seconds."""
    picture: Path
    """Of the only, the left or the colour camera."""
    right: Path | None = None
    """Of the right camera of a stereo pair."""
    depth: Path | None = None
    """The depth picture."""
    name: str = ""
    """How results call it; empty: as the picture's file is called."""


def frames_of_files(
    moments: Sequence[FrameFiles], depth: DepthReader | None, problems: list[str]
) -> Generator[SequenceFrame, None, None]:
    """Decode moments one after the other.

    A moment whose picture cannot be read is left out; one whose right or depth picture cannot be read goes without.

    Args:
        moments: in the order of time.
        depth: decodes the depth pictures, where there are any.
        problems: receives a sentence for every file that cannot be read.
    """
    left, right = GrayReader(), GrayReader()
    for index, moment in enumerate(moments):
        gray = _or_told(left, moment.picture, problems)
        if gray is None:
            continue
        yield SequenceFrame(
            index,
            moment.time,
            moment.name or moment.picture.name,
            gray,
            None if moment.right is None else _or_told(right, moment.right, problems),
            None if moment.depth is None or depth is None else depth_or_told(depth, moment.depth, problems),
            partial(read_color, moment.picture),
        )


def depth_or_told(reader: DepthReader, path: Path, problems: list[str]) -> NDArray[np.float32] | None:
    """The depth of a file, (h, w) metres; None, and a sentence more among the problems, where it cannot be read."""
    try:
        return reader.read(path)
    except PictureError as error:
        problems.append(str(error))
        return None


def _or_told(reader: GrayReader, path: Path, problems: list[str]) -> NDArray[np.uint8] | None:
    try:
        return reader.read(path)
    except PictureError as error:
        problems.append(str(error))
        return None
