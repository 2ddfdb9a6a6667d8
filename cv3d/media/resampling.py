"""Pixel maps applied to pictures, and to video frames in the YUV planes that codecs speak.

OpenCV interpolates faster with floating-point maps than with the fixed-point ones of `convertMaps` (2.1 against 3.6 ms
a megapixel plane of 8 bits, 9 against 19 of 16-bit colour), and at full instead of 1/32 pixel resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from cv3d.geometry.views.remapping import PixelMap
from cv3d.media.unchanged import Samples

_PLANAR_420 = frozenset(["yuv420p", "yuvj420p"])
_LIMITED_BLACK = 16
_NO_COLOUR = 128
_ONE_MAP: Any = None
"""The second map of `cv2.remap` where the first holds columns and rows, which its annotations do not know of."""


class Interpolation(StrEnum):
    """How samples between pixels are made."""

    LINEAR = "linear"
    """From 2 x 2 pixels: fastest."""
    CUBIC = "cubic"
    """From 4 x 4 pixels: sharper, 3 times slower."""
    LANCZOS = "lanczos"
    """From 8 x 8 pixels: sharpest, 15 times slower."""


_FLAGS = {
    Interpolation.LINEAR: cv2.INTER_LINEAR,
    Interpolation.CUBIC: cv2.INTER_CUBIC,
    Interpolation.LANCZOS: cv2.INTER_LANCZOS4,
}


def resample(pixel_map: PixelMap, samples: Samples, interpolation: Interpolation = Interpolation.LINEAR) -> Samples:
    """The view of a picture; what the camera did not see is black, and transparent where there is transparency.

    Args:
        pixel_map: where each pixel comes from.
        samples: the picture, (H, W) or (H, W, C), of the map's `source_size`.
        interpolation: how.

    Returns:
        (H', W') or (H', W', C), the dtype of the picture.
    """
    flags = _FLAGS[interpolation]
    return cast(Samples, cv2.remap(samples, pixel_map.source, _ONE_MAP, flags, borderMode=cv2.BORDER_CONSTANT))


@dataclass(frozen=True, eq=False)
class FrameMap:
    """A pixel map for the planes of 4:2:0 frames as they are stored: the turn upright is part of it."""

    luma: NDArray[np.float32]
    """Column and row in the stored luma plane, (H, W, 2)."""
    chroma: NDArray[np.float32]
    """Column and row in the stored chroma planes, (H/2, W/2, 2)."""
    interpolation: Interpolation
    """How samples between pixels are made."""

    @classmethod
    def of(cls, pixel_map: PixelMap, orientation: int, interpolation: Interpolation) -> FrameMap:
        """The map for frames of a video with the given EXIF orientation; the view's sides must be even.

        A chroma sample of H.264 and MPEG-4 lies, unless they say otherwise, on the column of the left and between the
        rows of the two luma samples that it belongs to (ITU-T H.264, figure 6-1).
        """
        upper, lower = pixel_map.source[0::2, 0::2], pixel_map.source[1::2, 0::2]
        upper_in, lower_in = pixel_map.valid[0::2, 0::2, None], pixel_map.valid[1::2, 0::2, None]
        between = 0.5 * (upper + lower)
        # Beside an edge of the lens model's domain the mean of a place and of no place is neither.
        between = np.where(upper_in == lower_in, between, np.where(upper_in, upper, lower))
        stored = _stored(between, orientation, pixel_map.source_size)
        chroma = 0.5 * (stored - np.array([0.0, 0.5], np.float32))
        luma = _stored(pixel_map.source, orientation, pixel_map.source_size)
        return cls(np.ascontiguousarray(luma), np.ascontiguousarray(chroma, dtype=np.float32), interpolation)

    def apply(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The view of a stored frame, in yuv420p, with the frame's stamp and colour description."""
        planar = frame if frame.format.name in _PLANAR_420 else frame.reformat(format="yuv420p")
        is_full_range = planar.format.name == "yuvj420p" or planar.color_range == ColorRange.JPEG
        height, width = self.luma.shape[:2]
        result = av.VideoFrame(width, height, "yuv420p")
        fills = (0 if is_full_range else _LIMITED_BLACK, _NO_COLOUR, _NO_COLOUR)
        maps = (self.luma, self.chroma, self.chroma)
        for source, target, places, fill in zip(planar.planes, result.planes, maps, fills, strict=True):
            cv2.remap(
                _pixels(source),
                places,
                _ONE_MAP,
                _FLAGS[self.interpolation],
                dst=_pixels(target),
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=fill,
            )
        result.pts, result.time_base = frame.pts, frame.time_base
        result.color_range = ColorRange.JPEG if is_full_range else planar.color_range
        result.colorspace = planar.colorspace
        result.color_primaries, result.color_trc = planar.color_primaries, planar.color_trc
        return result


def _pixels(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    """A plane's own memory, (H, W), without the padding of its rows."""
    memory = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return memory[: plane.height, : plane.width]


def _stored(places: NDArray[np.float32], orientation: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Places (..., 2) in the upright picture of the given size, as places in the stored one; see `upright`."""
    x, y = places[..., 0], places[..., 1]
    if orientation in (3, 4, 7, 8):
        y = size[1] - 1.0 - y
    if orientation in (2, 3, 6, 7):
        x = size[0] - 1.0 - x
    return np.stack([y, x] if orientation in (5, 6, 7, 8) else [x, y], -1).astype(np.float32)
