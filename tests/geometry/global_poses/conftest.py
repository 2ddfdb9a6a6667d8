"""Cameras made for the tests, and what they see."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cv3d.geometry.two_view import estimate_two_view

SIZE = np.array([1600.0, 1200.0])
CENTRE = (SIZE - 1.0) / 2.0


@dataclass(frozen=True, eq=False)
class Scene:
    """Cameras around points."""

    rotations: np.ndarray
    """cam_from_world, (n, 3, 3)."""
    centres: np.ndarray
    """(n, 3)."""
    points: np.ndarray
    """(p, 3)."""

    def rays(self) -> np.ndarray:
        """Points in the cameras' frames, unit, (n, p, 3)."""
        local = np.einsum("nij,npj->npi", self.rotations, self.points - self.centres[:, None])
        return local / np.linalg.norm(local, axis=2, keepdims=True)

    def pixels(self, focal: np.ndarray | float, noise: float, seed: int) -> np.ndarray:
        """Where pictures of 1600 x 1200 show the points, (n, p, 2); NaN where they do not."""
        rays = self.rays()
        focal = np.broadcast_to(focal, len(rays))[:, None, None]
        ahead = rays[..., 2:] > 0.1
        seen = focal * rays[..., :2] / np.where(ahead, rays[..., 2:], np.nan) + CENTRE
        seen = np.where(((seen >= 0.0) & (seen <= SIZE - 1.0)).all(axis=2, keepdims=True), seen, np.nan)
        return seen + noise * np.random.default_rng(seed).normal(size=seen.shape)


def look_at(centres: np.ndarray, targets: np.ndarray, roll: np.ndarray | float = 0.0) -> np.ndarray:
    """cam_from_world, (n, 3, 3), of cameras that look at points, y down, turned about their axes."""
    ahead = targets - centres
    ahead = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    right = np.cross([0.0, 1.0, 0.0], ahead)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    upright = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    turn = Rotation.from_rotvec(np.broadcast_to(roll, len(centres))[:, None] * [0.0, 0.0, 1.0])
    return turn.as_matrix() @ upright


def around(count: int, seed: int = 0, arc: float = np.pi, wander: float = 0.8) -> Scene:
    """Cameras on an arc around a room of points; they look near its middle."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0.0, arc, count, endpoint=arc < 6.0)
    height = wander * rng.normal(size=count)
    centres = np.stack([9.0 * np.sin(angle), height, -9.0 * np.cos(angle)], axis=1)
    targets = wander * rng.normal(size=(count, 3))
    points = rng.uniform(-1.0, 1.0, (300, 3)) * [3.0, 2.0, 3.0]
    return Scene(look_at(centres, targets, 0.3 * wander * rng.normal(size=count)), centres, points)


def ahead(count: int, seed: int = 0) -> Scene:
    """A camera that moves along its optical axis."""
    rng = np.random.default_rng(seed)
    centres = np.stack([np.zeros(count), np.zeros(count), -12.0 + 0.4 * np.arange(count)], axis=1)
    points = rng.uniform(-1.0, 1.0, (300, 3)) * [3.0, 2.0, 3.0]
    return Scene(np.tile(np.eye(3), (count, 1, 1)), centres, points)


def fundamentals(seen: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges, matrices and numbers of matches of all pairs with enough of them, as the two-view estimate gives them."""
    edges, matrices, weights = [], [], []
    for i in range(len(seen)):
        for j in range(i + 1, len(seen)):
            both = np.isfinite(seen[i]).all(axis=1) & np.isfinite(seen[j]).all(axis=1)
            if both.sum() >= 30:
                found = estimate_two_view(seen[i][both], seen[j][both])
                if found.model == "F" and found.matrix is not None:
                    edges.append((i, j))
                    matrices.append(found.matrix)
                    weights.append(float(found.inlier_count))
    return np.array(edges).reshape(-1, 2), np.array(matrices).reshape(-1, 3, 3), np.array(weights)


@pytest.fixture
def make() -> SimpleNamespace:
    """The functions above."""
    return SimpleNamespace(
        Scene=Scene, look_at=look_at, around=around, ahead=ahead, fundamentals=fundamentals, size=SIZE, centre=CENTRE
    )
