"""A textured plane that a camera moves over, with the truth of every point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute, torch_threads
from cv3d.features.tracks import FrameTracks, GrayFrame, TrackBuilder, TrackCollector, TrackOptions, Tracks

CPU = Compute(torch.device("cpu"), torch.float32)
SIZE = (240, 180)
OPTIONS = TrackOptions(max_tracks=80, max_lost=80, max_keypoints=256)


@dataclass(frozen=True)
class Plane:
    """A random texture seen under a homography that changes from frame to frame."""

    texture: NDArray[np.uint8]
    size: tuple[int, int] = SIZE

    def pixels_from_texture(self, moment: float) -> NDArray[np.float64]:
        """(3, 3) of a moment, frames: a slow pan with a turn and a zoom."""
        angle, scale = 0.004 * moment, 1.0 + 0.004 * moment
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        return np.array([[cosine, -sine, -80.0 - 2.1 * moment], [sine, cosine, -60.0 - 0.9 * moment], [0.0, 0.0, 1.0]])

    def frame(self, moment: float, time: float | None = None) -> GrayFrame:
        """The picture of a moment."""
        warp = self.pixels_from_texture(moment)
        pixels = cv2.warpPerspective(self.texture, warp, self.size, flags=cv2.INTER_CUBIC)
        noise = np.random.default_rng(int(1000 * moment)).normal(0.0, 1.5, pixels.shape)
        return GrayFrame(moment / 30.0 if time is None else time, (pixels + noise).clip(0, 255).astype(np.uint8))

    def carried(self, pixels: NDArray[np.float32], start: float, stop: float) -> NDArray[np.float64]:
        """Where pixels (n, 2) of one moment are at another."""
        warp = self.pixels_from_texture(stop) @ np.linalg.inv(self.pixels_from_texture(start))
        moved = np.concatenate([pixels, np.ones((len(pixels), 1))], 1) @ warp.T
        return np.asarray(moved[:, :2] / moved[:, 2:], np.float64)


@pytest.fixture(scope="session")
def plane() -> Plane:
    rng = np.random.default_rng(3)
    texture = sum(
        cv2.resize(
            rng.uniform(-1.0, 1.0, (700 // s, 900 // s)).astype(np.float32), (900, 700), interpolation=cv2.INTER_CUBIC
        )
        * s**0.4
        for s in (4, 9, 22, 60)
    )
    return Plane(cv2.normalize(texture, None, 10.0, 245.0, cv2.NORM_MINMAX).astype(np.uint8))


Run = Callable[..., tuple[Tracks, list[FrameTracks]]]


@pytest.fixture(scope="session")
def build() -> Run:
    """Runs frames through a builder of their own."""

    def run(frames: list[GrayFrame], options: TrackOptions = OPTIONS) -> tuple[Tracks, list[FrameTracks]]:
        builder, collector = TrackBuilder(CPU, options), TrackCollector()
        # The order of sums, and with it the last bits of positions, depends on the number of threads.
        with torch_threads(1):
            added = [builder.add(frame) for frame in frames]
        for one in added:
            collector.add(one)
        return collector.tracks(), added

    return run
