"""The pixels of a set's pictures by their names, for a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.media.inputs import find_pictures
from cv3d.media.picture import Picture

LoadPixels = Callable[[str], NDArray[np.uint8] | None]
"""A picture's pixels, (H, W, 3) RGB or (H, W) grey, by its name; None where it cannot be read."""


class SetPictures:
    """Decodes pictures and frames of videos by the names that a matched set has for them."""

    def __init__(self, inputs: str | Path | Sequence[str | Path]) -> None:
        """Find the files; nothing is decoded yet.

        Args:
            inputs: folders, globs, pictures or videos, as they were matched.

        Raises:
            InputError: an input does not exist, or holds nothing usable.
        """
        found = find_pictures(inputs)
        self._pictures = {picture.name: picture for picture in found}
        self._videos = {video.name: video.source for video in found.videos}

    def __call__(self, name: str) -> NDArray[np.uint8] | None:
        """The pixels, (H, W, 3) RGB; None where there is no such picture, or it cannot be read."""
        picture = self._pictures.get(name) or self._frame(name)
        if picture is None:
            return None
        try:
            return picture.read_rgb().array
        except PictureError:
            return None

    def _frame(self, name: str) -> Picture | None:
        """The frame of a video that is called so; see :func:`cv3d.media.picture.frame_name`."""
        video, mark, index = name.rpartition("#")
        if not mark or video not in self._videos or not index.isdecimal():
            return None
        return Picture(name, self._videos[video], frame=int(index))
