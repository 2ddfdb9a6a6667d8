"""How well a frame is exposed beside the frames around it."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

_DARK, _BRIGHT = 4, 251
"""Grey levels up to which, and from which on, nothing can be told apart."""
_NEIGHBOURS = 31
"""Frames that a frame is compared with."""
_JUMP = 0.25
"""Change of the brightness against the neighbours', natural logarithm, at which the exposure counts for e^-0.5."""
_LEAST_LEVEL = 1.0


class ExposureGauge:
    """Judges one frame after the other against those just before it: a dark clip is not dark by its own measure."""

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=_NEIGHBOURS)
        self._clipped: deque[float] = deque(maxlen=_NEIGHBOURS)

    def judge(self, small: NDArray[np.uint8]) -> float:
        """Between 0 and 1: how much of the picture can be used as well as its neighbours'.

        Args:
            small: the frame, reduced, (h, w).
        """
        level = float(np.log(max(float(small.mean()), _LEAST_LEVEL)))
        clipped = float(((small <= _DARK) | (small >= _BRIGHT)).mean())
        self._levels.append(level)
        self._clipped.append(clipped)
        jump = (level - float(np.median(self._levels))) / _JUMP
        more_clipped = max(0.0, clipped - float(np.median(self._clipped)))
        return float(np.exp(-0.5 * jump * jump)) * (1.0 - more_clipped)
