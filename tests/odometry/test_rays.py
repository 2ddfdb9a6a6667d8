"""Rays by table are those of the lens."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.odometry.rays import RayTable

from .simulated import CAMERAS

PIXELS = np.random.default_rng(0).uniform(0.0, [639.0, 479.0], (2000, 2))


@pytest.mark.parametrize("model", CAMERAS)
def test_the_table_errs_by_thousandths_of_a_pixel(model: str) -> None:
    camera = CAMERAS[model]
    rays = RayTable(camera).rays(PIXELS)
    known = np.isfinite(rays).all(1)
    assert known.mean() > 0.95
    assert np.allclose(np.linalg.norm(rays[known], axis=1), 1.0)
    error = np.linalg.norm(camera.project(rays[known]) - PIXELS[known], axis=1)
    assert np.quantile(error, 0.99) < 0.005
    assert error.max() < 0.02


@pytest.mark.parametrize("model", CAMERAS)
def test_tangents_move_pixels_as_the_lens_does(model: str) -> None:
    camera = CAMERAS[model]
    rays, moves = RayTable(camera).tangents(PIXELS)
    known = np.flatnonzero(np.isfinite(moves).all((1, 2)))[:300]
    assert len(known) == 300
    assert np.array_equal(rays, RayTable(camera).rays(PIXELS), equal_nan=True)
    rays, moves = rays[known], moves[known]
    # They leave the length of the ray alone.
    assert np.abs(np.einsum("nij,nj->ni", moves, rays)).max() < 1e-6 * np.abs(moves).max()
    for seed in range(3):
        change = np.random.default_rng(seed).normal(0.0, 1e-4, rays.shape)
        change -= (change * rays).sum(1, keepdims=True) * rays
        moved = camera.project(rays + change) - camera.project(rays - change)
        predicted = 2.0 * np.einsum("nij,nj->ni", moves, change)
        assert np.abs(moved - predicted).max() < 0.02 * np.abs(moved).max()


def test_beyond_the_picture_there_is_no_ray() -> None:
    table = RayTable(CAMERAS["pinhole"])
    outside = np.array([[-5.0, 10.0], [10.0, -5.0], [700.0, 10.0], [10.0, 500.0], [np.nan, 10.0], [np.inf, -np.inf]])
    assert np.isnan(table.rays(outside)).all()
    rays, moves = table.tangents(outside)
    assert np.isnan(rays).all()
    assert np.isnan(moves).all()
    corners = np.array([[0.0, 0.0], [639.0, 0.0], [0.0, 479.0], [639.0, 479.0]])
    assert np.isfinite(table.tangents(corners)[1]).all()
    assert table.rays(np.zeros((0, 2))).shape == (0, 3)


def test_a_radian_has_the_pixels_of_the_middle() -> None:
    assert RayTable(CAMERAS["pinhole"]).pixels_per_radian == pytest.approx(505.0, rel=0.02)
