"""Pose of a plane from rays."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cv3d.geometry.planar import mirrored_plane_pose, plane_pose_from_rays
from cv3d.geometry.transforms import SO3


def board(rows: int = 5, cols: int = 7, square: float = 0.03) -> Tensor:
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), torch.zeros(rows * cols)], dim=-1).double() * square


def rays_of(points: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    seen = points @ rotation.transpose(-1, -2) + translation[..., None, :]
    return seen / torch.linalg.vector_norm(seen, dim=-1, keepdim=True)


def random_poses(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Boards at 10 to 100 cm in any direction up to 120 degrees off the axis, their front to the camera."""
    rng = np.random.default_rng(seed)
    tilts = torch.from_numpy(rng.uniform(-0.7, 0.7, (count, 3)))
    off_axis, around = np.radians(rng.uniform(0, 120, count)), rng.uniform(0, 2 * math.pi, count)
    axis = torch.from_numpy(np.stack([-np.sin(around), np.cos(around), 0 * around], -1) * off_axis[:, None])
    look = SO3.exp(axis).as_matrix()
    distance = torch.from_numpy(rng.uniform(0.25, 1.0, count))[:, None]
    return look @ SO3.exp(tilts).as_matrix(), look[..., 2] * distance


def test_exact_poses_in_every_direction_even_behind_the_image_plane() -> None:
    points = board() - board().mean(dim=0)
    rotation, translation = random_poses(60)
    rays = rays_of(points, rotation, translation)
    assert float(rays[..., 2].min()) < -0.4
    weights = torch.ones(rays.shape[:-1], dtype=torch.float64)
    found, place = plane_pose_from_rays(rays, points[:, :2].expand(60, -1, -1), weights)
    torch.testing.assert_close(found, rotation, rtol=0.0, atol=1e-8)
    torch.testing.assert_close(place, translation, rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_any_unit_and_any_origin_of_the_board(scale: float) -> None:
    points = (board() + torch.tensor([0.4, -0.2, 0.0], dtype=torch.float64)) * scale
    rotation = SO3.exp(torch.tensor([0.3, -0.4, 0.2], dtype=torch.float64)).as_matrix()
    translation = torch.tensor([-0.3, 0.2, 0.5], dtype=torch.float64) * scale
    rays = rays_of(points, rotation, translation)
    found, place = plane_pose_from_rays(rays, points[:, :2], torch.ones(len(points), dtype=torch.float64))
    torch.testing.assert_close(found, rotation, rtol=0.0, atol=1e-8)
    torch.testing.assert_close(place, translation, rtol=1e-7, atol=0.0)


def test_four_points_are_enough() -> None:
    points = board()[[0, 6, 28, 34]]
    rotation = SO3.exp(torch.tensor([0.5, 0.1, -0.3], dtype=torch.float64)).as_matrix()
    translation = torch.tensor([0.1, -0.05, 0.4], dtype=torch.float64)
    rays = rays_of(points, rotation, translation)
    found, place = plane_pose_from_rays(rays, points[:, :2], torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(found, rotation, rtol=0.0, atol=1e-7)
    torch.testing.assert_close(place, translation, rtol=0.0, atol=1e-7)


def test_noise_never_leaves_the_rotations() -> None:
    points = board()
    rotation, translation = random_poses(40, seed=1)
    rays = rays_of(points, rotation, translation)
    noise = torch.randn(rays.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noisy = rays + 0.02 * noise
    noisy = noisy / torch.linalg.vector_norm(noisy, dim=-1, keepdim=True)
    found, place = plane_pose_from_rays(
        noisy, points[:, :2].expand(40, -1, -1), torch.ones(rays.shape[:-1], dtype=torch.float64)
    )
    identity = torch.eye(3, dtype=torch.float64).expand(40, 3, 3)
    torch.testing.assert_close(found @ found.transpose(-1, -2), identity, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(40, dtype=torch.float64), rtol=0.0, atol=1e-12)
    # In front along the rays: the board's middle is on the side from which it was seen.
    middle = (found @ points.mean(dim=0)) + place
    assert bool(((middle * rays.mean(dim=1)).sum(dim=-1) > 0).all())


def test_points_of_weight_zero_have_no_influence() -> None:
    points = board()
    rotation, translation = random_poses(3, seed=2)
    rays = rays_of(points, rotation, translation)
    noise = torch.randn(rays.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rays = rays + 1e-3 * noise
    rays = rays / torch.linalg.vector_norm(rays, dim=-1, keepdim=True)
    plane = points[:, :2].expand(3, -1, -1)
    ones = torch.ones(rays.shape[:-1], dtype=torch.float64)
    alone = plane_pose_from_rays(rays, plane, ones)
    junk_rays = torch.nn.functional.normalize(noise[:, :6], dim=-1)
    padded = plane_pose_from_rays(
        torch.cat([rays, junk_rays], dim=1),
        torch.cat([plane, 5.0 * noise[:, :6, :2]], dim=1),
        torch.cat([ones, torch.zeros(3, 6, dtype=torch.float64)], dim=1),
    )
    torch.testing.assert_close(padded[0], alone[0], rtol=0.0, atol=1e-9)
    torch.testing.assert_close(padded[1], alone[1], rtol=0.0, atol=1e-9)


def test_nothing_seen_gives_no_nan() -> None:
    rays = torch.zeros(2, 5, 3, dtype=torch.float64)
    rays[..., 2] = 1.0
    found, place = plane_pose_from_rays(
        rays, torch.zeros(2, 5, 2, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.float64)
    )
    assert bool(torch.isfinite(found).all())
    assert bool(torch.isfinite(place).all())


def test_the_mirrored_pose_of_a_distant_plane_looks_the_same() -> None:
    points = board()
    centre = points.mean(dim=0)
    rotation = SO3.exp(torch.tensor([0.5, 0.3, 0.1], dtype=torch.float64)).as_matrix()
    differences = []
    for distance in (1.0, 10.0, 100.0):
        middle = torch.tensor([0.2, -0.1, 1.0], dtype=torch.float64) * distance
        translation = middle - rotation @ centre
        other, place = mirrored_plane_pose(rotation, translation, centre)
        torch.testing.assert_close(other @ centre + place, middle, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(other @ other.T, torch.eye(3, dtype=torch.float64), rtol=0.0, atol=1e-12)
        # The other normal is on the other side of the viewing direction, at the same angle.
        view = middle / torch.linalg.vector_norm(middle)
        assert float(other[:, 2] @ view) == pytest.approx(float(rotation[:, 2] @ view))
        assert float(other[:, 2] @ rotation[:, 2]) < 0.9
        size = (rays_of(points, rotation, translation) - rays_of(points, other, place)).abs().max()
        differences.append(float(size) * distance)
    # The image shrinks with the distance; the two poses' difference shrinks one order faster.
    assert differences[1] < 0.2 * differences[0]
    assert differences[2] < 0.2 * differences[1]


def test_mirroring_twice_comes_back() -> None:
    centre = board().mean(dim=0)
    rotation, translation = random_poses(20, seed=3)
    once = mirrored_plane_pose(rotation, translation, centre)
    again = mirrored_plane_pose(*once, centre)
    torch.testing.assert_close(again[0], rotation, rtol=0.0, atol=1e-9)
    torch.testing.assert_close(again[1], translation, rtol=0.0, atol=1e-9)


def test_a_plane_seen_head_on_is_its_own_mirror_image() -> None:
    rotation = torch.eye(3, dtype=torch.float64)
    translation = torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)
    other, place = mirrored_plane_pose(rotation, translation, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(other, rotation, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(place, translation, rtol=0.0, atol=1e-12)
