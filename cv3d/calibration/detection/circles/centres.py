"""The projected centre of a circle, as against the centre of the ellipse that it projects to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_DEGREE = 5
POINTS_PER_TERM = 3
"""Degree of the polynomial that follows the lens, and how many dots each of its terms needs."""

HORIZON = 0.15
"""Smallest depth of a dot against the board's middle for which a homography is used."""


def centre_bias(
    homography: NDArray[np.float64], centre: NDArray[np.float64], radius_board: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Centre of the image ellipse of a circle minus the image of the circle's centre, (…, 2), pixels.

    Exact: the dual conic of a circle maps as H C* H', and the centre of an ellipse is the last column of its dual conic
    (Hartley and Zisserman, Multiple View Geometry, 2.2.3; Heikkila, PAMI 2000, on why it matters).

    Args:
        homography: `image_from_board`, (…, 3, 3).
        centre: Centre of the circle on the board, (…, 2), board units.
        radius_board: Its radius, board units.
    """
    homography = np.asarray(homography, np.float64)
    centre = np.asarray(centre, np.float64)
    radius = np.asarray(radius_board, np.float64)
    middle = np.concatenate([centre, np.ones_like(centre[..., :1])], axis=-1)
    spread = np.zeros((*np.broadcast_shapes(middle.shape[:-1], radius.shape), 3, 3))
    spread[..., 0, 0] = spread[..., 1, 1] = radius**2
    # Dual conic of the circle, with the sign in which its last element is minus one.
    dual = spread - middle[..., :, None] * middle[..., None, :]
    image = homography @ dual @ np.swapaxes(homography, -1, -2)
    projected = (homography @ middle[..., None])[..., 0]
    return np.asarray(image[..., :2, 2] / image[..., 2:, 2] - projected[..., :2] / projected[..., 2:])


def projected_centres(
    ellipse_centres: NDArray[np.float64], board_points: NDArray[np.float64], radius_board: float, rounds: int = 2
) -> NDArray[np.float64]:
    """Corrects centres of ellipses, (n, 2) pixels, to the projected centres of the circles at `board_points` (n, 2).

    The map from board to picture is taken as a homography plus a polynomial that follows lens distortion, both fitted
    to all dots (fits to the dots nearby would follow the unevenness of the paper instead). The bias of the homography
    is exact; that of the polynomial is its leading term: a map f moves the centroid of a disc of radius r by r^2 / 8
    (laplacian f + 2 A grad log det J), with J its Jacobian and A the value of J at the centre.

    Args:
        ellipse_centres: As measured.
        board_points: At least six, not all in one line.
        radius_board: Of the circles, in the units of `board_points`.
        rounds: How often the map is fitted anew to the corrected centres.
    """
    middle = 0.5 * (board_points.min(axis=0) + board_points.max(axis=0))
    half = 0.5 * float(np.max(np.ptp(board_points, axis=0)))
    board, radius = (board_points - middle) / half, radius_board / half
    powers = _powers(board)
    corrected = ellipse_centres
    for _ in range(rounds):
        homography = _homography(board, corrected)
        image = np.concatenate([board, np.ones((len(board), 1))], axis=1) @ homography.T
        place = image[:, :2] / image[:, 2:]
        terms = _derivative(board, powers, 0, 0)
        coefficients = np.linalg.lstsq(terms, corrected - place, rcond=None)[0].astype(np.float64)
        numerator = homography[:2, :2] - place[:, :, None] * homography[2, :2]
        jacobian = (numerator / image[:, 2, None, None]).astype(np.float64)
        bias = centre_bias(homography, board, radius)
        bias += _residual_bias(board, powers, coefficients, jacobian, radius)
        corrected = ellipse_centres - bias
    return corrected


def _residual_bias(
    board: NDArray[np.float64],
    powers: NDArray[np.int64],
    coefficients: NDArray[np.float64],
    jacobian: NDArray[np.float64],
    radius: float,
) -> NDArray[np.float64]:
    """What the polynomial adds to the bias, (n, 2), where the homography has `jacobian` (n, 2, 2)."""
    along_x = _derivative(board, powers, 1, 0) @ coefficients
    along_y = _derivative(board, powers, 0, 1) @ coefficients
    total = jacobian + np.stack([along_x, along_y], axis=2)
    xx, xy, yy = (_derivative(board, powers, i, j) @ coefficients for i, j in ((2, 0), (1, 1), (0, 2)))
    # d/dk log det J = trace(inv(J) dJ/dk); dJ/dx has the columns f_xx, f_xy.
    inverse = np.linalg.inv(total)
    slope_x = np.einsum("nij,nji->n", inverse, np.stack([xx, xy], axis=2))
    slope_y = np.einsum("nij,nji->n", inverse, np.stack([xy, yy], axis=2))
    growth = (total @ np.stack([slope_x, slope_y], axis=1)[..., None])[..., 0]
    return np.asarray(radius**2 / 8.0 * (xx + yy + 2.0 * growth))


def _powers(board: NDArray[np.float64]) -> NDArray[np.int64]:
    """Exponents of x and y, (k, 2), of the polynomial that `board` (n, 2) determines well."""
    distinct = [len(np.unique(np.rint(board[:, axis] * 1e4))) for axis in range(2)]
    for degree in range(MAX_DEGREE, 0, -1):
        pairs = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        powers = [(i, j) for i, j in pairs if i < distinct[0] and j < distinct[1]]
        if POINTS_PER_TERM * len(powers) <= len(board):
            break
    return np.array(powers, np.int64)


def _derivative(board: NDArray[np.float64], powers: NDArray[np.int64], nx: int, ny: int) -> NDArray[np.float64]:
    """The terms of the polynomial at `board` (n, 2), differentiated `nx` and `ny` times along x and y, (n, k)."""
    result = np.ones((len(board), len(powers)))
    for axis, times in ((0, nx), (1, ny)):
        exponent = powers[:, axis]
        factor = np.ones(len(powers))
        for k in range(times):
            factor = factor * np.maximum(exponent - k, 0)
        result *= factor * board[:, axis, None] ** np.maximum(exponent - times, 0)
    return result


def _homography(board: NDArray[np.float64], image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Homography from `board` (n, 2), of unit scale, to `image` (n, 2), by the normalised DLT.

    An affine map where the dots come near its horizon, as they do in very wide lenses.
    """
    middle = image.mean(axis=0)
    scale = float(np.sqrt(((image - middle) ** 2).sum(axis=1).mean()))
    x, y = board.T
    u, v = ((image - middle) / scale).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    upper = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], axis=1)
    lower = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], axis=1)
    design = np.concatenate([upper, lower])
    solution = np.linalg.eigh(design.T @ design)[1][:, 0].reshape(3, 3)
    depth = (board @ solution[2, :2] + solution[2, 2]) / solution[2, 2]
    if not depth.min() > HORIZON:
        affine = np.linalg.lstsq(np.stack([x, y, one], axis=1), np.stack([u, v], axis=1), rcond=None)[0].T
        solution = np.concatenate([affine, [[0.0, 0.0, 1.0]]])
    denormalise = np.array([[scale, 0.0, middle[0]], [0.0, scale, middle[1]], [0.0, 0.0, 1.0]])
    return np.asarray(denormalise @ solution / solution[2, 2])
