"""Ellipse parameters from grey values: a blurred elliptic step fitted to the profiles across its outline.

Every dot is fitted with ten parameters by Gauss-Newton least squares: centre (2), a symmetric strain of its shape
(3), the width of the edge, the grey inside and outside, and a linear change of light over the dot. Fitting the edge
where it is, instead of where a threshold puts it, keeps the centre unbiased under blur and gradients of light, and
uses all pixels near the outline. All dots are fitted at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.base import Gray
from cv3d.calibration.detection.circles.blobs import Ellipses

ANGLES = 32
OFFSETS = 9
PARAMETERS = 10
MAX_RESIDUAL = 0.13
"""RMS of the fit over the contrast, above which the outline is not a blurred ellipse."""
MAX_ARC_RESIDUAL = 0.45
"""The same over the profile that fits worst."""
MIN_STEP = 8.0
"""Smallest difference of grey between inside and outside, in levels."""
EDGE_SLOPE = 0.85
"""tanh(0.85 z) follows the blurred step 2 Phi(z) - 1 of a Gaussian blur to 0.02."""


@dataclass(frozen=True)
class EdgeFit:
    """Ellipses fitted to a picture, and how well."""

    ellipses: Ellipses
    good: NDArray[np.bool_]
    """(n,), whether the fit is a dot: it converged near its start, fits the grey values and has contrast."""
    blur: NDArray[np.float64]
    """(n,), width of the edge: standard deviation of its spread, pixels."""
    residual: NDArray[np.float64]
    """(n,), RMS of the fit as a fraction of the contrast."""
    roughness: NDArray[np.float64]
    """(n,), largest departure of the outline from the ellipse, mean over a tenth of it, pixels."""
    squareness: NDArray[np.complex128]
    """(n,), fourth harmonic of the outline's departure from the ellipse over its size, phase in the frame in which the
    ellipse is the unit circle (whitened by the inverse Cholesky factor of its shape)."""

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> EdgeFit:
        return EdgeFit(
            self.ellipses[index],
            self.good[index],
            self.blur[index],
            self.residual[index],
            self.roughness[index],
            self.squareness[index],
        )

    @staticmethod
    def join(first: EdgeFit, second: EdgeFit) -> EdgeFit:
        """Both, `first` first."""
        return EdgeFit(
            Ellipses.join([first.ellipses, second.ellipses]),
            np.concatenate([first.good, second.good]),
            np.concatenate([first.blur, second.blur]),
            np.concatenate([first.residual, second.residual]),
            np.concatenate([first.roughness, second.roughness]),
            np.concatenate([first.squareness, second.squareness]),
        )


def has_step(gray: Gray, ellipses: Ellipses) -> NDArray[np.bool_]:
    """Whether the grey changes in one sense across most of each outline, (n,): a cheap test before the fit."""
    if len(ellipses) == 0:
        return np.zeros(0, np.bool_)
    outline, normal = _outlines(ellipses, 16)
    reach = np.clip(0.3 * ellipses.semi_axes[:, 0], 1.0, 3.0)[:, None, None] * normal
    centres = ellipses.centres[:, None, :]
    outer, seen_outer = _bilinear(gray, centres + outline + reach)
    inner, seen_inner = _bilinear(gray, centres + outline - reach)
    step = np.where(seen_outer & seen_inner, outer - inner, 0.0)
    step = np.where(ellipses.light[:, None], -step, step)
    typical = np.median(step, axis=1)
    return np.asarray((typical > MIN_STEP) & ((step > 0.25 * typical[:, None]).mean(axis=1) > 0.85))


def fit_ellipses(
    gray: Gray, start: Ellipses, blur: NDArray[np.float64] | None = None, max_shift: float = 0.35
) -> EdgeFit:
    """Fits the ellipses nearest to `start` in `gray` (H, W).

    Args:
        gray: The picture.
        start: Ellipses to within about a quarter of their size.
        blur: Width of each edge where an earlier fit knows it, (n,), pixels; the profiles are then cut to fit it.
        max_shift: How far a centre may move, as a fraction of the minor semi-axis plus half a pixel.
    """
    if len(start) == 0:
        empty = np.zeros(0)
        return EdgeFit(start, np.zeros(0, np.bool_), empty, empty, empty, np.zeros(0, np.complex128))
    minor = start.semi_axes[:, 0]
    if blur is None:
        reach = np.clip(0.5 * minor, 1.8, 6.0)
        state = _gauss_newton(gray, start, reach, np.ones(len(start)), 3)
    else:
        reach = np.clip(2.2 * blur + 0.6, 1.6, np.maximum(0.8 * minor, 1.8))
        state = _gauss_newton(gray, start, reach, blur, 3)
    final = Ellipses(state.ellipses.centres, state.ellipses.shapes, state.step > 0)
    axes = final.semi_axes
    shift = np.linalg.norm(final.centres - start.centres, axis=1)
    scale = axes.prod(axis=1) / start.semi_axes.prod(axis=1)
    height, width = gray.shape
    extent = np.sqrt(np.stack([final.shapes[:, 0, 0], final.shapes[:, 1, 1]], axis=1))
    inside = (final.centres - extent > 0.0).all(axis=1)
    inside &= (final.centres + extent < np.array([width - 1.0, height - 1.0])).all(axis=1)
    good = inside & (state.residual < MAX_RESIDUAL) & (np.abs(state.step) > MIN_STEP)
    good &= (shift < max_shift * minor + 0.5) & (scale > 0.45) & (scale < 2.2)
    good &= (axes[:, 0] > 1.2) & (axes[:, 0] > 0.2 * axes[:, 1]) & (state.blur < 0.8 * axes[:, 0] + 0.5)
    good &= state.worst_arc < MAX_ARC_RESIDUAL
    return EdgeFit(final, good, state.blur, state.residual, state.roughness, state.squareness)


@dataclass(frozen=True)
class _State:
    ellipses: Ellipses
    blur: NDArray[np.float64]
    step: NDArray[np.float64]
    residual: NDArray[np.float64]
    worst_arc: NDArray[np.float64]
    roughness: NDArray[np.float64]
    squareness: NDArray[np.complex128]


@dataclass(frozen=True)
class _Profiles:
    """Samples across the outlines of n ellipses, s of each, single precision, relative to the centres."""

    t: NDArray[np.float32]
    """Signed distance from the outline, outwards, (n, s), pixels."""
    values: NDArray[np.float32]
    weight: NDArray[np.float32]
    geometry: NDArray[np.float32]
    """(n, 5, s): how far the outline moves along its normal there per unit of each parameter (pixels)."""
    light: NDArray[np.float32]
    """(n, 2, s): position in units of the size of the ellipse."""
    size: NDArray[np.float64]
    """(n,): geometric mean of the semi-axes."""


def _outlines(ellipses: Ellipses, angles: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of the outlines relative to their centres and their outward normals, each (n, angles, 2)."""
    angle = 2.0 * np.pi * np.arange(angles) / angles
    circle = np.stack([np.cos(angle), np.sin(angle)])
    factor = np.linalg.cholesky(ellipses.shapes)
    outline = (factor @ circle).transpose(0, 2, 1)
    # inv(L L') L c = inv(L') c
    normal = (np.linalg.inv(factor).transpose(0, 2, 1) @ circle).transpose(0, 2, 1)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return outline, normal


def _sample(gray: Gray, ellipses: Ellipses, reach: NDArray[np.float64]) -> _Profiles:
    """Profiles of `reach` (n,) pixels to either side, shorter where a neighbour or the evolute is near."""
    count = len(ellipses)
    outline, normal = _outlines(ellipses, ANGLES)
    depth = np.einsum("nki,nki->nk", normal, outline)
    # Radius of curvature of an ellipse: det(shape) / p^3 with p the distance of the tangent from the centre.
    curvature_radius = np.linalg.det(ellipses.shapes)[:, None] / depth**3
    outward = np.minimum(reach[:, None], _free_distance(ellipses, outline, normal))
    inward = np.minimum(reach[:, None], np.maximum(0.8 * curvature_radius, 0.6))
    t = np.linspace(-1.0, 1.0, OFFSETS) * reach[:, None]
    t = np.broadcast_to(t[:, None, :], (count, ANGLES, OFFSETS))
    where = outline[:, :, None, :] + t[..., None] * normal[:, :, None, :]
    values, visible = _bilinear(gray, ellipses.centres[:, None, None, :] + where)
    weight = visible & (t <= outward[..., None] + 1e-9) & (t >= -inward[..., None] - 1e-9)
    size = np.sqrt(np.linalg.det(ellipses.shapes)) ** 0.5
    nx, ny = normal[..., 0], normal[..., 1]
    # Strains are taken in pixels at the outline, so that all five parameters are alike in scale.
    qx, qy = outline[..., 0] / size[:, None], outline[..., 1] / size[:, None]
    geometry = np.stack([nx, ny, nx * qx, nx * qy + ny * qx, ny * qy], axis=1)
    flat = ANGLES * OFFSETS
    single = np.float32
    return _Profiles(
        t.reshape(count, flat).astype(single),
        values.reshape(count, flat).astype(single),
        weight.reshape(count, flat).astype(single),
        np.repeat(geometry, OFFSETS, axis=2).astype(single),
        (where.reshape(count, flat, 2).transpose(0, 2, 1) / size[:, None, None]).astype(single),
        size,
    )


def _gauss_newton(
    gray: Gray, ellipses: Ellipses, reach: NDArray[np.float64], blur: NDArray[np.float64], iterations: int
) -> _State:
    """Samples the profiles once and fits the model to them.

    The parameters are, in this order: shift of the centre (2), strain times size (3), edge width, grey inside, grey
    outside, change of grey along x and y over one size (2).
    """
    p = _sample(gray, ellipses, reach)
    count = len(ellipses)
    parameters = np.zeros((count, PARAMETERS))
    parameters[:, 5] = np.clip(blur, 0.4, 0.5 * reach + 0.4)
    for column, side in ((6, p.weight * (p.t < 0)), (7, p.weight * (p.t > 0))):
        parameters[:, column] = (side * p.values).sum(axis=1) / np.maximum(side.sum(axis=1), 1.0)
    jacobian = np.empty((count, PARAMETERS, p.t.shape[1]), np.float32)
    jacobian[:, 8:] = p.light * p.weight[:, None, :]
    limit = 0.5 * reach[:, None]
    diagonal = np.arange(PARAMETERS)
    for _ in range(iterations):
        error, steep, z, bend = _compare(p, parameters)
        steep = steep * p.weight
        np.multiply(p.geometry, -steep[:, None, :], out=jacobian[:, :5])
        jacobian[:, 5] = -steep * z
        jacobian[:, 6] = (0.5 - 0.5 * bend) * p.weight
        jacobian[:, 7] = (0.5 + 0.5 * bend) * p.weight
        normal = (jacobian @ jacobian.transpose(0, 2, 1)).astype(np.float64)
        gradient = (jacobian @ error[..., None]).astype(np.float64)
        scale = normal[:, diagonal, diagonal]
        normal[:, diagonal, diagonal] += 1e-3 * scale + 1e-6 * scale.max(axis=1, keepdims=True) + 1e-6
        update = np.linalg.solve(normal, gradient)[..., 0]
        update[:, :5] = np.clip(update[:, :5], -limit, limit)
        width = parameters[:, 5]
        update[:, 5] = np.clip(update[:, 5], -0.5 * width, width)
        parameters += update
        parameters[:, :5] = np.clip(parameters[:, :5], -2.0 * limit, 2.0 * limit)
        parameters[:, 5] = np.clip(parameters[:, 5], 0.25, reach)
    return _assess(ellipses, p, parameters)


def _compare(
    p: _Profiles, parameters: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Residuals of the model, its slope across the edge, the distance from the edge in widths and its tanh, (n, s)."""
    q = parameters.astype(np.float32)
    rise = q[:, 7:8] - q[:, 6:7]
    z = (p.t - (q[:, None, :5] @ p.geometry)[:, 0]) / q[:, 5:6]
    bend = np.tanh(EDGE_SLOPE * z)
    model = q[:, 6:7] + rise * (0.5 + 0.5 * bend) + (q[:, None, 8:] @ p.light)[:, 0]
    steep = (0.5 * EDGE_SLOPE * rise / q[:, 5:6]) * (1.0 - bend * bend)
    return (p.values - model) * p.weight, steep, z, bend


def _assess(ellipses: Ellipses, p: _Profiles, parameters: NDArray[np.float64]) -> _State:
    """The fitted ellipses, and what the model leaves unexplained."""
    count = len(ellipses)
    error, steep, _, _ = _compare(p, parameters)
    contrast = np.maximum(np.abs(parameters[:, 6] - parameters[:, 7]), 1e-6)
    residual = np.sqrt((error**2).sum(axis=1) / np.maximum(p.weight.sum(axis=1), 1.0)) / contrast
    profiles = (count, ANGLES, OFFSETS)
    samples = p.weight.reshape(profiles).sum(axis=2)
    arc = np.sqrt((error**2).reshape(profiles).sum(axis=2) / np.maximum(samples, 1.0))
    # What remains of each profile, seen as a displacement of the edge there.
    gain = (p.weight * steep**2).reshape(profiles).sum(axis=2)
    shift = -(steep * error).reshape(profiles).sum(axis=2) / np.maximum(gain, 1e-9)
    shift = np.where(gain > 0.1 * np.median(gain, axis=1, keepdims=True), shift, 0.0).astype(np.float64)
    smooth = (np.roll(shift, 1, axis=1) + shift + np.roll(shift, -1, axis=1)) / 3.0
    angle = 2.0 * np.pi * np.arange(ANGLES) / ANGLES
    strain = np.clip(parameters[:, 2:5] / p.size[:, None], -0.6, 0.6)
    stretch = np.eye(2) + strain[:, [[0, 1], [1, 2]]]
    shapes = stretch @ ellipses.shapes @ stretch
    return _State(
        Ellipses(ellipses.centres + parameters[:, :2], 0.5 * (shapes + shapes.transpose(0, 2, 1)), ellipses.light),
        parameters[:, 5],
        parameters[:, 6] - parameters[:, 7],
        residual.astype(np.float64),
        arc.max(axis=1) / contrast,
        np.abs(smooth).max(axis=1),
        (shift / p.size[:, None] * np.exp(-4j * angle)).mean(axis=1),
    )


def _free_distance(
    ellipses: Ellipses, outline: NDArray[np.float64], normal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far each normal runs before it is nearer to a neighbouring ellipse, (n, angles), pixels.

    The border between two neighbours is their perpendicular bisector in the metric in which this ellipse is a circle.
    """
    free = np.full(outline.shape[:2], np.inf)
    count = len(ellipses)
    if count < 2:
        return free
    precision = np.linalg.inv(ellipses.shapes)
    nearest = nearest_neighbours(ellipses.centres, min(6, count - 1))
    towards = ellipses.centres[nearest] - ellipses.centres[:, None, :]
    pull = towards @ precision
    half = 0.5 * np.einsum("nki,nki->nk", pull, towards)
    for k in range(nearest.shape[1]):
        # Neighbours that overlap (nested outlines, half the squared distance below 1) and far ones do not limit.
        near = np.flatnonzero((half[:, k] > 1.0) & (half[:, k] < 20.0))
        rate = (normal[near] @ pull[near, k, :, None])[..., 0]
        room = half[near, k, None] - (outline[near] @ pull[near, k, :, None])[..., 0]
        limit = np.where(rate > 1e-9, np.maximum(room, 0.0) / np.maximum(rate, 1e-9), np.inf)
        free[near] = np.minimum(free[near], limit)
    return free


def nearest_neighbours(points: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Indices of the `count` other points nearest to each of `points` (n, 2), (n, count), nearest first."""
    n = len(points)
    single = (points - points.mean(axis=0)).astype(np.float32)
    result = np.empty((n, count), np.intp)
    for first in range(0, n, 512):
        rows = slice(first, min(first + 512, n))
        distance = (single[rows, None, 0] - single[None, :, 0]) ** 2 + (single[rows, None, 1] - single[None, :, 1]) ** 2
        distance[np.arange(rows.stop - first), np.arange(first, rows.stop)] = np.inf
        chosen = np.argpartition(distance, count - 1, axis=1)[:, :count]
        inner = np.argsort(np.take_along_axis(distance, chosen, axis=1), axis=1)
        result[rows] = np.take_along_axis(chosen, inner, axis=1)
    return result


def _bilinear(gray: Gray, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Grey values at `points` (…, 2), and which of them lie in the picture."""
    height, width = gray.shape
    x, y = points[..., 0], points[..., 1]
    visible = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    x = np.clip(x, 0.0, width - 1.0)
    y = np.clip(y, 0.0, height - 1.0)
    left = np.minimum(x.astype(np.int32), width - 2)
    top = np.minimum(y.astype(np.int32), height - 2)
    x = (x - left).astype(np.float32)
    y = (y - top).astype(np.float32)
    pixels = gray.ravel()
    corner = top.astype(np.intp) * width + left
    upper = pixels[corner] * (1.0 - x) + pixels[corner + 1] * x
    lower = pixels[corner + width] * (1.0 - x) + pixels[corner + width + 1] * x
    return upper * (1.0 - y) + lower * y, visible
