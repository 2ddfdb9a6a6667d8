"""Camera models against OpenCV where it has them, and against the published formulas where it has not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.geometry.cameras import MODELS

FX, FY, CX, CY = 411.0, 407.5, 322.3, 238.9
MATRIX = np.array([[FX, 0, CX], [0, FY, CY], [0, 0, 1.0]])


def points_ahead(count: int = 400) -> NDArray[np.float64]:
    generator = np.random.default_rng(3)
    z = generator.uniform(0.5, 4.0, count)
    return np.stack([generator.uniform(-0.9, 0.9, count) * z, generator.uniform(-0.7, 0.7, count) * z, z], -1)


def ours(name: str, shape: list[float], points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    params = torch.tensor([FX, FY, CX, CY, *shape], dtype=torch.float64)
    pixels, _, by_params = MODELS[name].project_with_jacobians(params, torch.from_numpy(points))
    return pixels.numpy(), by_params.numpy()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pinhole", []),
        ("brown4", [-0.3, 0.11, 1.2e-3, -7e-4]),
        ("brown5", [-0.3, 0.11, 1.2e-3, -7e-4, -0.02]),
        ("brown8", [0.7, 0.2, 1.2e-3, -7e-4, 0.03, 1.1, 0.4, 0.05]),
        ("brown12", [0.7, 0.2, 1.2e-3, -7e-4, 0.03, 1.1, 0.4, 0.05, 2e-3, -3e-4, 1e-3, 4e-4]),
    ],
)
def test_brown_family_is_opencv(name: str, shape: list[float]) -> None:
    points = points_ahead()
    zero = np.zeros(3)
    expected, jacobian = cv2.projectPoints(points[None], zero, zero, MATRIX, np.array(shape) if shape else None)
    pixels, by_params = ours(name, shape, points)
    np.testing.assert_allclose(pixels, expected.reshape(-1, 2), atol=1e-9, rtol=0)
    jacobian = jacobian.reshape(len(points), 2, -1)[..., 6 : 10 + len(shape)]
    np.testing.assert_allclose(by_params, jacobian, atol=1e-8, rtol=1e-10)


def test_kannala_brandt_is_opencv_fisheye() -> None:
    shape = [-0.02, 0.015, -0.008, 0.0012]
    points = points_ahead()
    zero = np.zeros(3)
    expected, _ = cv2.fisheye.projectPoints(points[None], zero, zero, MATRIX, np.array(shape))
    pixels, _ = ours("kannala_brandt4", shape, points)
    np.testing.assert_allclose(pixels, expected.reshape(-1, 2), atol=1e-9, rtol=0)


def test_kannala_brandt_beyond_a_right_angle() -> None:
    k1, k2, k3, k4 = shape = [-0.02, 0.015, -0.008, 0.0012]
    theta = np.radians([89.0, 90.0, 91.0, 110.0])
    points = np.stack([np.sin(theta), np.zeros(4), np.cos(theta)], -1)
    pixels, _ = ours("kannala_brandt4", shape, points)
    expected = FX * (theta + k1 * theta**3 + k2 * theta**5 + k3 * theta**7 + k4 * theta**9) + CX
    np.testing.assert_allclose(pixels[:, 0], expected, atol=1e-9, rtol=0)


def wide_points() -> NDArray[np.float64]:
    points = points_ahead()
    points[::3, 2] *= -0.02
    return points


def spherical(points: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([FX * points[:, 0] / denominator + CX, FY * points[:, 1] / denominator + CY], -1)


def test_unified_and_extended_follow_usenko() -> None:
    points, alpha, beta = wide_points(), 0.61, 1.13
    x, y, z = points.T
    d = np.sqrt(x**2 + y**2 + z**2)
    pixels, _ = ours("ucm", [alpha], points)
    np.testing.assert_allclose(pixels, spherical(points, alpha * d + (1 - alpha) * z), atol=1e-9, rtol=0)
    d = np.sqrt(beta * (x**2 + y**2) + z**2)
    pixels, _ = ours("eucm", [alpha, beta], points)
    np.testing.assert_allclose(pixels, spherical(points, alpha * d + (1 - alpha) * z), atol=1e-9, rtol=0)


def test_double_sphere_follows_usenko() -> None:
    points, xi, alpha = wide_points(), -0.19, 0.59
    x, y, z = points.T
    d1 = np.sqrt(x**2 + y**2 + z**2)
    d2 = np.sqrt(x**2 + y**2 + (xi * d1 + z) ** 2)
    pixels, _ = ours("double_sphere", [xi, alpha], points)
    expected = spherical(points, alpha * d2 + (1 - alpha) * (xi * d1 + z))
    np.testing.assert_allclose(pixels, expected, atol=1e-9, rtol=0)


def test_omnidirectional_follows_mei() -> None:
    points, xi, (k1, k2, p1, p2) = wide_points(), 1.2, (-0.11, 0.02, 6e-4, -4e-4)
    sphere = points / np.linalg.norm(points, axis=1, keepdims=True)
    x, y = (sphere[:, :2] / (sphere[:, 2:] + xi)).T
    rho = x**2 + y**2
    radial = 1 + k1 * rho + k2 * rho**2
    u = x * radial + 2 * p1 * x * y + p2 * (rho + 2 * x**2)
    v = y * radial + p1 * (rho + 2 * y**2) + 2 * p2 * x * y
    pixels, _ = ours("omni", [xi, k1, k2, p1, p2], points)
    np.testing.assert_allclose(pixels, np.stack([FX * u + CX, FY * v + CY], -1), atol=1e-9, rtol=0)


def test_omnidirectional_without_distortion_is_the_unified_model() -> None:
    points, alpha = torch.from_numpy(wide_points()), 0.55
    xi = alpha / (1 - alpha)
    unified = torch.tensor([FX, FY, CX, CY, alpha], dtype=torch.float64)
    omni = torch.tensor([FX * (1 + xi), FY * (1 + xi), CX, CY, xi, 0, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(
        MODELS["omni"].project(omni, points), MODELS["ucm"].project(unified, points), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("k1", [-0.3, -1e-14, 0.0, 1e-14, 0.05])
def test_division_undistorts_as_fitzgibbon(k1: float) -> None:
    params = torch.tensor([FX, FY, CX, CY, k1], dtype=torch.float64)
    distorted = np.random.default_rng(1).uniform(-0.9, 0.9, (200, 2))
    pixels = torch.from_numpy(distorted * [FX, FY] + [CX, CY])
    rays = MODELS["division"].unproject(params, pixels).numpy()
    undistorted = distorted / (1 + k1 * (distorted**2).sum(1, keepdims=True))
    np.testing.assert_allclose(rays[:, :2] / rays[:, 2:], undistorted, atol=1e-12, rtol=1e-12)


def test_division_sees_behind_its_image_plane() -> None:
    params = torch.tensor([300.0, 300.0, 0.0, 0.0, -1.0], dtype=torch.float64)
    pixels = torch.tensor([[390.0, 0.0], [0.0, -600.0]], dtype=torch.float64)
    rays = MODELS["division"].unproject(params, pixels)
    assert bool((rays[:, 2] < 0).all())
    torch.testing.assert_close(MODELS["division"].project(params, rays), pixels, atol=1e-9, rtol=0)
