"""Residuals and parametrisations of two-view models: geometry, Jacobians, invariances."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from cv3d.geometry.cameras import Camera
from cv3d.geometry.pixel_rays import cross_matrix, homogeneous_rays, pixel_rays, pixels_per_radian, tangent_basis
from cv3d.geometry.two_view import sampson_distances, symmetric_epipolar_distances, transfer_errors
from cv3d.geometry.two_view.parameters import (
    FocalPose,
    Fundamental,
    Homography,
    PlanarPose,
    RelativePose,
    Rotation,
    TwoViewModel,
    rotation_exp,
)
from cv3d.geometry.two_view.residuals import (
    EpipolarProblem,
    HomographyProblem,
    Matches,
    epipolar_residuals,
    homography_residuals,
)

Floats = NDArray[np.float64]

PINHOLE = Camera("pinhole", 1280, 960, (900.0, 905.0, 640.0, 480.0))
FISHEYE = Camera("kannala_brandt4", 1200, 1200, (330.0, 331.0, 600.0, 600.0, 0.01, -0.003, 0.0, 0.0))
ROTATION = rotation_exp(np.array([0.1, -0.3, 0.2]))
DIRECTION = np.array([0.8, 0.36, -0.48])
NORMAL = np.array([0.36, 0.48, 0.8])

EPIPOLAR: dict[str, TwoViewModel] = {
    "essential": RelativePose(ROTATION, DIRECTION),
    "fundamental": Fundamental.from_matrix(np.random.default_rng(3).normal(size=(3, 3))),
    "shared focal": FocalPose(RelativePose(ROTATION, DIRECTION), (1.3, 1.3), shared=True),
    "separate focals": FocalPose(RelativePose(ROTATION, DIRECTION), (1.3, 0.8), shared=False),
}
PLANAR: dict[str, TwoViewModel] = {
    "homography": Homography.from_matrix(np.eye(3) + 0.2 * np.random.default_rng(4).normal(size=(3, 3))),
    "rotation": Rotation(ROTATION),
    "planar pose": PlanarPose(ROTATION, np.array([0.2, -0.1, 0.05]), NORMAL),
}


def random_matches(camera: Camera = FISHEYE, count: int = 40) -> Matches:
    rng = np.random.default_rng(1)
    places = rng.uniform(100.0, 800.0, (2, count, 2))
    sigma0, sigma1 = rng.uniform(0.5, 2.0, (2, count))
    return Matches(pixel_rays(camera, places[0]), pixel_rays(camera, places[1]), sigma0, sigma1)


@pytest.mark.parametrize("camera", [PINHOLE, FISHEYE], ids=lambda camera: camera.model)
def test_ray_derivatives_are_those_of_unprojection(camera: Camera) -> None:
    pixels = np.random.default_rng(0).uniform(50.0, 900.0, (30, 2))
    rays = pixel_rays(camera, pixels)
    for axis in range(2):
        step = np.eye(2)[axis] * 1e-3
        difference = (camera.unproject(pixels + step) - camera.unproject(pixels - step)) / 2e-3
        np.testing.assert_allclose(rays.jacobians[..., axis], difference, atol=1e-9)


def test_pixels_outside_the_lens_and_not_finite_are_marked() -> None:
    pixels = np.array([[600.0, 600.0], [np.nan, 3.0], [1e9, 1e9]])
    rays = pixel_rays(FISHEYE, pixels)
    assert rays.valid.tolist() == [True, False, False]
    assert np.isfinite(rays.rays).all()
    assert np.isfinite(rays.jacobians).all()


def test_resolution_at_the_principal_point_is_the_focal_length() -> None:
    assert pixels_per_radian(FISHEYE) == pytest.approx(330.5, abs=0.1)
    assert pixels_per_radian(PINHOLE) == pytest.approx(902.5, abs=0.1)


def test_tangent_bases_are_right_handed() -> None:
    directions = np.random.default_rng(0).normal(size=(20, 3))
    basis = tangent_basis(directions)
    np.testing.assert_allclose(np.swapaxes(basis, 1, 2) @ basis, np.broadcast_to(np.eye(2), (20, 2, 2)), atol=1e-14)
    along = np.cross(basis[..., 0], basis[..., 1])
    np.testing.assert_allclose(along, directions / np.linalg.norm(directions, axis=1, keepdims=True), atol=1e-14)


@pytest.mark.parametrize("model", [*EPIPOLAR.values(), *PLANAR.values()], ids=[*EPIPOLAR, *PLANAR])
def test_tangents_are_the_derivatives_of_the_matrix(model: TwoViewModel) -> None:
    tangents = model.tangents
    assert len(tangents) == model.unknowns
    for index in range(model.unknowns):
        step = np.eye(model.unknowns)[index] * 1e-6
        difference = (model.moved(step).matrix - model.moved(-step).matrix) / 2e-6
        np.testing.assert_allclose(tangents[index], difference, atol=1e-8)


@pytest.mark.parametrize("name", [*EPIPOLAR, *PLANAR])
def test_residual_jacobians_match_differences(name: str) -> None:
    matches = random_matches()
    is_epipolar = name in EPIPOLAR
    model = EPIPOLAR[name] if is_epipolar else PLANAR[name]
    problem = EpipolarProblem(matches) if is_epipolar else HomographyProblem(matches)
    chosen = np.ones(len(matches), dtype=bool)
    _, jacobians = problem.linearize(model, chosen)
    for index in range(model.unknowns):
        step = np.eye(model.unknowns)[index] * 1e-6
        ahead, behind = (problem.linearize(model.moved(sign * step), chosen)[0] for sign in (1.0, -1.0))
        scale = np.abs(jacobians[..., index]).max()
        np.testing.assert_allclose(jacobians[..., index], (ahead - behind) / 2e-6, atol=2e-6 * scale)


def test_tangent_sampson_error_is_the_distance_to_the_nearest_exact_match() -> None:
    rng = np.random.default_rng(2)
    world = rng.uniform([-2.0, -2.0, 1.0], [2.0, 2.0, 3.0], (12, 3))
    first = FISHEYE.project(world) + rng.normal(0.0, 0.7, (12, 2))
    second = FISHEYE.project(world @ ROTATION.T + DIRECTION) + rng.normal(0.0, 0.7, (12, 2))
    ones = np.ones(12)
    matches = Matches(pixel_rays(FISHEYE, first), pixel_rays(FISHEYE, second), ones, ones)
    errors = np.abs(epipolar_residuals(RelativePose(ROTATION, DIRECTION).matrix, matches))

    def squared(point: Floats, index: int) -> float:
        off0 = FISHEYE.project(point[None])[0] - first[index]
        off1 = FISHEYE.project((ROTATION @ point + DIRECTION)[None])[0] - second[index]
        return float(off0 @ off0 + off1 @ off1)

    nearest = [minimize(squared, world[i], args=(i,), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
               for i in range(12)]  # fmt: skip
    np.testing.assert_allclose(errors, np.sqrt([found.fun for found in nearest]), rtol=5e-3, atol=2e-4)


def test_sampson_errors_of_homogeneous_pixels_are_the_classic_ones() -> None:
    rng = np.random.default_rng(5)
    points0, points1 = rng.uniform(0.0, 900.0, (2, 30, 2))
    fundamental = np.linalg.inv(PINHOLE.matrix).T @ cross_matrix(DIRECTION) @ ROTATION @ np.linalg.inv(PINHOLE.matrix)
    origin, ones = np.zeros(2), np.ones(30)
    matches = Matches(homogeneous_rays(points0, origin, 1.0), homogeneous_rays(points1, origin, 1.0), ones, ones)
    classic = sampson_distances(fundamental, points0, points1)
    np.testing.assert_allclose(np.abs(epipolar_residuals(fundamental, matches)), classic, rtol=1e-10)
    both = symmetric_epipolar_distances(fundamental, points0, points1)
    np.testing.assert_allclose(1.0 / classic**2, (1.0 / both**2).sum(axis=1), rtol=1e-10)


def test_residuals_do_not_depend_on_the_scale_of_the_matrix() -> None:
    matches = random_matches()
    essential, homography = EPIPOLAR["essential"].matrix, PLANAR["homography"].matrix
    np.testing.assert_allclose(
        epipolar_residuals(7.0 * essential, matches), epipolar_residuals(essential, matches), rtol=1e-12
    )
    np.testing.assert_allclose(
        homography_residuals(7.0 * homography, matches), homography_residuals(homography, matches), rtol=1e-9
    )


def test_homography_residuals_have_unit_variance_per_component() -> None:
    rng = np.random.default_rng(6)
    count = 4000
    first = rng.uniform(200.0, 1000.0, (count, 2))
    rays = FISHEYE.unproject(first) @ PLANAR["planar pose"].matrix.T
    second = FISHEYE.project(rays)
    sigma0, sigma1 = rng.uniform(0.2, 1.0, (2, count))
    noisy0 = first + rng.normal(size=(count, 2)) * sigma0[:, None]
    noisy1 = second + rng.normal(size=(count, 2)) * sigma1[:, None]
    matches = Matches(pixel_rays(FISHEYE, noisy0), pixel_rays(FISHEYE, noisy1), sigma0, sigma1)
    residuals = homography_residuals(PLANAR["planar pose"].matrix, matches)
    np.testing.assert_allclose(np.cov(residuals.T), np.eye(2), atol=0.06)


def test_transfer_errors() -> None:
    homography = np.array([[1.0, 0.0, 5.0], [0.0, 1.0, -2.0], [0.0, 0.01, 0.0]])
    points0, points1 = np.array([[0.0, 100.0], [3.0, 0.0]]), np.array([[5.0, 101.0], [0.0, 0.0]])
    np.testing.assert_allclose(transfer_errors(homography, points0, points1), [3.0, np.inf])
