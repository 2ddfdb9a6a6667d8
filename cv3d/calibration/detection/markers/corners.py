"""Corners of boards with markers: where they are expected, and where they are, well below the pixel.

A corner is refined by least squares between the picture and a blurred ideal: the crossing of two edges (a saddle,
where four squares meet) or the end of two edges (the corner of a tag that stands alone). Only pixels that the markers
cannot reach take part: a strip along each edge no wider than the white between a square's edge and its marker.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.calibration.detection.base import Gray

MAX_RADIUS = 10
"""Pixels further than this from a corner say little about it that nearer ones do not."""
_MIN_RADIUS = 2.5
_ITERATIONS = 12
_MIN_AMPLITUDE = 3.0
"""Least half difference of light and dark, grey levels."""
_MIN_EXPLAINED = 0.5
"""Least share of the variance around a corner that the model must explain."""
_GOOD_EXPLAINED = 0.9
_RECENTRE = 0.7
"""Movement of a corner, in pixels, that calls for another choice of pixels."""
_MIN_PIXELS = 12
_MARGIN = 2.5
"""Corners nearer than this to the rim of the picture are seen from one side only."""
_MAX_TURN = 0.5
"""Most that an edge may turn away from its expected direction, radians."""
_RIDGE = 1e-6


@dataclass(frozen=True)
class CornerFit:
    """The result of :func:`refine_corners`, one entry a corner."""

    pixels: NDArray[np.float64]
    """Refined positions, (n, 2)."""
    sound: NDArray[np.bool_]
    """Whether the picture really shows such a corner, of the right polarity, near the place expected, (n,)."""
    amplitude: NDArray[np.float64]
    """Half the difference of light and dark, grey levels, (n,)."""
    explained: NDArray[np.float64]
    """Share of the local variance that the model explains, (n,)."""


def predict(
    targets: NDArray[np.float64],
    board: NDArray[np.float64],
    pixels: NDArray[np.float64],
    nearest: int,
    *,
    leave_out: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where board points appear, by a homography through the `nearest` known points around each of them.

    Homographies that are as local as this follow even a strong fisheye distortion.

    Args:
        targets: points wanted, (n, 2) board coordinates.
        board: board coordinates of known points, (m, 2), m >= 3.
        pixels: their places in the picture, (m, 2).
        nearest: how many known points are used for each target.
        leave_out: whether a known point that is the target itself is left out, to compare the two.

    Returns:
        Pixels (n, 2), and the local axes (n, 2, 2): its columns are the pixel steps of one board unit along x and y.
    """
    chosen = _nearest(targets, board, nearest, leave_out)
    source = board[chosen] - targets[:, None]
    image = pixels[chosen]
    centre = image.mean(axis=1)
    scale = np.linalg.norm(image - centre[:, None], axis=2).mean(axis=1) + 1e-9
    x, y = source[..., 0], source[..., 1]
    u, v = np.moveaxis((image - centre[:, None]) / scale[:, None, None], 2, 0)
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows_u = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=2)
    rows_v = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=2)
    design = np.concatenate([rows_u, rows_v], axis=1)
    normal = design.transpose(0, 2, 1) @ design
    trace = np.trace(normal, axis1=1, axis2=2)
    # With three points, or points in a line of four, the perspective terms are free: a faint pull makes them vanish.
    normal += np.diag([1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1.0, 1.0]) * (_RIDGE * trace)[:, None, None]
    right = design.transpose(0, 2, 1) @ np.concatenate([u, v], axis=1)[..., None]
    h = np.linalg.solve(normal, right)[..., 0]
    place = h[:, [2, 5]]
    axes = np.stack([h[:, [0, 3]] - place * h[:, 6:7], h[:, [1, 4]] - place * h[:, 7:8]], axis=2)
    return place * scale[:, None] + centre, axes * scale[:, None, None]


def extrapolate(
    targets: NDArray[np.float64],
    board: NDArray[np.float64],
    pixels: NDArray[np.float64],
    nearest: int,
    *,
    leave_out: bool = False,
) -> NDArray[np.float64]:
    """Where board points appear beyond the known ones, by a parabola through the `nearest` of them, (n, 2) pixels.

    Past the last known point a homography misses the bend that a strong distortion gives to the lattice. Arguments as
    in :func:`predict`; the known points have to be exact to a fraction of a pixel.
    """
    chosen = _nearest(targets, board, nearest, leave_out)
    count = chosen.shape[1]
    x, y = np.moveaxis(board[chosen] - targets[:, None], 2, 0)
    design = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=2)
    normal = design.transpose(0, 2, 1) @ design
    # Known points in two lines leave some curvatures free: a faint pull makes them vanish.
    normal += np.diag([0.0, 1e-9, 1e-9, 1e-4, 1e-4, 1e-4]) * count
    return np.asarray(np.linalg.solve(normal, design.transpose(0, 2, 1) @ pixels[chosen])[:, 0])


def _nearest(
    targets: NDArray[np.float64], board: NDArray[np.float64], nearest: int, leave_out: bool
) -> NDArray[np.int64]:
    """Indices of the board points nearest to each target, (n, k)."""
    count = min(nearest, len(board) - leave_out)
    distance = np.linalg.norm(targets[:, None] - board[None], axis=2)
    if leave_out:
        distance[distance < 1e-9] = np.inf
    return np.asarray(np.argpartition(distance, count - 1, axis=1)[:, :count], dtype=np.int64)


def refine_corners(
    gray: Gray,
    guess: NDArray[np.float64],
    axes: NDArray[np.float64],
    *,
    polarity: NDArray[np.float64],
    saddle: NDArray[np.bool_],
    strip: float,
    reach: float,
    backwards: float | None = None,
    search: float,
) -> CornerFit:
    """Fit blurred corners to the picture.

    The model is `level + amplitude * polarity * f(tanh(d1 / blur), tanh(d2 / blur))` with the signed distances d1, d2
    to two lines through the corner; f is their product for a saddle, and -1 inside the quadrant between the positive
    axes and +1 elsewhere for a lone corner. Seven parameters a corner, Gauss-Newton with Levenberg's damping, all
    corners at once.

    Args:
        gray: (H, W) uint8.
        guess: expected positions, (n, 2) pixels.
        axes: expected pixel steps of one board unit along x and y, (n, 2, 2) in columns, as :func:`predict` gives them.
        polarity: (n,), +1 where the quadrant between the positive axes is light (saddle) or dark (lone corner),
            -1 where it is the other way round.
        saddle: the kind of each corner, (n,).
        strip: half width of the strip along each edge that is free of other print, board units.
        reach: how far along the edges pixels are used, board units.
        backwards: how far against the axes pixels are used, board units; None: as far as `reach`.
        search: how far from the guess the corner may lie, board units.
    """
    if not len(guess):
        return CornerFit(guess.reshape(0, 2), np.zeros(0, bool), np.zeros(0), np.zeros(0))
    unit = np.sqrt(np.abs(np.linalg.det(axes)))
    task = _Task(
        gray,
        axes,
        polarity,
        saddle,
        radius=np.clip(reach * unit, _MIN_RADIUS, MAX_RADIUS),
        strip=np.maximum(strip, 1.2 / unit),
        behind=np.full(len(guess), np.inf) if backwards is None else np.maximum(backwards, 1.2 / unit),
    )
    everyone = np.arange(len(guess))
    pixels, state, explained = task.solve(everyone, guess)
    # A fit that is not good may have begun too far away: begin again where the gradients meet.
    poor = np.flatnonzero(explained < _GOOD_EXPLAINED)
    if len(poor):
        window = np.clip(strip * unit[poor], _MIN_RADIUS, MAX_RADIUS)
        again = task.solve(poor, _approach(gray, guess[poor], window, search * unit[poor]))
        gained = again[2] > explained[poor]
        for old, new in zip((pixels, state, explained), again, strict=True):
            old[poor[gained]] = new[gained]
    # The pixels that take part are chosen around the start; where the corner turned out to lie elsewhere, choose anew.
    far = np.flatnonzero((np.linalg.norm(pixels - guess, axis=1) > _RECENTRE) & (explained >= _MIN_EXPLAINED))
    if len(far):
        for old, new in zip((pixels, state, explained), task.solve(far, pixels[far]), strict=True):
            old[far] = new
    moved = np.linalg.norm(pixels - guess, axis=1)
    turned = np.abs((state[:, 2:4] - _edge_angles(axes) + np.pi / 2) % np.pi - np.pi / 2).max(axis=1)
    sound = (
        (state[:, 5] >= _MIN_AMPLITUDE)
        & (explained >= _MIN_EXPLAINED)
        & (moved <= np.maximum(search * unit, 1.5))
        & (turned < _MAX_TURN)
    )
    inside = (pixels >= _MARGIN).all(axis=1) & (pixels <= np.array(gray.shape[::-1]) - 1.0 - _MARGIN).all(axis=1)
    return CornerFit(pixels, sound & inside, state[:, 5], explained)


@dataclass(frozen=True)
class _Task:
    """What the fits of a set of corners have in common; the arrays hold one entry a corner."""

    gray: Gray
    axes: NDArray[np.float64]
    polarity: NDArray[np.float64]
    saddle: NDArray[np.bool_]
    radius: NDArray[np.float64]
    strip: NDArray[np.float64]
    behind: NDArray[np.float64]

    def solve(
        self, which: NDArray[np.int64], start: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Fit the corners `which` from their starts (k, 2): pixels (k, 2), parameters (k, 7), share explained (k,)."""
        axes = self.axes[which]
        values, offset, weight = _patches(
            self.gray, start, axes, self.radius[which], self.strip[which], self.behind[which]
        )
        base = np.rint(start)
        state, explained = _fit(values, offset, weight, start - base, axes, self.polarity[which], self.saddle[which])
        explained[weight.sum(axis=1) < _MIN_PIXELS] = 0.0
        return base + state[:, :2], state, explained


def _approach(
    gray: Gray,
    guess: NDArray[np.float64],
    window: NDArray[np.float64],
    limit: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Move guesses near the corner by Forstner's gradient method (OpenCV's), each with its own window."""
    result = guess.copy()
    half = np.floor(window).astype(int)
    inside = (guess > 1.0).all(axis=1) & (guess < np.array(gray.shape[::-1]) - 2.0).all(axis=1)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.02)
    for size in np.unique(half[inside]):
        chosen = np.flatnonzero(inside & (half == size))
        points = guess[chosen, None].astype(np.float32)
        moved = cv2.cornerSubPix(gray, points, (int(size), int(size)), (-1, -1), criteria)[:, 0].astype(np.float64)
        near = np.linalg.norm(moved - guess[chosen], axis=1) <= np.maximum(limit[chosen], 1.0)
        result[chosen[near]] = moved[near]
    return result


def _edge_angles(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions of the two edges, (n, 2) radians: along board x and along board y."""
    return np.arctan2(axes[:, 1], axes[:, 0])


def _patches(
    gray: Gray,
    centre: NDArray[np.float64],
    axes: NDArray[np.float64],
    radius: NDArray[np.float64],
    strip: NDArray[np.float64],
    behind: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Grey values (n, p), offsets from the rounded centre (p, 2), and 1 for each pixel that takes part, (n, p)."""
    size = int(np.ceil(radius.max()))
    dy, dx = np.mgrid[-size : size + 1, -size : size + 1]
    offset = np.stack([dx.ravel(), dy.ravel()], axis=1).astype(np.float64)
    base = np.rint(centre)
    x = base[:, :1].astype(np.int64) + offset[:, 0].astype(np.int64)
    y = base[:, 1:].astype(np.int64) + offset[:, 1].astype(np.int64)
    height, width = gray.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    values = gray[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)].astype(np.float64)
    from_centre = offset[None] - (centre - base)[:, None]
    board = np.einsum("nij,npj->npi", np.linalg.inv(axes), from_centre)
    near_edge = np.abs(board).min(axis=2) <= strip[:, None]
    before = board.min(axis=2) >= -behind[:, None]
    near = np.linalg.norm(from_centre, axis=2) <= radius[:, None]
    return values, offset, (inside & near_edge & before & near).astype(np.float64)


def _fit(
    values: NDArray[np.float64],
    offset: NDArray[np.float64],
    weight: NDArray[np.float64],
    start: NDArray[np.float64],
    axes: NDArray[np.float64],
    polarity: NDArray[np.float64],
    saddle: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit (x, y, angle 1, angle 2, level, amplitude, blur); returns them, (n, 7), and the share explained, (n,)."""
    count = len(values)
    total = np.maximum(weight.sum(axis=1), 1.0)
    mean = (values * weight).sum(axis=1) / total
    variance = ((values - mean[:, None]) ** 2 * weight).sum(axis=1) / total
    state = np.concatenate([start, _edge_angles(axes), np.zeros((count, 2)), np.full((count, 1), 1.2)], axis=1)
    state[:, 4], state[:, 5] = mean, np.sqrt(variance)
    damping = np.full(count, 1e-2)
    model, jacobian = _model(state, offset, polarity, saddle)
    cost = ((values - model) ** 2 * weight).sum(axis=1)
    for _ in range(_ITERATIONS):
        weighted = jacobian * weight[:, :, None]
        normal = weighted.transpose(0, 2, 1) @ jacobian
        diagonal = np.einsum("nii->ni", normal)
        damped = normal + np.einsum(
            "ni,ij->nij", diagonal * damping[:, None] + 1e-9 * (1.0 + diagonal.max(axis=1))[:, None], np.eye(7)
        )
        step = np.linalg.solve(damped, (weighted.transpose(0, 2, 1) @ (values - model)[..., None]))[..., 0]
        length = np.linalg.norm(step[:, :2], axis=1)
        step *= np.minimum(1.0, 2.0 / np.maximum(length, 1e-12))[:, None]
        trial = state + step
        trial[:, 6] = np.clip(trial[:, 6], 0.3, 6.0)
        trial_model, trial_jacobian = _model(trial, offset, polarity, saddle)
        trial_cost = ((values - trial_model) ** 2 * weight).sum(axis=1)
        better = trial_cost <= cost
        state = np.where(better[:, None], trial, state)
        model = np.where(better[:, None], trial_model, model)
        jacobian = np.where(better[:, None, None], trial_jacobian, jacobian)
        cost = np.where(better, trial_cost, cost)
        damping = np.where(better, damping * 0.2, damping * 8.0)
        if (np.linalg.norm(step[:, :2], axis=1) < 1e-3).all():
            break
    return state, 1.0 - cost / np.maximum(variance * total, 1e-9)


def _model(
    state: NDArray[np.float64], offset: NDArray[np.float64], polarity: NDArray[np.float64], saddle: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grey values (n, p) and their derivatives (n, p, 7)."""
    x = offset[None, :, 0] - state[:, :1]
    y = offset[None, :, 1] - state[:, 1:2]
    cos1, sin1 = np.cos(state[:, 2:3]), np.sin(state[:, 2:3])
    cos2, sin2 = np.cos(state[:, 3:4]), np.sin(state[:, 3:4])
    level, amplitude, blur = state[:, 4:5], state[:, 5:6], state[:, 6:7]
    d1, along1 = cos1 * y - sin1 * x, cos1 * x + sin1 * y
    d2, along2 = sin2 * x - cos2 * y, cos2 * x + sin2 * y
    t1, t2 = np.tanh(d1 / blur), np.tanh(d2 / blur)
    crossing = saddle[:, None]
    sign = polarity[:, None]
    shape = sign * np.where(crossing, t1 * t2, 1.0 - 0.5 * (1.0 + t1) * (1.0 + t2))
    by_t1 = sign * np.where(crossing, t2, -0.5 * (1.0 + t2))
    by_t2 = sign * np.where(crossing, t1, -0.5 * (1.0 + t1))
    by_d1 = amplitude * by_t1 * (1.0 - t1 * t1) / blur
    by_d2 = amplitude * by_t2 * (1.0 - t2 * t2) / blur
    jacobian = np.stack(
        [
            sin1 * by_d1 - sin2 * by_d2,
            cos2 * by_d2 - cos1 * by_d1,
            -along1 * by_d1,
            along2 * by_d2,
            np.ones_like(d1),
            shape,
            -(d1 * by_d1 + d2 * by_d2) / blur,
        ],
        axis=2,
    )
    return level + amplitude * shape, jacobian
