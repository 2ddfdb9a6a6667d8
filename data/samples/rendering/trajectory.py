"""A hand-held camera path: cubic B-splines through the room, and the tremor of a hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rendering.lens import Floats
from rendering.poses import rigid, rotation

_EYES = np.array(
    [
        [-1.24, -0.98, 1.30],
        [-1.10, -1.08, 1.33],
        [-0.80, -1.20, 1.44],
        [-0.40, -1.26, 1.37],
        [0.04, -1.24, 1.26],
        [0.44, -1.22, 1.38],
        [0.82, -1.10, 1.49],
        [1.08, -0.88, 1.43],
        [1.24, -0.62, 1.36],
    ]
)
"""Control points of the camera centre, world frame, metres."""
_AIMS = np.array(
    [
        [0.15, 0.05, 0.86],
        [0.10, 0.05, 0.88],
        [0.05, 0.00, 0.84],
        [0.00, 0.02, 0.80],
        [0.04, 0.05, 0.84],
        [0.05, 0.05, 0.90],
        [0.00, 0.02, 0.86],
        [-0.05, 0.00, 0.82],
        [-0.05, 0.02, 0.84],
    ]
)
"""Control points of the place looked at, world frame, metres."""


@dataclass(frozen=True)
class HandHeld:
    """The path of a camera carried around the table."""

    duration: float
    """Seconds from the first control span to the last."""
    seed: int

    def world_from_cam(self, time: float) -> Floats:
        """Pose (4, 4) at a time in seconds; camera axes x right, y down, z forward."""
        phase = min(max(time / self.duration, 0.0), 1.0)
        tremor = self._tremor(time)
        eye = _spline(_EYES, phase) + 0.0025 * tremor[:3]
        forward = _spline(_AIMS, phase) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        level = np.stack([right, np.cross(forward, right), forward], axis=1)
        shake = rotation("x", 0.30 * tremor[3]) @ rotation("y", 0.30 * tremor[4])
        roll = rotation("z", 2.5 * math.sin(1.9 * time + 0.4) + 0.25 * tremor[5])
        return rigid(level @ shake @ roll, eye)

    def _tremor(self, time: float) -> Floats:
        """Six smooth random signals of about unit size, 1 to 6 Hz, weaker the faster."""
        rng = np.random.default_rng(self.seed)
        frequency = np.linspace(1.0, 6.0, 7)
        phases = rng.uniform(0.0, 2.0 * math.pi, (6, 7))
        amplitudes = rng.uniform(0.5, 1.0, (6, 7)) / frequency
        signal: Floats = (amplitudes * np.sin(2.0 * math.pi * frequency * time + phases)).sum(axis=1)
        return signal


def _spline(control: Floats, phase: float) -> Floats:
    """A uniform cubic B-spline over `control` (n, 3) at `phase` in [0, 1]."""
    spans = len(control) - 3
    position = min(phase * spans, spans - 1e-9)
    span = int(position)
    t = position - span
    weights = np.array([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6.0
    point: Floats = weights @ control[span : span + 4]
    return point


def quaternion_xyzw(matrix: Floats) -> Floats:
    """Unit quaternion (x, y, z, w), w >= 0, of a rotation matrix, by its largest component (Shepperd, 1978)."""
    m = matrix
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    squares = np.array([1 - trace + 2 * m[0, 0], 1 - trace + 2 * m[1, 1], 1 - trace + 2 * m[2, 2], 1 + trace])
    x, y, z, w = (
        [squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
        [m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
        [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
    )
    row = np.array([x, y, z, w][int(squares.argmax())])
    unit: Floats = row / np.linalg.norm(row)
    return unit if unit[3] >= 0.0 else -unit
