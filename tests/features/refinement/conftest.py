"""Pictures whose every pixel is known: textures that are formulas, seen through any affinity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Texture:
    """A sum of waves, 0.5 on average: known everywhere, and so is what a pixel of any size sees of it."""

    def __init__(self, seed: int = 0, wavelength: float = 12.0, count: int = 60, contrast: float = 0.15) -> None:
        rng = np.random.default_rng(seed)
        angle, length = rng.uniform(0.0, 2.0 * np.pi, count), rng.uniform(0.6, 2.5, count) * wavelength
        self.waves = 2.0 * np.pi * np.stack([np.cos(angle), np.sin(angle)], axis=1) / length[:, None]
        self.phases = rng.uniform(0.0, 2.0 * np.pi, count)
        self.amplitudes = np.full(count, contrast * np.sqrt(2.0 / count))

    def __add__(self, other: Texture) -> Texture:
        """Both at once."""
        both = Texture(count=1)
        both.waves = np.concatenate([self.waves, other.waves])
        both.phases = np.concatenate([self.phases, other.phases])
        both.amplitudes = np.concatenate([self.amplitudes, other.amplitudes])
        return both

    def view(
        self, size: tuple[int, int], affinity: Floats, origin: Floats, *, has_area: bool = False
    ) -> NDArray[np.float32]:
        """A picture (H, W) in which place p of the texture is at pixel affinity · p + origin.

        A pixel that has an area sees the mean over it, another one the value at its centre.
        """
        waves = self.waves @ np.linalg.inv(affinity)
        phases = self.phases - waves @ origin
        seen = np.sinc(waves / (2.0 * np.pi)).prod(axis=1) if has_area else 1.0
        across = np.exp(1j * waves[:, :1] * np.arange(size[0]))
        down = np.exp(1j * (waves[:, 1:] * np.arange(size[1]) + phases[:, None]))
        return (0.5 + ((self.amplitudes * seen)[:, None] * down).T @ across).real.astype(np.float32)


@pytest.fixture(scope="session")
def texture() -> Texture:
    return Texture()


@pytest.fixture(scope="session")
def make_texture() -> Callable[..., Texture]:
    return Texture
