"""Rendered stereo pairs of the sample room with exact disparities of both sides, for the stereo benchmark."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "samples"))

from rendering.lens import Brown
from rendering.photo import Sensor, expose
from rendering.room import Room
from rendering.trajectory import HandHeld

_ROOM_SEED = 20240
_BASELINE_M = 0.10
_DURATION = 3.6


@dataclass(frozen=True)
class TruePair:
    """A rectified pair and its truth."""

    left: np.ndarray
    """(h, w, 3) RGB, uint8."""
    right: np.ndarray
    truth: np.ndarray
    """(h, w) disparities of the left picture, float32; 0: not known."""
    right_truth: np.ndarray
    """Those of the right one, positive too."""


def rendered_pair(time: float, size: tuple[int, int] = (480, 360), baseline_m: float = _BASELINE_M) -> TruePair:
    """The pair that a rig carried round the table takes; other exposure and noise in either picture."""
    width, height = size
    lens = Brown(width, height, 0.9 * width, 0.9 * width, (width - 1) / 2, (height - 1) / 2)
    room = Room(_ROOM_SEED)
    world_from_left = HandHeld(_DURATION, _ROOM_SEED).world_from_cam(time)
    world_from_right = world_from_left.copy()
    world_from_right[:3, 3] += world_from_left[:3, 0] * baseline_m
    pictures, truths = [], []
    for side, pose in enumerate((world_from_left, world_from_right)):
        light = np.zeros((height, width, 3))
        for x in (-1, 0, 1):
            for y in (-1, 0, 1):
                rays = _rays(lens, x / 3.0, y / 3.0)
                light += room.radiance(pose[:3, 3], pose[:3, :3] @ rays).T.reshape(height, width, 3) / 9.0
        noise = np.random.default_rng([_ROOM_SEED, side, int(1000 * time)])
        pictures.append(expose(light, Sensor(0.4, 1.15 + 0.06 * side, 0.1), noise))
        rays = _rays(lens, 0.0, 0.0)
        distance, _ = room.depth(pose[:3, 3], pose[:3, :3] @ rays)
        truths.append((lens.fx * baseline_m / (distance * rays[2])).reshape(height, width).astype(np.float32))
    return TruePair(*pictures, *truths)


def _rays(lens: Brown, dx: float, dy: float) -> np.ndarray:
    columns, rows = np.arange(lens.width) + dx, np.arange(lens.height) + dy
    return lens.rays(np.stack(np.meshgrid(columns, rows)).reshape(2, -1))
