"""How far a match is from what a two-view model allows.

All residuals are first-order approximations of the distance, in the four pixel coordinates of a match, to the nearest
match that satisfies the model exactly; derivatives of the rays carry them through any lens (Sampson 1982; Terekhov and
Larsson 2023, "Tangent Sampson error"). Homogeneous pixels as rays give the classic Sampson error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.pixel_rays import PixelRays, cross_matrix, tangent_basis
from cv3d.geometry.robust_fit import NormalEquations
from cv3d.geometry.two_view.epipolar_kernel import epipolar_errors, epipolar_moments
from cv3d.geometry.two_view.homography_kernel import homography_errors, homography_moments
from cv3d.geometry.two_view.kernel_parts import Arrays
from cv3d.geometry.two_view.parameters import TwoViewModel

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Matches:
    """Rays of n matches with the noise of their pixels."""

    first: PixelRays
    """In the first camera, n of them."""
    second: PixelRays
    """In the second camera."""
    sigma0: Floats
    """Noise of the first pixels over the typical noise, (n,)."""
    sigma1: Floats
    """Noise of the second pixels over the typical noise, (n,)."""

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: Bools | NDArray[np.intp]) -> Matches:
        return Matches(self.first[index], self.second[index], self.sigma0[index], self.sigma1[index])

    @property
    def arrays(self) -> Arrays:
        """Rays, their derivatives and their noise, as the kernels take them."""
        first, second = self.first, self.second
        return first.rays, first.jacobians, self.sigma0, second.rays, second.jacobians, self.sigma1


@dataclass(frozen=True, eq=False)
class EpipolarProblem:
    """Matches that an epipolar matrix explains. One residual component, pixels."""

    matches: Matches

    @property
    def dims(self) -> int:
        """One: a match has four coordinates and its point three."""
        return 1

    def errors(self, model: TwoViewModel) -> Floats:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        return epipolar_errors(model.matrix, self.matches.arrays)

    def linearize(self, model: TwoViewModel, chosen: Bools) -> tuple[Floats, Floats]:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        residuals, jacobians = epipolar_jacobians(model.matrix, model.tangents, self.matches[chosen])
        return residuals[:, None], jacobians[:, None, :]

    def normal_equations(self, model: TwoViewModel, chosen: Bools, scale: float) -> NormalEquations:
        """See :class:`cv3d.geometry.robust_fit.FusedProblem`."""
        tangents = model.tangents.reshape(-1, 9)
        return _equations(*epipolar_moments(model.matrix, tangents, self.matches.arrays, chosen, scale))


@dataclass(frozen=True, eq=False)
class HomographyProblem:
    """Matches that a homography explains. Two residual components, pixels."""

    matches: Matches

    @property
    def dims(self) -> int:
        """Two: a match has four coordinates and its point on the plane two."""
        return 2

    def errors(self, model: TwoViewModel) -> Floats:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        return homography_errors(model.matrix, self.matches.arrays)

    def linearize(self, model: TwoViewModel, chosen: Bools) -> tuple[Floats, Floats]:
        """See :class:`cv3d.geometry.robust_fit.Problem`."""
        return homography_jacobians(model.matrix, model.tangents, self.matches[chosen])

    def normal_equations(self, model: TwoViewModel, chosen: Bools, scale: float) -> NormalEquations:
        """See :class:`cv3d.geometry.robust_fit.FusedProblem`."""
        tangents = model.tangents.reshape(-1, 9)
        return _equations(*homography_moments(model.matrix, tangents, self.matches.arrays, chosen, scale))


def epipolar_residuals(matrix: Floats, matches: Matches) -> Floats:
    """Signed tangent Sampson errors, (n,), pixels, of an epipolar matrix (3, 3)."""
    constraint, gradient0, gradient1 = _epipolar_gradients(matrix, matches)
    return constraint / _length(gradient0, gradient1, matches)


def epipolar_jacobians(matrix: Floats, tangents: Floats, matches: Matches) -> tuple[Floats, Floats]:
    """Tangent Sampson errors and their exact derivatives.

    Args:
        matrix: M with ray1^T M ray0 = 0, (3, 3).
        tangents: derivatives of M by K unknowns, (K, 3, 3).
        matches: n matches.

    Returns:
        `(residuals (n,), jacobians (n, K))`, pixels.
    """
    constraint, gradient0, gradient1 = _epipolar_gradients(matrix, matches)
    length = _length(gradient0, gradient1, matches)
    rays0, rays1 = matches.first.rays, matches.second.rays
    residuals = constraint / length
    # The residual's derivative by the matrix: of the constraint, and of |gradient| by the chain rule, each gradient
    # being the ray's derivative applied to the matrix.
    shrink = (residuals / length**2)[:, None]
    lifted0 = _apply(matches.first.jacobians, gradient0) * matches.sigma0[:, None] ** 2 * shrink
    lifted1 = _apply(matches.second.jacobians, gradient1) * matches.sigma1[:, None] ** 2 * shrink
    by_matrix = _outer(rays1 / length[:, None] - lifted1, rays0) - _outer(rays1, lifted0)
    return residuals, by_matrix.reshape(-1, 9) @ tangents.reshape(-1, 9).T


def homography_residuals(matrix: Floats, matches: Matches) -> Floats:
    """Whitened residuals (n, 2), pixels, of a homography (3, 3): their norm is the first-order 4D distance."""
    constraint, factor, *_ = _homography_parts(matrix, matches)
    return _apply(_inverse_lower(factor), constraint)


def homography_jacobians(matrix: Floats, tangents: Floats, matches: Matches) -> tuple[Floats, Floats]:
    """Whitened homography residuals and their exact derivatives.

    The constraint is the part of ray1 x (H ray0) in the plane perpendicular to ray1. Its covariance S = L L^T follows
    from the pixels'; the residual is L^-1 c, and dL = L low(L^-1 dS L^-T) with the diagonal halved.

    Args:
        matrix: H, (3, 3).
        tangents: derivatives of H by K unknowns, (K, 3, 3).
        matches: n matches.

    Returns:
        `(residuals (n, 2), jacobians (n, 2, K))`, pixels.
    """
    constraint, factor, basis, by_first, by_second = _homography_parts(matrix, matches)
    inverse = _inverse_lower(factor)
    residuals = _apply(inverse, constraint)
    rays0 = matches.first.rays
    whitened = inverse @ np.swapaxes(basis, 1, 2)
    turned = whitened @ cross_matrix(matches.second.rays)
    lifted0 = matches.first.jacobians @ np.swapaxes(inverse @ by_first, 1, 2) * matches.sigma0[:, None, None] ** 2
    lifted1 = matches.second.jacobians @ np.swapaxes(inverse @ by_second, 1, 2) * matches.sigma1[:, None, None] ** 2
    swung = [whitened @ cross_matrix(lifted1[:, :, column]) for column in range(2)]

    def half_spread(row: int, column: int) -> Floats:
        """Derivative by the matrix of an entry of half L^-1 dS L^-T, before it is made symmetric."""
        return _outer(turned[:, row], lifted0[:, :, column]) + _outer(swung[column][:, row], rays0)

    first, second = residuals[:, 0, None, None], residuals[:, 1, None, None]
    by_matrix = np.stack([_outer(turned[:, 0], rays0), _outer(turned[:, 1], rays0)], axis=1)
    by_matrix[:, 0] -= half_spread(0, 0) * first
    by_matrix[:, 1] -= (half_spread(1, 0) + half_spread(0, 1)) * first + half_spread(1, 1) * second
    return residuals, by_matrix.reshape(-1, 2, 9) @ tangents.reshape(-1, 9).T


def sampson_distances(fundamental: Floats, points0: Floats, points1: Floats) -> Floats:
    """Sampson distances (..., n), pixels, of matches (..., n, 2) to a fundamental matrix (..., 3, 3)."""
    lines1, lines0, off = _lines(fundamental, points0, points1)
    steepness = (lines0[..., :2] ** 2).sum(axis=-1) + (lines1[..., :2] ** 2).sum(axis=-1)
    result: Floats = off / np.sqrt(steepness)
    return result


def symmetric_epipolar_distances(fundamental: Floats, points0: Floats, points1: Floats) -> Floats:
    """Distances (..., n, 2), pixels, of both points of matches (..., n, 2) to each other's epipolar line."""
    lines1, lines0, off = _lines(fundamental, points0, points1)
    steepness = np.stack([np.linalg.norm(lines[..., :2], axis=-1) for lines in (lines0, lines1)], axis=-1)
    result: Floats = off[..., None] / steepness
    return result


def transfer_errors(homography: Floats, points0: Floats, points1: Floats) -> Floats:
    """Distances (..., n), pixels, of points1 to points0 (..., n, 2) carried over by a homography (..., 3, 3).

    Infinite where a point is carried to infinity.
    """
    carried = _homogeneous(points0) @ np.swapaxes(homography, -1, -2)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.linalg.norm(carried[..., :2] / carried[..., 2:] - points1, axis=-1)
    return np.where(np.isfinite(errors), errors, np.inf)


def _equations(cost: float, moments: Floats) -> NormalEquations:
    return NormalEquations(cost, moments[:-1, :-1].copy(), moments[:-1, -1].copy())


def _epipolar_gradients(matrix: Floats, matches: Matches) -> tuple[Floats, Floats, Floats]:
    """The constraint (n,) and its derivatives by the first and the second pixels, (n, 2) each."""
    normals1, normals0 = matches.first.rays @ matrix.T, matches.second.rays @ matrix
    gradient0 = np.einsum("nij,ni->nj", matches.first.jacobians, normals0)
    gradient1 = np.einsum("nij,ni->nj", matches.second.jacobians, normals1)
    return (normals1 * matches.second.rays).sum(axis=1), gradient0, gradient1


def _length(gradient0: Floats, gradient1: Floats, matches: Matches) -> Floats:
    """Standard deviation (n,) of the constraint for pixels of unit typical noise."""
    variance = (gradient0**2).sum(axis=1) * matches.sigma0**2 + (gradient1**2).sum(axis=1) * matches.sigma1**2
    result: Floats = np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
    return result


def _homography_parts(matrix: Floats, matches: Matches) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Constraint (n, 2), Cholesky factor of its covariance, basis (n, 3, 2), derivatives by both pixels (n, 2, 2)."""
    rays1 = matches.second.rays
    moved = matches.first.rays @ matrix.T
    basis = tangent_basis(rays1)
    turned = np.swapaxes(basis, 1, 2) @ cross_matrix(rays1)
    constraint = (turned @ moved[:, :, None])[..., 0]
    by_first = turned @ matrix @ matches.first.jacobians
    by_second = -np.swapaxes(basis, 1, 2) @ cross_matrix(moved) @ matches.second.jacobians
    covariance = by_first @ np.swapaxes(by_first, 1, 2) * matches.sigma0[:, None, None] ** 2
    covariance = covariance + by_second @ np.swapaxes(by_second, 1, 2) * matches.sigma1[:, None, None] ** 2
    return constraint, _cholesky(covariance), basis, by_first, by_second


def _cholesky(symmetric: Floats) -> Floats:
    """Lower factors of (n, 2, 2), kept regular where a degenerate model makes them singular."""
    floor = np.finfo(np.float64).tiny
    factor = np.zeros_like(symmetric)
    factor[:, 0, 0] = np.sqrt(np.maximum(symmetric[:, 0, 0], floor))
    factor[:, 1, 0] = symmetric[:, 1, 0] / factor[:, 0, 0]
    rest = symmetric[:, 1, 1] - factor[:, 1, 0] ** 2
    factor[:, 1, 1] = np.sqrt(np.maximum(rest, np.maximum(1e-14 * symmetric[:, 1, 1], floor)))
    return factor


def _inverse_lower(factor: Floats) -> Floats:
    inverse = np.zeros_like(factor)
    inverse[:, 0, 0], inverse[:, 1, 1] = 1.0 / factor[:, 0, 0], 1.0 / factor[:, 1, 1]
    inverse[:, 1, 0] = -factor[:, 1, 0] * inverse[:, 0, 0] * inverse[:, 1, 1]
    return inverse


def _apply(matrices: Floats, vectors: Floats) -> Floats:
    """Matrices (n, a, b) times vectors (n, b)."""
    result: Floats = (matrices @ vectors[:, :, None])[..., 0]
    return result


def _outer(a: Floats, b: Floats) -> Floats:
    """Outer products (n, 3, 3) of vectors (n, 3)."""
    result: Floats = a[:, :, None] * b[:, None, :]
    return result


def _lines(fundamental: Floats, points0: Floats, points1: Floats) -> tuple[Floats, Floats, Floats]:
    """Epipolar lines in the second picture, in the first, and the distance times steepness."""
    first, second = _homogeneous(points0), _homogeneous(points1)
    lines1, lines0 = first @ np.swapaxes(fundamental, -1, -2), second @ fundamental
    return lines1, lines0, np.abs((lines1 * second).sum(axis=-1))


def _homogeneous(points: Floats) -> Floats:
    return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
