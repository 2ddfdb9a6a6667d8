"""Drawn scenes, and views of them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def scene(seed: int = 0, side: int = 900) -> Pixels:
    rng = np.random.default_rng(seed)
    image = np.full((side, side), 128, np.uint8)
    for _ in range(900):
        corner = rng.integers(0, side, 2)
        cv2.rectangle(image, corner.tolist(), (corner + rng.integers(6, 60, 2)).tolist(), int(rng.integers(256)), -1)
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def view(image: Pixels, x: float, y: float, turn_deg: float = 0.0, zoom: float = 1.0) -> Pixels:
    """320 x 240 pixels about a place of the scene."""
    turn = cv2.getRotationMatrix2D((x, y), turn_deg, zoom)
    turn[:, 2] += (160.0 - x, 120.0 - y)
    return np.asarray(cv2.warpAffine(image, turn, (320, 240)), np.uint8)
