"""A grey picture at several resolutions, each smoothed once, with its saddle response."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.base import Gray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SMOOTHING_PX = 1.3
"""Standard deviation of the smoothing at every level, in the pixels of that level."""
SEPARATION_PX = 14.0
"""Corners this far apart, in pixels of a level, are told apart with ease."""
SMALLEST_SIDE_PX = 100
"""No level is smaller than this along its shorter side."""


@dataclass(frozen=True)
class Level:
    """One resolution of the picture."""

    scale: int
    """Pixels of the picture along the side of one pixel of this level: 1, 2, 4…"""
    smooth: Float32
    """Smoothed grey values, (h, w)."""

    def from_picture(self, pixels: Float64) -> Float64:
        """Picture coordinates, (..., 2), in this level (pixel centres at integers in both)."""
        return (pixels + 0.5) / self.scale - 0.5

    def to_picture(self, pixels: Float64) -> Float64:
        """The inverse of :meth:`from_picture`."""
        return (pixels + 0.5) * self.scale - 0.5

    def sample(self, pixels: Float64) -> Float32:
        """Grey values at picture coordinates (n, m, 2), bilinear, (n, m); nan outside the picture."""
        xy = self.from_picture(pixels).astype(np.float32)
        return sample_bilinear(self.smooth, xy)


def sample_bilinear(image: Float32, xy: NDArray[np.float32]) -> Float32:
    """Values of a float32 image at its own coordinates (n, m, 2); nan outside."""
    if xy.size == 0:
        return np.zeros(xy.shape[:2], np.float32)
    rows_at_once = 32000
    parts = [
        cv2.remap(
            image,
            np.ascontiguousarray(xy[i : i + rows_at_once, :, 0]),
            np.ascontiguousarray(xy[i : i + rows_at_once, :, 1]),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=float("nan"),
        )
        for i in range(0, len(xy), rows_at_once)
    ]
    return np.concatenate(parts).astype(np.float32, copy=False)


class Pyramid:
    """The levels of one picture, made when asked for."""

    def __init__(self, gray: Gray) -> None:
        self.gray = gray
        self._raw: dict[int, Gray] = {1: gray}
        self._levels: dict[int, Level] = {}

    def scales(self) -> list[int]:
        """The scales worth looking at, coarsest first."""
        scales = [1]
        while min(self.gray.shape) // (2 * scales[-1]) >= SMALLEST_SIDE_PX:
            scales.append(2 * scales[-1])
        return scales[::-1]

    def level(self, scale: int) -> Level:
        """The level of a scale (a power of two)."""
        if scale not in self._levels:
            raw = self._reduced(scale).astype(np.float32)
            smooth = np.asarray(cv2.GaussianBlur(raw, (0, 0), SMOOTHING_PX), dtype=np.float32)
            self._levels[scale] = Level(scale, smooth)
        return self._levels[scale]

    def scale_for(self, spacing_px: Float64) -> NDArray[np.int64]:
        """The coarsest scale at which corners `spacing_px` apart in the picture are still well separated, (n,)."""
        exponent = np.floor(np.log2(np.maximum(spacing_px, 1.0) / SEPARATION_PX))
        return np.asarray(2 ** np.clip(exponent, 0, len(self.scales()) - 1), dtype=np.int64)

    def level_for(self, spacing_px: float) -> Level:
        """The level of :meth:`scale_for`."""
        return self.level(int(self.scale_for(np.array([spacing_px]))[0]))

    def _reduced(self, scale: int) -> Gray:
        if scale not in self._raw:
            finer = self._reduced(scale // 2)
            height, width = (side // 2 for side in finer.shape)
            even = finer[: 2 * height, : 2 * width]
            reduced = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
            self._raw[scale] = np.asarray(reduced, dtype=np.uint8)
        return self._raw[scale]


def saddle_response(smooth: Float32) -> Float32:
    """Minus the determinant of the Hessian: positive where the grey values form a saddle, (h, w)."""
    xx = cv2.Sobel(smooth, cv2.CV_32F, 2, 0, ksize=3, scale=0.25)
    yy = cv2.Sobel(smooth, cv2.CV_32F, 0, 2, ksize=3, scale=0.25)
    xy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1, ksize=3, scale=0.25)
    cv2.multiply(xx, yy, dst=xx)
    cv2.multiply(xy, xy, dst=xy)
    return np.asarray(cv2.subtract(xy, xx, dst=xy), dtype=np.float32)
