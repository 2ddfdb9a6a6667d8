"""From light to a picture file: defocus, vignetting, exposure, sensor noise, tone curve, eight bits, JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rendering.lens import Floats

Picture = NDArray[np.uint8]
"""RGB, (H, W, 3)."""


@dataclass(frozen=True)
class Sensor:
    """What happens to the light of one picture between the lens and the file."""

    defocus_px: float
    """Standard deviation of the Gaussian blur, pixels, applied to linear light."""
    exposure: float = 1.0
    """Factor from scene radiance to sensor signal; signal 1 saturates."""
    vignetting: float = 0.25
    """Loss of light in the farthest picture corner."""
    full_well: float = 12000.0
    """Electrons at saturation: sets the shot noise."""
    read_noise: float = 8.0
    """Electrons of noise in the dark."""


def expose(radiance: Floats, sensor: Sensor, rng: np.random.Generator) -> Picture:
    """The picture that `sensor` takes of linear light (H, W, 3).

    Blur and vignetting act on light, noise on electrons, the sRGB tone curve (IEC 61966-2-1) comes last. None of them
    moves a checkerboard corner: its neighbourhood is symmetric under half a turn and each step keeps it so.
    """
    height, width = radiance.shape[:2]
    light = radiance * sensor.exposure
    if sensor.defocus_px > 0.0:
        blurred = cv2.GaussianBlur(light, (0, 0), sensor.defocus_px, borderType=cv2.BORDER_REPLICATE)
        light = np.asarray(blurred, np.float64)
    y, x = np.mgrid[0:height, 0:width]
    x0, y0 = (width - 1) / 2.0, (height - 1) / 2.0
    falloff = 1.0 - sensor.vignetting * ((x - x0) ** 2 + (y - y0) ** 2) / (x0 * x0 + y0 * y0)
    signal = light * falloff[..., None]
    electrons = signal * sensor.full_well
    noise = np.sqrt(np.maximum(electrons, 0.0) + sensor.read_noise**2) * rng.standard_normal(signal.shape)
    return quantise((electrons + noise) / sensor.full_well)


def quantise(signal: Floats) -> Picture:
    """Linear signal in [0, 1] through the sRGB tone curve to eight bits."""
    clipped = np.clip(signal, 0.0, 1.0)
    curve = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1.0 / 2.4) - 0.055)
    picture: Picture = np.rint(255.0 * curve).astype(np.uint8)
    return picture


def linear(srgb: ArrayLike) -> Floats:
    """Linear light in [0, 1] of eight-bit sRGB values."""
    value = np.asarray(srgb, np.float64) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def save_jpeg(path: Path, picture: Picture, quality: int = 92) -> None:
    """Write an RGB picture as JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]):
        raise OSError(f"cannot write {path}")
