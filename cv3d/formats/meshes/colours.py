"""Colours of pictures (sRGB, 8 bits) and the linear light that glTF and USD store."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def linear_from_srgb(colors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Linear light in [0, 1] of bytes in sRGB, any shape (IEC 61966-2-1)."""
    return _LINEAR[colors]


def srgb_from_linear(light: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Bytes in sRGB of linear light, any shape; what is outside [0, 1] is cut off."""
    clipped = np.clip(np.asarray(light, np.float64), 0.0, 1.0)
    encoded = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1.0 / 2.4) - 0.055)
    return np.round(255.0 * encoded).astype(np.uint8)


def _table() -> NDArray[np.float32]:
    share = np.arange(256) / 255.0
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _table()
