"""Positions of many cameras and points at once from rays, the rotations being known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cv3d.errors import InputError
from cv3d.geometry.bundle.kernels import CAUCHY, HUBER
from cv3d.geometry.global_poses.position_solver import (
    Descended,
    Loss,
    PositionProblem,
    Positions,
    at_one_distance,
    at_random,
    descend,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_UNIT = 1e-6
_RAYLEIGH = 1.1774
"""Median length of two Gaussian numbers, in standard deviations."""
_BEYOND = 3.5
"""Standard deviations of one component within which 99.8 % of the angles are."""


@dataclass(frozen=True)
class PositioningOptions:
    """How cameras are placed."""

    width: float = 0.1
    """Residual of a unit ray at which Huber's loss leaves the square."""
    narrowest_deg: float = 0.1
    """Least deviation that the last loss believes of rays, degrees: rotations and intrinsics are not exact."""
    random_starts: int = 0
    """Searches from random positions besides the one from equal distances; the lowest sum counts."""
    min_observations: int = 3
    """Fewest points of a camera that is placed."""
    max_iterations: int = 100
    relative_decrease: float = 1e-5
    """A search ends when a step lowers the sum by less than this share of it."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.width > 0.0 and self.narrowest_deg > 0.0 and self.min_observations >= 2):
            raise ValueError("width and narrowest_deg are positive, and a camera has two points at least")
        if self.random_starts < 0 or self.max_iterations < 1:
            raise ValueError("random_starts is not negative and max_iterations positive")


@dataclass(frozen=True, eq=False)
class GlobalPositions:
    """Where cameras and points are."""

    centres: Floats
    """World, (n, 3). In each component the first camera is at zero, and the mean distance of the cameras from their
    middle is one. NaN for cameras that are in none."""
    points: Floats
    """World, (t, 3), t one more than the largest track; NaN for those that no two placed cameras see."""
    angles: Floats
    """Between each ray and the direction to its point, (m,), radians; NaN for observations that were not used."""
    inliers: Bools
    """Observations that agree, (m,): within what noise explains."""
    component: Ints
    """The part that each camera is in, (n,), the largest 0; -1 for none. Parts share no points, and their positions
    have nothing to do with each other."""
    iterations: int
    """Linear problems solved."""
    converged: bool
    """Whether all searches had come to rest before the iterations ran out."""
    seed: int


def position_globally(
    rotations: Floats,
    rays: Floats,
    image: Ints,
    track: Ints,
    options: PositioningOptions | None = None,
) -> GlobalPositions:
    """Centres and points from rays of cameras whose rotations are known, without a first pair or any guess.

    Minimises the robust sum of |v - d (X - c)|^2 over centres c, points X and a scale d > 0 for each ray v (Pan et al.
    2024, "Global structure-from-motion revisited"; Zhuang, Cheong and Lee 2018, "Baseline desensitizing in translation
    averaging"). Points bind cameras that relative directions do not, such as those along a line. The search starts
    where every point is as far from all that see it, which is a linear problem; it ends with a loss as wide as the
    residuals are.

    Args:
        rotations: cam_from_world, (n, 3, 3); cameras with NaN are left out.
        rays: unit directions in the cameras' frames, (m, 3).
        image: camera of each ray, (m,).
        track: point of each ray, (m,), from 0.
        options: losses and starts.

    Returns:
        The positions. Cameras that do not hang together are placed apart.

    Raises:
        InputError: shapes do not match, an index is out of range, or a ray is not of length one.
        EstimationError: the rays leave cameras open.
    """
    options = options or PositioningOptions()
    _check(rotations, rays, image, track)
    count, tracks = len(rotations), int(track.max(initial=-1)) + 1
    centres, points = np.full((count, 3), np.nan), np.full((tracks, 3), np.nan)
    angles, inliers = np.full(len(rays), np.nan), np.zeros(len(rays), dtype=np.bool_)
    component = np.full(count, -1, dtype=np.int64)
    is_known: Bools = ~np.isnan(rotations.sum(axis=(1, 2)))
    used = _usable(is_known, image, track, options.min_observations)
    iterations, converged = 0, True
    for number, part in enumerate(_parts(used, image, track)):
        images, image_of = np.unique(image[part], return_inverse=True)
        seen, track_of = np.unique(track[part], return_inverse=True)
        world = np.einsum("mji,mj->mi", rotations[image[part]], rays[part])
        problem = PositionProblem(image_of, track_of, world, len(images), len(seen))
        found = _solved(problem, options)
        middle = found.at.centres.mean(axis=0)
        spread = float(np.linalg.norm(found.at.centres - middle, axis=1).mean())
        unit = 1.0 / spread if spread > 0.0 else 1.0
        centres[images], points[seen] = found.at.centres * unit, found.at.points * unit
        angles[part] = problem.angles(found.at)
        inliers[part] = angles[part] <= _BEYOND * _spread(angles[part], options)
        component[images] = number
        iterations, converged = iterations + found.iterations, converged and found.converged
    return GlobalPositions(centres, points, angles, inliers, component, iterations, converged, options.seed)


def _solved(problem: PositionProblem, options: PositioningOptions) -> Descended:
    """The best of the starts, brought to its minimum with the last loss."""
    wide = Loss(HUBER, options.width)
    starts: list[Positions] = [at_one_distance(problem)]
    starts += [at_random(problem, options.seed + k) for k in range(options.random_starts)]
    searches = [descend(problem, at, wide, options.max_iterations, options.relative_decrease) for at in starts]
    best = min(searches, key=lambda found: found.cost)
    narrow = Loss(CAUCHY, _BEYOND * _spread(problem.angles(best.at), options))
    last = descend(problem, best.at, narrow, options.max_iterations, options.relative_decrease)
    total = last.iterations + sum(found.iterations for found in searches)
    return Descended(last.at, last.cost, total, last.converged)


def _spread(angles: Floats, options: PositioningOptions) -> float:
    """Standard deviation of one component of rays, radians."""
    narrowest = float(np.radians(options.narrowest_deg))
    return float(np.clip(np.median(angles) / _RAYLEIGH, narrowest, max(narrowest, options.width / _BEYOND)))


def _usable(is_known: Bools, image: Ints, track: Ints, least: int) -> Ints:
    """Observations of points that two known cameras see, in cameras with enough of them; sorted by point."""
    used = np.flatnonzero(is_known[image])
    while len(used):
        pairs = np.unique(np.stack([image[used], track[used]]), axis=1)
        views = np.bincount(pairs[1], minlength=int(track.max()) + 1)
        seen = np.bincount(pairs[0], minlength=len(is_known))
        keep = (views[track[used]] >= 2) & (seen[image[used]] >= least)
        if keep.all():
            break
        used = used[keep]
    return used[np.argsort(track[used], kind="stable")]


def _parts(used: Ints, image: Ints, track: Ints) -> Iterator[Ints]:
    """Observations of each set of cameras that points connect, by point; the set with the most cameras first."""
    if not len(used):
        return
    count = int(image[used].max()) + 1
    nodes = count + int(track[used].max()) + 1
    links = coo_matrix((np.ones(len(used)), (image[used], count + track[used])), shape=(nodes, nodes))
    _, label = connected_components(links, directed=False)
    of_images = label[np.unique(image[used])]
    labels, first, sizes = np.unique(of_images, return_index=True, return_counts=True)
    for which in np.lexsort((first, -sizes)):
        yield used[label[image[used]] == labels[which]]


def _check(rotations: Floats, rays: Floats, image: Ints, track: Ints) -> None:
    count, observations = len(rotations), len(rays)
    shapes = (rotations.shape, rays.shape, image.shape, track.shape)
    if shapes != ((count, 3, 3), (observations, 3), (observations,), (observations,)):
        raise InputError(f"arrays of cameras and observations do not match in shape: {shapes}")
    if observations and (image.min() < 0 or image.max() >= count or track.min() < 0):
        raise InputError(f"an observation is of a camera beyond the {count} that there are, or of a negative track")
    off = np.flatnonzero(~(np.abs(np.einsum("mi,mi->m", rays, rays) - 1.0) < _UNIT))
    if len(off):
        raise InputError(f"the ray of observation {off[0]} is not of length one")
