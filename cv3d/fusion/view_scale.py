"""What a set of depth maps says of itself: how far it sees, how large it is, how well its maps agree.

A set of pictures has no metres. Its world is brought to a size at which the grid's defaults, which are metres, fit: its
depth is about two of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import EstimationError
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.options import DepthNoise
from cv3d.geometry.cameras.rig import inverse_rigid

Floats = NDArray[np.float64]

TYPICAL_M = 2.0
"""Median depth of a normalised world, metres."""
_SAMPLED = 6000
"""Pixels of a map that are looked at."""
_COMPARED = 16
"""Maps that are compared with each other at most: evenly spread over the set."""
_SAME = 0.05
"""Difference of two depths, as a share of them, up to which they are of one surface."""
_LEAST_PAIRS = 500
_BINS = 6
_QUANTILE, _SIGMAS = 0.9, 1.645
"""Share of the differences, and the standard deviations that a normal law has it within: those of maps have long tails,
which the median would not see."""
_LEAST_PIXELS = 0.4
"""Spread of the depth at least, pixels' footprints at the median depth: maps that were made from each other agree
better than they are right."""
_RANGE_QUANTILE, _RANGE_TIMES = 0.9, 2.0
_CELL = 24
"""Edge of the cells by which the surface's area is estimated, pixels' footprints."""
_PER_CELL = 1.3
"""Area in a cell that a surface passes through, squares of its edge."""


@dataclass(frozen=True, eq=False)
class WorldScale:
    """How the set's world is normalised."""

    origin: Floats
    """(3,) what becomes the origin, in the set's world."""
    per_unit: float
    """Normalised metres of one unit."""

    def normalised(self, frame: DepthFrame) -> DepthFrame:
        """A frame in the normalised world; itself undistorted first."""
        ideal = frame.undistorted()
        pose = ideal.cam_from_world.copy()
        pose[:3, 3] = (pose[:3, :3] @ self.origin + pose[:3, 3]) * self.per_unit
        depth = (ideal.depth * np.float32(self.per_unit)).astype(np.float32, copy=False)
        return DepthFrame(depth, ideal.color, ideal.camera, pose, ideal.weight)

    def points(self, points: NDArray[np.floating]) -> Floats:
        """Points (n, 3) of the set's world in the normalised one."""
        return np.asarray((points - self.origin) * self.per_unit, np.float64)

    def points_back(self, points: NDArray[np.floating]) -> Floats:
        """The way back."""
        return np.asarray(points / self.per_unit + self.origin, np.float64)


@dataclass(frozen=True, eq=False)
class SetStatistics:
    """What a set of maps is like, in the normalised world."""

    scale: WorldScale
    depth_quantiles: Floats
    """(101,) of the depth, metres."""
    footprint: float
    """What a pixel covers at the median depth, metres."""
    area: float
    """Of what is seen, about, square metres."""
    noise: DepthNoise | None
    """As the maps agree; None where too few of them overlap."""

    @property
    def typical(self) -> float:
        """Median depth."""
        return float(self.depth_quantiles[50])


def look_at(frames: Iterable[DepthFrame]) -> SetStatistics:
    """Look at all maps of a set once.

    Raises:
        EstimationError: there is no depth at all.
    """
    depths, points, footprints = [], [], []
    kept: list[DepthFrame] = []
    every = 1
    for i, raw in enumerate(frames):
        frame = raw.undistorted()
        z, there = _sampled(frame)
        depths.append(z)
        points.append(there)
        footprints.append(z / math.sqrt(frame.camera.params[0] * frame.camera.params[1]))
        if i % every == 0:
            kept.append(DepthFrame(frame.depth, None, frame.camera, frame.cam_from_world))
        if len(kept) > _COMPARED:
            kept, every = kept[::2], 2 * every
    depth = np.concatenate(depths) if depths else np.zeros(0)
    if not len(depth):
        raise EstimationError("the maps have no depth at all: there is no surface")
    per_unit = TYPICAL_M / float(np.median(depth))
    together = np.concatenate(points)
    scale = WorldScale(np.median(together, axis=0), per_unit)
    footprint = float(np.median(np.concatenate(footprints))) * per_unit
    quantiles = np.quantile(depth, np.linspace(0.0, 1.0, 101)) * per_unit
    near = scale.points(together[depth * per_unit <= _range_of(quantiles)])
    cell = _CELL * footprint
    area = _PER_CELL * cell**2 * len(np.unique(np.floor(near / cell), axis=0))
    noise = _agreement([scale.normalised(one) for one in kept], footprint)
    return SetStatistics(scale, quantiles, footprint, area, noise)


def range_of(statistics: SetStatistics) -> float:
    """How far depth is to be trusted where nothing is said of it, metres."""
    return _range_of(statistics.depth_quantiles)


def _range_of(quantiles: Floats) -> float:
    return float(min(_RANGE_TIMES * quantiles[int(100 * _RANGE_QUANTILE)], 1.01 * quantiles[100]))


def _sampled(frame: DepthFrame) -> tuple[Floats, Floats]:
    """Depth of evenly spread pixels that have one, (n,), and their points in the world, (n, 3)."""
    step = max(1, round(math.sqrt(frame.depth.size / _SAMPLED)))
    rows, columns = np.nonzero(np.nan_to_num(frame.depth[::step, ::step], posinf=0.0) > 0.0)
    z = frame.depth[rows * step, columns * step].astype(np.float64)
    fx, fy, cx, cy = frame.camera.params[:4]
    local = np.stack([(columns * step - cx) / fx * z, (rows * step - cy) / fy * z, z], axis=1)
    back = inverse_rigid(frame.cam_from_world)
    return z, local @ back[:3, :3].T + back[:3, 3]


def _agreement(frames: Sequence[DepthFrame], footprint: float) -> DepthNoise | None:
    """The noise by which maps differ from each other where they show the same surface; no less than a pixel's part."""
    far, off = [], []
    for i, one in enumerate(frames):
        _, points = _sampled(one)
        for j, other in enumerate(frames):
            if i != j:
                z, gap = _differences(points, other)
                far.append(z)
                off.append(gap)
    depth, gaps = (np.concatenate(part) if part else np.zeros(0) for part in (far, off))
    if len(depth) < _LEAST_PAIRS:
        return None
    edges = np.quantile(depth, np.linspace(0.0, 1.0, _BINS + 1))
    rows, values = [], []
    for low, high in pairwise(edges):
        inside = (depth >= low) & (depth <= high)
        if inside.sum() < _LEAST_PAIRS / _BINS:
            continue
        middle = float(np.median(depth[inside]))
        # Two maps differ by the noise of both.
        spread = float(np.quantile(np.abs(gaps[inside]), _QUANTILE)) / (_SIGMAS * math.sqrt(2.0))
        rows.append([1.0 / middle**2, middle**2])
        values.append((spread / middle) ** 2)
    from scipy.optimize import nnls

    base, quadratic = nnls(np.array(rows), np.array(values))[0]
    typical = math.sqrt(base + quadratic * TYPICAL_M**4)
    least = _LEAST_PIXELS * footprint
    if typical < least:
        return DepthNoise(0.5 * least, 0.87 * least / TYPICAL_M**2)
    return DepthNoise(max(math.sqrt(base), 0.25 * typical), math.sqrt(quadratic))


def _differences(points: Floats, other: DepthFrame) -> tuple[Floats, Floats]:
    """Where another map shows points of one: its depth there, and by how much it is more than theirs."""
    there = points @ other.cam_from_world[:3, :3].T + other.cam_from_world[:3, 3]
    there = there[there[:, 2] > 1e-6]
    fx, fy, cx, cy = other.camera.params[:4]
    u, v = fx * there[:, 0] / there[:, 2] + cx, fy * there[:, 1] / there[:, 2] + cy
    inside = (u >= 0) & (v >= 0) & (u < other.camera.width - 1) & (v < other.camera.height - 1)
    u, v, z = u[inside], v[inside], there[inside, 2]
    column, row = u.astype(np.int64), v.astype(np.int64)
    corners = np.stack([other.depth[row + i, column + j] for i in (0, 1) for j in (0, 1)])
    whole = (corners > 0.0).all(axis=0) & (np.ptp(corners, axis=0) < _SAME * z)
    inverse = 1.0 / np.where(corners > 0.0, corners, 1.0)
    across, down = u - column, v - row
    upper = inverse[0] + across * (inverse[1] - inverse[0])
    lower = inverse[2] + across * (inverse[3] - inverse[2])
    seen = 1.0 / (upper + down * (lower - upper))
    same = whole & (np.abs(seen - z) < _SAME * z)
    return z[same], (seen - z)[same]
