"""Fused kernels of two-view geometry, held to what they say in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation as ScipyRotation

from cv3d.geometry.cameras import Camera
from cv3d.geometry.pixel_rays import cross_matrix, homogeneous_rays, pixel_rays, tangent_basis
from cv3d.geometry.robust_fit import NormalEquations, robust_fit
from cv3d.geometry.two_view.parameter_kernels import moved_direction, rotation_exp
from cv3d.geometry.two_view.parameters import Fundamental, Homography, RelativePose, TwoViewModel
from cv3d.geometry.two_view.residuals import (
    EpipolarProblem,
    HomographyProblem,
    Matches,
    epipolar_residuals,
    homography_residuals,
)

Floats = NDArray[np.float64]

COUNT = 60
FISHEYE = Camera("kannala_brandt4", 1200, 1200, (330.0, 331.0, 600.0, 600.0, 0.01, -0.003, 0.0, 0.0))
ROUNDING = 1e-10
"""Of values of the order of one; sums of squares reach the condition of the constraint's covariance."""

MODELS: dict[str, TwoViewModel] = {
    "essential": RelativePose(rotation_exp(np.array([0.1, -0.3, 0.2])), np.array([0.8, 0.36, -0.48])),
    "fundamental": Fundamental.from_matrix(np.random.default_rng(3).normal(size=(3, 3))),
    "homography": Homography.from_matrix(np.eye(3) + 0.2 * np.random.default_rng(4).normal(size=(3, 3))),
}


def matches_of(kind: str) -> Matches:
    rng = np.random.default_rng(1)
    places = rng.uniform(100.0, 1100.0, (2, COUNT, 2))
    sigma0, sigma1 = rng.uniform(0.5, 2.0, (2, COUNT))
    if kind == "fisheye":
        return Matches(pixel_rays(FISHEYE, places[0]), pixel_rays(FISHEYE, places[1]), sigma0, sigma1)
    centre = np.array([600.0, 600.0])
    first, second = (homogeneous_rays(pixels, centre, 400.0) for pixels in places)
    return Matches(first, second, sigma0, sigma1)


def problem_of(name: str, matches: Matches) -> EpipolarProblem | HomographyProblem:
    return HomographyProblem(matches) if name == "homography" else EpipolarProblem(matches)


def equations_of(problem: EpipolarProblem | HomographyProblem, model: TwoViewModel, scale: float) -> NormalEquations:
    """The normal equations of every other match, from residuals and derivatives."""
    residuals, jacobians = problem.linearize(model, np.arange(COUNT) % 2 == 0)
    relative = (residuals**2).sum(axis=1) / scale**2
    weights = 1.0 / (1.0 + relative)
    return NormalEquations(
        float(np.log(1.0 + relative).sum()) * scale**2,
        np.einsum("n,nik,nil->kl", weights, jacobians, jacobians),
        np.einsum("n,nik,ni->k", weights, jacobians, residuals),
    )


@pytest.mark.parametrize("kind", ["fisheye", "homogeneous"])
@pytest.mark.parametrize("name", MODELS)
def test_normal_equations_are_those_of_residuals_and_derivatives(name: str, kind: str) -> None:
    problem, model = problem_of(name, matches_of(kind)), MODELS[name]
    expected = equations_of(problem, model, 40.0)
    found = problem.normal_equations(model, np.arange(COUNT) % 2 == 0, 40.0)
    assert found.cost == pytest.approx(expected.cost, rel=ROUNDING)
    for one, other in ((found.hessian, expected.hessian), (found.gradient, expected.gradient)):
        np.testing.assert_allclose(one, other, rtol=0.0, atol=ROUNDING * np.abs(other).max())


@pytest.mark.parametrize("kind", ["fisheye", "homogeneous"])
@pytest.mark.parametrize("name", MODELS)
def test_errors_are_the_norms_of_the_residuals(name: str, kind: str) -> None:
    matches, matrix = matches_of(kind), MODELS[name].matrix
    if name == "homography":
        norms = np.linalg.norm(homography_residuals(matrix, matches), axis=1)
        along = ((matches.first.rays @ matrix.T) * matches.second.rays).sum(axis=1)
        expected = np.where(along > 0.0, norms, np.inf)
        assert np.isfinite(expected).any()
    else:
        expected = np.abs(epipolar_residuals(matrix, matches))
    np.testing.assert_allclose(problem_of(name, matches).errors(MODELS[name]), expected, rtol=ROUNDING, atol=ROUNDING)


def test_a_homography_that_turns_a_ray_away_has_no_finite_error() -> None:
    seen = matches_of("homogeneous")
    still = HomographyProblem(Matches(seen.first, seen.first, seen.sigma0, seen.sigma1))
    assert np.isinf(still.errors(Homography.from_matrix(-np.eye(3)))).all()
    assert still.errors(Homography.from_matrix(np.eye(3))).max() < 1e-9


def test_degenerate_matrices_leave_finite_equations() -> None:
    matches = matches_of("homogeneous")
    flat = Homography.from_matrix(np.diag([1.0, 0.0, 0.0]))
    found = HomographyProblem(matches).normal_equations(flat, np.ones(COUNT, dtype=bool), 1.0)
    assert not np.isnan(found.hessian).any()


@pytest.mark.parametrize("name", MODELS)
def test_a_fused_fit_ends_where_the_general_one_does(name: str) -> None:
    class Plain:
        """The same problem without equations of its own."""

        dims = problem_of(name, matches_of("fisheye")).dims
        errors = staticmethod(problem_of(name, matches_of("fisheye")).errors)
        linearize = staticmethod(problem_of(name, matches_of("fisheye")).linearize)

    chosen = np.ones(COUNT, dtype=bool)
    fused = robust_fit(problem_of(name, matches_of("fisheye")), MODELS[name], chosen, 50.0, max_iterations=6)
    general = robust_fit(Plain(), MODELS[name], chosen, 50.0, max_iterations=6)
    np.testing.assert_allclose(fused.matrix, general.matrix, atol=1e-8)
    assert np.abs(fused.matrix - MODELS[name].matrix).max() > 1e-3


@pytest.mark.parametrize("angle", [0.0, 1e-9, 9e-5, 1.1e-4, 0.5, 3.0])
def test_rotations_are_those_of_their_vectors(angle: float) -> None:
    vector = angle * np.array([0.48, -0.6, 0.64])
    np.testing.assert_allclose(rotation_exp(vector), ScipyRotation.from_rotvec(vector).as_matrix(), atol=1e-15)


@pytest.mark.parametrize("step", [(0.0, 0.0), (1e-8, -2e-8), (0.3, -0.4), (2.0, 1.0)])
def test_directions_move_along_their_tangent_basis(step: tuple[float, float]) -> None:
    for direction in (np.array([0.8, 0.36, -0.48]), np.array([0.0, 0.0, 1.0]), np.array([-0.6, 0.8, 0.0])):
        basis = tangent_basis(direction)
        axis = np.cross(direction, basis @ np.array(step))
        expected = ScipyRotation.from_rotvec(axis).apply(direction)
        np.testing.assert_allclose(moved_direction(direction, np.array(step)), expected, atol=1e-14)


def test_matrices_are_the_products_that_define_them() -> None:
    pose, general = MODELS["essential"], MODELS["fundamental"]
    assert isinstance(pose, RelativePose)
    assert isinstance(general, Fundamental)
    np.testing.assert_allclose(pose.matrix, cross_matrix(pose.direction) @ pose.rotation, atol=1e-15)
    values = np.diag([np.cos(general.angle), np.sin(general.angle), 0.0])
    np.testing.assert_allclose(general.matrix, general.left @ values @ general.right.T, atol=1e-15)


def test_tangents_of_a_homography_are_an_orthonormal_complement() -> None:
    vectors = np.concatenate([MODELS["homography"].matrix.reshape(1, 9), MODELS["homography"].tangents.reshape(8, 9)])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(9), atol=1e-14)
