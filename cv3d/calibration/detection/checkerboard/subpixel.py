"""Corner positions by maximum likelihood: two blurred edges that cross, fitted to the grey values around each corner.

The model is `offset + gradient . x + amplitude * erf(s1) * erf(s2)`, s1 and s2 being signed distances to the two edges
in units of the blur. The edges are parabolas whose curvature is not fitted but taken from the neighbouring corners:
under lens distortion a straight model fitted over a window is pulled towards the inside of the bend.
All corners are fitted together by damped Gauss-Newton steps.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from cv3d.calibration.detection.base import Gray
from cv3d.calibration.detection.checkerboard.lattice import Lattice, neighbour_mean, shifted
from cv3d.calibration.detection.checkerboard.pyramid import Float32, Float64
from cv3d.calibration.detection.checkerboard.verify import corner_steps

WINDOW_STEPS = 0.42
"""Half side of the window in lattice steps: it must not reach the next edge."""
LARGEST_WINDOW_PX = 20
SMALLEST_WINDOW_PX = 3
LEAST_WINDOW_PIXELS = 12
ITERATIONS = 8
CONVERGED_PX = 2e-3
BLURRED_PX = 3.0
"""From this blur on a picture is fitted at reduced size..."""
SHARP_PX = 1.2
"""...at which the blur is at least this."""
MOST_UNEXPLAINED = 0.2
"""Largest part of the grey values' variance that the model leaves, where noise is not what remains."""
MOST_UNEXPLAINED_IN_NOISE = 0.8
LEAST_UNUSUAL = 0.05
UNUSUAL = 4.0
"""A corner is dropped that leaves so many times the median part of its lattice, and more than `LEAST_UNUSUAL`."""
MOST_NOISE = 1.6
"""What remains is noise where it is at most so many times the noise of the picture."""
LARGEST_SIGMA_PX = 0.5
"""A corner less certain than this is no measurement."""
MOST_MOVED_PX = 2.0
MOST_MOVED = (0.2, 0.35)
"""Largest way from the start to the fit: so many pixels, but within these parts of the spacing."""
NOISE_ROWS = 100
"""The noise is measured in about so many rows spread over the picture."""
_SQRT_HALF = np.float32(np.sqrt(0.5))
_ERF_SLOPE = np.float32(2.0 / np.sqrt(np.pi))
_PARAMETERS = 9
_X, _Y, _ANGLE1, _ANGLE2, _LOG_BLUR, _AMPLITUDE, _OFFSET, _GRADIENT_X, _GRADIENT_Y = range(_PARAMETERS)
_LARGEST_STEP = np.array([1.0, 1.0, 0.15, 0.15, 0.5, np.inf, np.inf, np.inf, np.inf])


@dataclass(frozen=True)
class RefinedCorners:
    """Refined positions and how far they can be trusted."""

    pixels: Float64
    """(n, 2)."""
    sigma_px: Float64
    """Standard deviation of a position, the larger axis, from the residual of the fit, (n,)."""
    blur_px: Float64
    """Standard deviation of the blur of the edges, (n,)."""
    unexplained: Float64
    """Part of the grey values' variance in the window that the model leaves, (n,)."""
    good: NDArray[np.bool_]
    """Whether the fit converged near its start and explains the picture, (n,)."""


@dataclass(frozen=True)
class _Surroundings:
    """What the lattice knows about the surroundings of each corner."""

    to_col: Float64
    to_row: Float64
    bends: Float64
    light: NDArray[np.bool_]

    def reduced(self, factor: int) -> _Surroundings:
        """In a picture `factor` times smaller."""
        return _Surroundings(self.to_col / factor, self.to_row / factor, self.bends * factor, self.light)

    def take(self, members: NDArray[np.int64]) -> _Surroundings:
        """Those of some corners."""
        return _Surroundings(self.to_col[members], self.to_row[members], self.bends[members], self.light[members])


def refine_lattice(gray: Gray, lattice: Lattice) -> RefinedCorners:
    """Refine every corner of a lattice; corners whose fit fails keep their start and are marked.

    A picture blurred over many pixels is fitted again at reduced size: it holds nothing finer, and the window then
    reaches the plain parts of the squares.
    """
    to_col, to_row = corner_steps(lattice)
    spacing = np.minimum(np.linalg.norm(to_col, axis=1), np.linalg.norm(to_row, axis=1))
    start = _gradient_refined(gray, lattice.pixels, spacing)
    around = _Surroundings(to_col, to_row, edge_bends(lattice.cells, start), lattice.light(lattice.cells))
    noise = noise_level(gray)
    refined = _fit(gray, start, around, noise)
    blur = float(np.median(refined.blur_px))
    if blur > BLURRED_PX:
        factor = int(2 ** np.floor(np.log2(blur / SHARP_PX)))
        height, width = (side // factor for side in gray.shape)
        cut = gray[: height * factor, : width * factor]
        small = np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        at = (lattice.pixels + 0.5) / factor - 0.5
        reduced = _fit(small, at, around.reduced(factor), noise_level(small))
        refined = replace(
            reduced,
            pixels=(reduced.pixels + 0.5) * factor - 0.5,
            sigma_px=reduced.sigma_px * factor,
            blur_px=reduced.blur_px * factor,
        )
    moved = np.linalg.norm(refined.pixels - lattice.pixels, axis=1)
    near = moved < np.clip(MOST_MOVED_PX, MOST_MOVED[0] * spacing, np.maximum(MOST_MOVED[1] * spacing, 1.0))
    usual = refined.unexplained <= max(LEAST_UNUSUAL, UNUSUAL * float(np.median(refined.unexplained)))
    good = refined.good & near & usual
    return replace(refined, pixels=np.where(good[:, None], refined.pixels, lattice.pixels), good=good)


def noise_level(gray: Gray) -> float:
    """Standard deviation of the noise of a picture, grey levels: the median response of a mask blind to edges.

    The mask and its norm are Immerkaer's (1996); the median leaves texture out.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    rows = max(1, gray.shape[0] // NOISE_ROWS)
    strips = np.concatenate([gray[i : i + 3] for i in range(0, gray.shape[0] - 2, 3 * rows)])
    response = cv2.filter2D(strips, cv2.CV_32F, mask)[1::3]
    return float(np.median(np.abs(response)) / (0.6745 * 6.0))


def edge_bends(cells: NDArray[np.int64], pixels: Float64) -> Float64:
    """Curvature of the two edges through each corner, 1/px, (n, 2): along its row, and along its column.

    Positive where the row bends towards the next row, and the column towards the next column. Second differences of the
    corner positions give it, averaged over 3x3 corners: a lens bends them all alike, dents in the paper do not.
    """
    lattice = Lattice(cells, pixels, True)
    grid = lattice.dense()
    bends = []
    for axis, side in ((1, 1.0), (0, -1.0)):
        ahead, behind = shifted(grid, -1, axis), shifted(grid, 1, axis)
        chord = (ahead - behind) / 2
        length = np.linalg.norm(chord, axis=-1)
        second = ahead + behind - 2 * grid
        bend = side * (chord[..., 0] * second[..., 1] - chord[..., 1] * second[..., 0]) / length**3
        smooth = neighbour_mean(bend, with_centre=True)
        bends.append(np.nan_to_num(smooth[cells[:, 0], cells[:, 1]]))
    return np.stack(bends, axis=1)


def _gradient_refined(gray: Gray, pixels: Float64, spacing: Float64) -> Float64:
    """Starting points: gradient orthogonality (Foerstner) in windows that fit the local spacing."""
    start = pixels.copy()
    half = np.clip((0.3 * spacing).astype(int), 2, 10)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 12, 0.01)
    height, width = gray.shape
    for size in np.unique(half):
        x, y = pixels.T
        inside = (x > size + 2) & (y > size + 2) & (x < width - size - 3) & (y < height - size - 3)
        members = np.flatnonzero((half == size) & inside)
        if len(members) == 0:
            continue
        points = np.ascontiguousarray(pixels[members, None].astype(np.float32))
        moved = cv2.cornerSubPix(gray, points, (int(size), int(size)), (-1, -1), criteria)[:, 0].astype(np.float64)
        near = np.linalg.norm(moved - pixels[members], axis=1) < np.maximum(1.0, 0.15 * spacing[members])
        start[members[near]] = moved[near]
    return start


def _fit(gray: Gray, start: Float64, around: _Surroundings, noise: float) -> RefinedCorners:
    """Fit corners in groups of like window size."""
    n = len(start)
    result = RefinedCorners(start.copy(), np.full(n, np.inf), np.ones(n), np.ones(n), np.zeros(n, dtype=bool))
    extent = WINDOW_STEPS * (np.abs(around.to_col) + np.abs(around.to_row)).max(axis=1)
    half = np.clip(np.ceil(extent), SMALLEST_WINDOW_PX, LARGEST_WINDOW_PX).astype(int)
    half = np.where(half > 6, (half + 1) // 2 * 2, half)
    for size in np.unique(half):
        members = np.flatnonzero(half == size)
        for group in np.array_split(members, max(1, len(members) * (2 * size + 1) ** 2 // 200_000)):
            fit = _fit_group(gray, int(size), start[group], around.take(group), noise)
            for field in fields(result):
                getattr(result, field.name)[group] = getattr(fit, field.name)
    return result


def _fit_group(gray: Gray, half: int, start: Float64, around: _Surroundings, noise: float) -> RefinedCorners:
    """Levenberg-Marquardt on all corners of one window size at once; each has its own damping."""
    to_col, to_row, light = around.to_col, around.to_row, around.light
    values, offsets, weights = _windows(gray, half, start, to_col, to_row)
    bends = around.bends.astype(np.float32)
    n = len(start)
    total = weights.sum(axis=1, dtype=np.float64)
    mean = (weights * values).sum(axis=1, dtype=np.float64) / np.maximum(total, 1e-9)
    variance = (weights * (values - mean[:, None]) ** 2).sum(axis=1, dtype=np.float64)
    theta = np.zeros((n, _PARAMETERS))
    theta[:, _ANGLE1] = np.arctan2(to_col[:, 1], to_col[:, 0])
    theta[:, _ANGLE2] = np.arctan2(to_row[:, 1], to_row[:, 0])
    theta[:, _LOG_BLUR] = np.log(min(1.2, 0.25 * half))
    theta[:, _AMPLITUDE] = np.where(light, 1.0, -1.0) * 1.2 * np.sqrt(variance / np.maximum(total, 1e-9))
    theta[:, _OFFSET] = mean
    anchor = np.round(start)
    theta[:, :2] = start - anchor

    residual, jacobian = _model(theta, offsets, bends, values)
    cost = (weights * residual**2).sum(axis=1, dtype=np.float64)
    damping = np.full(n, 1e-3)
    active = np.flatnonzero(total > 0)
    for _ in range(ITERATIONS):
        if len(active) == 0:
            break
        weighted = jacobian[active] * weights[active, None]
        normal = weighted @ jacobian[active].transpose(0, 2, 1)
        gradient = (weighted @ residual[active, :, None])[..., 0]
        diagonal = np.einsum("nii->ni", normal)
        damped = normal.astype(np.float64)
        np.einsum("nii->ni", damped)[...] += damping[active, None] * diagonal + 1e-9
        step = -np.linalg.solve(damped, gradient[..., None].astype(np.float64))[..., 0]
        step = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        trial = theta[active] + step
        trial[:, _LOG_BLUR] = np.clip(trial[:, _LOG_BLUR], np.log(0.3), np.log(0.6 * half))
        new_residual, new_jacobian = _model(trial, offsets, bends[active], values[active])
        new_cost = (weights[active] * new_residual**2).sum(axis=1, dtype=np.float64)
        better = new_cost <= cost[active]
        moved = active[better]
        theta[moved], cost[moved] = trial[better], new_cost[better]
        residual[moved], jacobian[moved] = new_residual[better], new_jacobian[better]
        damping[active] = np.where(better, damping[active] / 8, damping[active] * 10)
        settled = np.abs(step[:, :2]).max(axis=1) < CONVERGED_PX
        active = active[~settled]

    unexplained = cost / np.maximum(variance, 1e-9)
    sigma = _position_sigma(jacobian, weights, cost)
    right = np.where(light, theta[:, _AMPLITUDE], -theta[:, _AMPLITUDE]) > 0
    remains = np.sqrt(cost / np.maximum(total, 1e-9))
    noisy = (unexplained < MOST_UNEXPLAINED_IN_NOISE) & (remains < MOST_NOISE * noise)
    good = ((unexplained < MOST_UNEXPLAINED) | noisy) & right & (sigma < LARGEST_SIGMA_PX)
    good &= total > LEAST_WINDOW_PIXELS
    return RefinedCorners(anchor + theta[:, :2], sigma, np.exp(theta[:, _LOG_BLUR]), unexplained, good)


def _windows(
    gray: Gray, half: int, start: Float64, to_col: Float64, to_row: Float64
) -> tuple[Float32, Float32, Float32]:
    """Grey values (n, m), their offsets from the rounded start (m, 2), and weights (n, m) that end at the window.

    The window is the parallelogram of the lattice cell, cut by a disc, so that long foreshortened cells are used along
    their length without touching the next edge across.
    """
    side = np.arange(-half, half + 1)
    offsets = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    offsets = offsets[np.linalg.norm(offsets, axis=1) < half + 1.3]
    anchor = np.round(start).astype(np.int64)
    places = anchor[:, None] + offsets
    height, width = gray.shape
    inside = (places >= 0).all(axis=-1) & (places[..., 0] < width) & (places[..., 1] < height)
    values = gray[np.clip(places[..., 1], 0, height - 1), np.clip(places[..., 0], 0, width - 1)].astype(np.float32)

    from_start = places - start[:, None]
    det = to_col[:, 0] * to_row[:, 1] - to_col[:, 1] * to_row[:, 0]
    det = np.where(np.abs(det) < 1e-9, 1e-9, det)[:, None]
    along_col = (from_start[..., 0] * to_row[:, None, 1] - from_start[..., 1] * to_row[:, None, 0]) / det
    along_row = (to_col[:, None, 0] * from_start[..., 1] - to_col[:, None, 1] * from_start[..., 0]) / det
    steps_away = np.maximum(np.abs(along_col), np.abs(along_row)) / WINDOW_STEPS
    pixels_away = np.linalg.norm(from_start, axis=-1) / (half + 0.5)
    away = np.maximum(steps_away, pixels_away)
    weights = np.where(inside, np.clip((1.0 - away) / 0.25, 0.0, 1.0), 0.0)
    return values, offsets.astype(np.float32), weights.astype(np.float32)


def _model(theta64: Float64, offsets: Float32, bends: Float32, values: Float32) -> tuple[Float32, Float32]:
    """Residual (n, m) and its derivatives (n, 9, m), in single precision: its rounding moves a corner by 1e-5 px."""
    n, m = values.shape
    theta = theta64.astype(np.float32)
    jacobian = np.empty((n, _PARAMETERS, m), np.float32)
    dx = offsets[..., 0] - theta[:, _X, None]
    dy = offsets[..., 1] - theta[:, _Y, None]
    inverse = np.exp(-theta[:, _LOG_BLUR, None]) * _SQRT_HALF
    profiles = []
    for angle, side, bend in ((_ANGLE1, 1.0, bends[:, 0, None]), (_ANGLE2, -1.0, bends[:, 1, None])):
        c, s = np.cos(theta[:, angle, None]), np.sin(theta[:, angle, None])
        along = c * dx + s * dy
        across = side * (c * dy - s * dx)
        distance = across - 0.5 * bend * along**2
        scaled = distance * inverse
        slope = _ERF_SLOPE * np.exp(-(scaled**2)) * inverse
        by_x = side * s + bend * along * c
        by_y = -side * c + bend * along * s
        by_angle = -side * along - bend * along * (side * across)
        profiles.append((erf(scaled), slope, by_x, by_y, by_angle, distance))
    (one, slope1, x1, y1, angle1, distance1), (two, slope2, x2, y2, angle2, distance2) = profiles
    amplitude = theta[:, _AMPLITUDE, None]
    slope1 = amplitude * slope1 * two
    slope2 = amplitude * slope2 * one
    jacobian[:, _X] = slope1 * x1 + slope2 * x2
    jacobian[:, _Y] = slope1 * y1 + slope2 * y2
    jacobian[:, _ANGLE1] = slope1 * angle1
    jacobian[:, _ANGLE2] = slope2 * angle2
    jacobian[:, _LOG_BLUR] = -(slope1 * distance1 + slope2 * distance2)
    jacobian[:, _AMPLITUDE] = one * two
    jacobian[:, _OFFSET] = 1.0
    jacobian[:, _GRADIENT_X] = offsets[..., 0]
    jacobian[:, _GRADIENT_Y] = offsets[..., 1]
    predicted = (
        amplitude * jacobian[:, _AMPLITUDE]
        + theta[:, _OFFSET, None]
        + theta[:, _GRADIENT_X, None] * offsets[..., 0]
        + theta[:, _GRADIENT_Y, None] * offsets[..., 1]
    )
    return predicted - values, jacobian


def _position_sigma(jacobian: Float32, weights: Float32, cost: Float64) -> Float64:
    """Standard deviation of the position along its worse axis, (n,)."""
    normal = ((jacobian * weights[:, None]) @ jacobian.transpose(0, 2, 1)).astype(np.float64)
    freedom = np.maximum(weights.sum(axis=1) - _PARAMETERS, 1.0)
    scale = 1e-9 + np.einsum("nii->ni", normal)
    normalised = normal / np.sqrt(scale[:, :, None] * scale[:, None, :]) + 1e-9 * np.eye(_PARAMETERS)
    covariance = np.linalg.inv(normalised)[:, :2, :2] / np.sqrt(scale[:, :2, None] * scale[:, None, :2])
    trace = covariance[:, 0, 0] + covariance[:, 1, 1]
    spread = np.hypot(covariance[:, 0, 0] - covariance[:, 1, 1], 2 * covariance[:, 0, 1])
    return np.asarray(np.sqrt(np.maximum(trace + spread, 0.0) / 2 * cost / freedom))
