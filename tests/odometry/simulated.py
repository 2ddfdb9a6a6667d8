"""What the tests of odometry simulate: cameras of several lenses, points before them, and textures without pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera

Floats = NDArray[np.float64]

SIZE = (640, 480)
CAMERAS = {
    "pinhole": Camera("pinhole", *SIZE, (500.0, 510.0, 322.0, 238.0)),
    "brown5": Camera("brown5", *SIZE, (500.0, 510.0, 322.0, 238.0, -0.18, 0.04, 0.001, -0.0008, 0.0)),
    "kannala_brandt4": Camera("kannala_brandt4", *SIZE, (230.0, 231.0, 322.0, 238.0, -0.01, 0.006, -0.003, 0.0005)),
    "eucm": Camera("eucm", *SIZE, (260.0, 262.0, 322.0, 238.0, 0.55, 1.1)),
}


@dataclass(frozen=True, eq=False)
class Texture:
    """A sum of plane waves: a picture that is known between its pixels, and under any warp."""

    waves: Floats
    """(k, 2) radians per pixel."""
    phases: Floats
    """(k,)"""

    @staticmethod
    def random(seed: int, count: int = 60, shortest: float = 5.0, longest: float = 60.0) -> Texture:
        rng = np.random.default_rng(seed)
        lengths = np.exp(rng.uniform(np.log(shortest), np.log(longest), count))
        angles = rng.uniform(0.0, 2.0 * np.pi, count)
        waves = (2.0 * np.pi / lengths)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        return Texture(waves, rng.uniform(0.0, 2.0 * np.pi, count))

    def at(self, places: Floats) -> Floats:
        """Grey values (…) of places (…, 2), mean 128 and deviation 35."""
        flat = places.reshape(-1, 2)
        value = np.cos(flat @ self.waves.T + self.phases).sum(1) * (35.0 * np.sqrt(2.0 / len(self.phases)))
        return 128.0 + value.reshape(places.shape[:-1])

    def picture(self, size: tuple[int, int], matrix: Floats | None = None, shift: Floats | None = None) -> Floats:
        """(H, W) grey values: pixel p shows the texture at matrix · p + shift."""
        grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), -1).astype(np.float64)
        places = grid if matrix is None else grid @ matrix.T
        return self.at(places if shift is None else places + shift)


def rounded(picture: Floats) -> NDArray[np.uint8]:
    """As a camera gives it."""
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def rotation(vector: Floats | tuple[float, float, float]) -> Floats:
    """(3, 3) by Rodrigues' formula, of an axis times an angle."""
    x, y, z = vector
    angle = np.linalg.norm(vector)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-12:
        return np.eye(3) + cross
    return np.eye(3) + np.sin(angle) / angle * cross + (1.0 - np.cos(angle)) / angle**2 * cross @ cross


def rigid(turn: tuple[float, float, float], move: tuple[float, float, float]) -> Floats:
    """(4, 4) of a rotation vector and a translation."""
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotation(turn), move
    return result


def angle_between(first: Floats, second: Floats) -> float:
    """Of two rotations, radians."""
    turn = first[:3, :3].T @ second[:3, :3]
    sine = 0.5 * np.linalg.norm([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    return float(np.arctan2(sine, 0.5 * (np.trace(turn) - 1.0)))


def points_in_view(
    camera: Camera, count: int, seed: int, nearest: float = 2.0, farthest: float = 8.0, margin: float = 20.0
) -> tuple[Floats, Floats]:
    """Points (n, 3) in the camera's frame, and their pixels (n, 2)."""
    rng = np.random.default_rng(seed)
    low, high = np.full(2, margin), np.array([camera.width, camera.height]) - 1.0 - margin
    pixels = rng.uniform(low, high, (count, 2))
    points = camera.unproject(pixels) * rng.uniform(nearest, farthest, (count, 1))
    return points, pixels
