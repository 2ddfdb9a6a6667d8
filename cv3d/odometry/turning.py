"""Whether a camera merely turns, and the focal length by which its rotations explain the pictures.

Hartley, "Self-calibration of stationary cameras", IJCV 22(1), 1997: pictures from one place are related by
K R K^-1. With square pixels and the principal point in the middle, K is one number, and for each value of it the
rotations follow directly; so one number is searched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.odometry.corners import find_corners
from cv3d.odometry.patches import build_levels

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Picture = NDArray[np.uint8]

_SIDE = 320
"""Longer side of the pictures in which points are followed."""
_CORNERS = 250
_APART = 6.0
_SURVIVING = 0.5
"""Share of an anchor's points left at which the next one begins."""
_FEWEST = 30
_BACK_AND_FORTH = 0.5
"""Most by which a point may miss its beginning when it is followed back, pixels."""
_LEAST_MOTION = 2.0
"""Median motion below which two pictures are as good as one, pixels."""
_LEFT_OVER = 0.5
"""Median error under a rotation up to which a pair counts as turned, pixels."""
_TURNED = 0.9
"""Share of the pairs that have to."""
_LOW, _HIGH, _STEPS = 0.25, 5.0, 31
_SCALE = 0.5
"""Of the robust loss, pixels."""
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True, eq=False)
class Pair:
    """Points in two pictures, relative to the middle of the picture."""

    first: Floats
    """(n, 2) pixels."""
    second: Floats
    """(n, 2) pixels."""


@dataclass(frozen=True, eq=False)
class Followed:
    """Points followed through a recording."""

    pairs: tuple[Pair, ...]
    """Of anchors with the last picture that still shows enough of each, and with one on the way there."""
    side: float
    """Longer side of the pictures in which they were followed, pixels."""


@dataclass(frozen=True)
class Turning:
    """A camera that stays in its place."""

    focal: float
    """Pixels of the source's pictures."""
    deviation: float
    """Of it; infinite where the rotations do not tell."""


def follow_turning(pictures: Sequence[Picture]) -> Followed:
    """Follow points from picture to picture, each from its anchor on.

    Args:
        pictures: (H, W) grey, all of one size.
    """
    height, width = pictures[0].shape
    factor = min(1.0, _SIDE / max(height, width))
    size = (round(width * factor), round(height * factor))
    middle = np.array([(size[0] - 1) / 2.0, (size[1] - 1) / 2.0])
    pairs: list[Pair] = []
    start = now = np.zeros((0, 2), np.float32)
    begun, previous, trail = 0, None, list[tuple[Pixels, Pixels]]()
    for picture in pictures:
        if picture.shape != (height, width):
            continue
        gray = picture if factor == 1.0 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        gray = np.asarray(gray, np.uint8)
        if previous is not None and len(now):
            followed, kept = _follow(previous, gray, now)
            if int(kept.sum()) < max(_SURVIVING * begun, _FEWEST):
                pairs += _pairs(trail, middle)
                start, trail = np.zeros((0, 2), np.float32), []
            else:
                start, now = start[kept], followed[kept]
                trail.append((start, now))
        if not len(start):
            base = gray if previous is None or not len(now) else previous
            start = find_corners(build_levels(base), np.zeros((0, 2), np.float32), _CORNERS, _APART)
            now, begun = start.copy(), len(start)
            if base is previous and len(start):
                followed, kept = _follow(base, gray, now)
                start, now = start[kept], followed[kept]
                trail.append((start, now))
        previous = gray
    pairs += _pairs(trail, middle)
    return Followed(tuple(pairs), float(max(size)))


def focal_of_turning(followed: Followed, size: tuple[int, int]) -> Turning | None:
    """The focal length of a camera that only turns.

    Args:
        followed: points through the recording.
        size: width and height of its pictures, pixels.

    Returns:
        The focal length; its deviation is infinite where the camera stands still. None where it moves, or where
        nothing could be followed.
    """
    moving = [pair for pair in followed.pairs if _motion(pair) > _LEAST_MOTION]
    default = Turning(float(max(size)), math.inf)
    if not moving:
        return default if followed.pairs else None
    low, high = math.log(_LOW * followed.side), math.log(_HIGH * followed.side)
    grid = np.linspace(low, high, _STEPS)
    costs = [_cost(moving, math.exp(value), _SCALE) for value in grid]
    best = int(np.argmin(costs))
    at = _least(moving, float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _STEPS - 1)]))
    left = [np.linalg.norm(_errors(pair, math.exp(at)), axis=1) for pair in moving]
    if np.mean([float(np.median(one)) < _LEFT_OVER for one in left]) < _TURNED:
        return None
    noise = max(float(np.median(np.concatenate(left))) / 1.17741, 0.05)
    step = 0.02
    around = [_cost(moving, math.exp(at + shift), noise) for shift in (-step, 0.0, step)]
    curvature = (around[0] - 2.0 * around[1] + around[2]) / step**2
    is_inside = 0 < best < _STEPS - 1 and curvature > 0.0
    focal = math.exp(at) * max(size) / followed.side
    return Turning(focal, focal / math.sqrt(curvature) if is_inside else math.inf)


def _follow(first: Picture, second: Picture, points: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """Points followed from one picture to the next, and which of them come back to where they were."""
    options = {"winSize": (15, 15), "maxLevel": 3}
    there, found, _ = cv2.calcOpticalFlowPyrLK(first, second, points[:, None], None, **options)  # type: ignore[call-overload]
    back, again, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None, **options)  # type: ignore[call-overload]
    ends = np.asarray(there, np.float32).reshape(-1, 2)
    missed = np.linalg.norm(np.asarray(back, np.float32).reshape(-1, 2) - points, axis=1)
    limit = np.array(second.shape[::-1], np.float32) - 1.0
    inside = ((ends >= 0.0) & (ends <= limit)).all(axis=1)
    return ends, (found.ravel() > 0) & (again.ravel() > 0) & (missed < _BACK_AND_FORTH) & inside


def _pairs(trail: list[tuple[Pixels, Pixels]], middle: Floats) -> list[Pair]:
    """An anchor with the last of its pictures, and with the one halfway."""
    chosen = sorted({len(trail) // 2, len(trail) - 1}) if trail else []
    return [
        Pair(trail[i][0].astype(np.float64) - middle, trail[i][1].astype(np.float64) - middle)
        for i in chosen
        if len(trail[i][0]) >= _FEWEST
    ]


def _motion(pair: Pair) -> float:
    return float(np.median(np.linalg.norm(pair.second - pair.first, axis=1)))


def _rays(pixels: Floats, focal: float) -> Floats:
    rays = np.concatenate([pixels / focal, np.ones((len(pixels), 1))], axis=1)
    unit: Floats = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return unit


def _errors(pair: Pair, focal: float) -> Floats:
    """What the likeliest rotation leaves in the second picture, (n, 2) pixels."""
    a, b = _rays(pair.first, focal), _rays(pair.second, focal)
    weights = np.ones(len(a))
    errors = np.zeros((len(a), 2))
    for _ in range(6):
        u, _, vt = np.linalg.svd((weights[:, None] * b).T @ a)
        rotation = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
        turned = a @ rotation.T
        errors = focal * turned[:, :2] / np.maximum(turned[:, 2:], 1e-3) - pair.second
        weights = 1.0 / (1.0 + (errors**2).sum(axis=1) / _SCALE**2)
    return errors


def _cost(pairs: list[Pair], focal: float, scale: float) -> float:
    """Half of Cauchy's loss over all pairs, errors in units of `scale`."""
    return sum(0.5 * float(np.log1p((_errors(pair, focal) ** 2).sum(axis=1) / scale**2).sum()) for pair in pairs)


def _least(pairs: list[Pair], low: float, high: float) -> float:
    """Logarithm of the focal length of least cost between two, by golden sections."""
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    costs = [_cost(pairs, math.exp(value), _SCALE) for value in inner]
    while high - low > 1e-4:
        if costs[0] < costs[1]:
            high, inner[1], costs[1] = inner[1], inner[0], costs[0]
            inner[0] = high - _GOLDEN * (high - low)
            costs[0] = _cost(pairs, math.exp(inner[0]), _SCALE)
        else:
            low, inner[0], costs[0] = inner[0], inner[1], costs[1]
            inner[1] = low + _GOLDEN * (high - low)
            costs[1] = _cost(pairs, math.exp(inner[1]), _SCALE)
    return 0.5 * (low + high)
