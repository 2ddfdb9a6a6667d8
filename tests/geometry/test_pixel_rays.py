"""Bases of tangent planes and cross products, whatever axes lead."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.pixel_rays import cross_matrix, pixel_rays, pixels_per_radian, tangent_basis

SHAPES = ((3,), (50, 3), (4, 5, 3), (0, 3))


BENT = Camera("brown5", 640, 480, (500.0, 510.0, 320.0, 240.0, -0.4, 0.0, 1e-3, -2e-3, 0.0))


def test_rays_beyond_the_domain_of_a_lens_and_of_no_pixel_are_invalid() -> None:
    pixels = np.array([[320.0, 240.0], [500.0, 100.0], [9e4, 9e4], [np.nan, 3.0]])
    rays = pixel_rays(BENT, pixels)
    np.testing.assert_array_equal(rays.valid, [True, True, False, False])
    back = BENT.project(rays.rays[:2])
    np.testing.assert_allclose(back, pixels[:2], atol=1e-9)


def test_pixels_per_radian_are_the_focal_length_of_the_camera_that_is_asked_about() -> None:
    assert pixels_per_radian(Camera("pinhole", 640, 480, (500.0, 500.0, 320.0, 240.0))) == pytest.approx(500.0)
    assert pixels_per_radian(Camera("pinhole", 640, 480, (700.0, 700.0, 320.0, 240.0))) == pytest.approx(700.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_tangent_basis_is_orthonormal_and_right_handed_about_its_direction(shape: tuple[int, ...]) -> None:
    directions = 7.0 * np.random.default_rng(0).normal(size=shape)
    basis = tangent_basis(directions)
    assert basis.shape == (*shape, 2)
    unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    frame = np.concatenate([basis, unit[..., None]], axis=-1)
    np.testing.assert_allclose(np.swapaxes(frame, -1, -2) @ frame, np.broadcast_to(np.eye(3), frame.shape), atol=1e-15)
    np.testing.assert_allclose(np.linalg.det(frame), 1.0, atol=1e-14)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_tangent_basis_along_an_axis_is_finite(axis: int, sign: float) -> None:
    direction = sign * np.eye(3)[axis]
    basis = tangent_basis(direction)
    np.testing.assert_array_equal(np.cross(basis[:, 0], basis[:, 1]), direction)


def test_a_tangent_basis_does_not_depend_on_the_length() -> None:
    directions = np.random.default_rng(1).normal(size=(50, 3))
    np.testing.assert_allclose(tangent_basis(directions), tangent_basis(1e-6 * directions), atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cross_matrix_times_a_vector_is_the_cross_product(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=shape), rng.normal(size=shape)
    matrix = cross_matrix(first)
    np.testing.assert_array_equal(matrix, -np.swapaxes(matrix, -1, -2))
    np.testing.assert_allclose((matrix @ second[..., None])[..., 0], np.cross(first, second), atol=1e-15)
