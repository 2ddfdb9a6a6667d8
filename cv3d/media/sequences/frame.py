"""One moment of a recording: a grey picture, and what was recorded with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SequenceFrame:
    """A moment of a recording, decoded as far as odometry and fusion need it for every frame."""

    index: int
    """Position in the recording, from 0; a frame that could not be read leaves a gap."""
    time: float
    """The source's own stamp, seconds; may repeat or go back where the source's does."""
    name: str
    """How results call it, e.g. "frame-000012.color.jpg" or "clip.mp4#000012"."""
    gray: NDArray[np.uint8]
    """(H, W), full range."""
    right_gray: NDArray[np.uint8] | None = None
    """(H, W) of the right camera of a stereo pair."""
    depth: NDArray[np.float32] | None = None
    """(h, w), metres along z of the depth camera; 0: nothing measured."""
    read_color: Callable[[], NDArray[np.uint8]] | None = field(default=None, repr=False)
    """Decodes the colours, (H, W, 3) RGB; None where the source has none."""

    def color(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; of a source without colours, its grey values three times.

        Raises:
            PictureError: the picture cannot be decoded any more.
        """
        if self.read_color is None:
            return np.repeat(self.gray[:, :, None], 3, axis=2)
        return self.read_color()
