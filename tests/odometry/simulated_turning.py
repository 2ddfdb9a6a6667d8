"""Pictures of a camera that turns in front of a wall."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
SIZE = (320, 240)


def wall() -> Picture:
    """A large picture with detail of many sizes."""
    rng = np.random.default_rng(3)
    total = np.zeros((1200, 1600))
    for blur in (2.0, 5.0, 12.0):
        noise = cv2.GaussianBlur(rng.normal(size=total.shape), (0, 0), blur)
        total += noise / noise.std()
    return np.clip(128.0 + 35.0 * total, 0, 255).astype(np.uint8)


def turned(focal: float, angles: list[tuple[float, float]]) -> list[Picture]:
    """Pictures of a camera in front of the wall that turns about its centre by (down, right) radians."""
    picture, wide = wall(), np.array([[500.0, 0.0, 799.5], [0.0, 500.0, 599.5], [0.0, 0.0, 1.0]])
    own = np.array([[focal, 0.0, 159.5], [0.0, focal, 119.5], [0.0, 0.0, 1.0]])
    pictures = []
    for down, right in angles:
        rotation = np.asarray(cv2.Rodrigues(np.array([down, right, 0.0]))[0])
        homography = own @ rotation @ np.linalg.inv(wide)
        pictures.append(np.asarray(cv2.warpPerspective(picture, homography, SIZE), np.uint8))
    return pictures
