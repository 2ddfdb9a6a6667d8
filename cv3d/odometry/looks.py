"""What a picture by itself says of how well it can be tracked."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_DARK, _BRIGHT = 8.0, 247.0
_JUMP = 1.6


@dataclass(frozen=True)
class Look:
    """A few numbers of a picture."""

    mean: float
    """Mean grey value."""
    detail: float
    """Mean absolute Laplacian of the picture at a quarter of its size over its contrast: less when blurred."""

    @property
    def is_void(self) -> bool:
        """Whether it is as good as black or white."""
        return self.mean < _DARK or self.mean > _BRIGHT

    def jumped_from(self, before: Look | None) -> bool:
        """Whether the brightness is another than just before."""
        if before is None:
            return False
        ratio = (self.mean + 2.0) / (before.mean + 2.0)
        return ratio > _JUMP or ratio < 1.0 / _JUMP


def look_at(levels: tuple[NDArray[np.uint8], ...]) -> Look:
    """The numbers of a picture, from its pyramid."""
    small = levels[min(1, len(levels) - 1)]
    detail = cv2.Laplacian(small, cv2.CV_16S, ksize=1)
    contrast = float(small.std()) + 1.0
    return Look(float(small.mean()), float(cv2.norm(detail, cv2.NORM_L1)) / detail.size / contrast)
