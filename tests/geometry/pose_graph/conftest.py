"""Pose graphs made for the tests."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cv3d.geometry.pose_graph import PoseGraph
from cv3d.geometry.transforms import SE3, SO3, Sim3


def tangents(count: int, dim: int, seed: int, size: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(count, dim, generator=generator, dtype=torch.float64)


def ring(count: int, kind: type[SE3] | type[Sim3] = SE3, seed: int = 0) -> SE3 | Sim3:
    """Poses along a bumpy circle that looks ahead; scales wander where there are any."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    position = 10.0 * np.stack([np.cos(angle), np.sin(angle), 0.2 * np.sin(3 * angle)], axis=1)
    turn = Rotation.from_rotvec(angle[:, None] * [0.0, 0.0, 1.0]) * Rotation.from_rotvec(
        0.2 * rng.normal(size=(count, 3))
    )
    rotation = SO3.from_matrix(torch.from_numpy(turn.as_matrix()))
    poses = SE3.from_rotation_and_translation(rotation, torch.from_numpy(position))
    if kind is SE3:
        return poses
    scale = torch.from_numpy(np.exp(0.3 * np.sin(2 * angle)))
    return Sim3.from_rotation_translation_and_scale(rotation, poses.translation(), scale)


def links_of(count: int, loops: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A chain, and loops between frames picked at random."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, count - 5, loops)
    b = a + rng.integers(2, count - a - 1)
    return np.concatenate([np.arange(count - 1), a]), np.concatenate([np.arange(1, count), b])


def measured(
    truth: SE3 | Sim3,
    first: np.ndarray,
    second: np.ndarray,
    sigma: np.ndarray,
    seed: int | None = None,
    start: SE3 | Sim3 | None = None,
) -> PoseGraph:
    """The graph of motions measured between frames, with noise of given deviations (d,) unless `seed` is None."""
    exact = truth[torch.from_numpy(first)].inverse() @ truth[torch.from_numpy(second)]
    dim = truth.tangent_dim
    if seed is not None:
        noise = tangents(len(first), dim, seed) * torch.from_numpy(sigma)
        parts = [SO3.exp(noise[:, 3:6]).wxyz, noise[:, :3]]
        if isinstance(truth, Sim3):
            parts.append(torch.exp(noise[:, 6:]))
        exact = exact @ type(truth)(torch.cat(parts, dim=-1)).inverse()
    information = torch.diag(torch.from_numpy(sigma) ** -2).expand(len(first), dim, dim).clone()
    return PoseGraph(truth if start is None else start, first, second, exact, information)


@pytest.fixture
def make() -> SimpleNamespace:
    """The functions above."""
    return SimpleNamespace(tangents=tangents, ring=ring, links_of=links_of, measured=measured)
