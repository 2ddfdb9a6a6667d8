"""Pictures of video frames that keep their pixels, as long as there is memory for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.media.picture import Picture, frame_name
from cv3d.media.video import VideoFrame

HELD_BYTES = 256 << 20
"""Memory that compressed pixels may take, unless told otherwise."""
_ENCODING = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
_ENCODING += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG]
"""Looking for repetitions, which photographs do not have, costs more than half of the time and saves nothing."""


@dataclass
class PixelStore:
    """Turns decoded frames into pictures, which hold their grey pixels losslessly compressed while there is room."""

    room: int = HELD_BYTES
    """Bytes left."""

    def picture(self, path: Path, name: str, frame: VideoFrame, gray: NDArray[np.uint8]) -> Picture:
        """The frame as a picture; beyond the room it is a reference, which is read by seeking.

        Args:
            path: the video.
            name: how results call the video.
            frame: the frame.
            gray: its pixels, (H, W).
        """
        held: bytes | None = None
        if self.room > 0:
            is_encoded, encoded = cv2.imencode(".png", gray, _ENCODING)
            held = encoded.tobytes() if is_encoded and len(encoded) <= self.room else None
            self.room -= len(held) if held is not None else 0
        return Picture(
            frame_name(name, frame.index), path, frame.index, frame.time, held, frame.orientation, frame.bits
        )
