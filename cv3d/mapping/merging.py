"""Maps that turn out to show the same become one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.absolute_orientation import absolute_orientation
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.mapping.adjusting import adjust
from cv3d.mapping.growing import GrowOptions
from cv3d.mapping.intrinsics import RADIAL, KnownCamera
from cv3d.mapping.state import MapState

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_SAMPLES = 1000
_JUDGES = 1000
"""Points by which the samples are judged."""
_FEWEST = 20
"""Points in common that have to agree."""
_SHARE = 0.5
"""The same over all points in common: look-alikes agree in small parts only."""
_CLOSE = 0.05
"""Distance of two places of one point over that from their cameras, within which they agree."""


def merge(maps: Sequence[MapState], known: Sequence[KnownCamera], options: GrowOptions) -> list[MapState]:
    """Join maps by the points that they have in common, the largest first.

    Args:
        maps: over one table of tracks; they share no picture.
        known: cameras as they are known beforehand.
        options: thresholds and the seed of the samples.
    """
    rest = sorted(maps, key=lambda state: -int(state.placed.sum()))
    merged: list[MapState] = []
    while rest:
        base = rest.pop(0)
        index = 0
        while index < len(rest):
            if _take_in(base, rest[index], known, options):
                rest.pop(index)
                index = 0
            else:
                index += 1
        merged.append(base)
    return merged


def _take_in(base: MapState, other: MapState, known: Sequence[KnownCamera], options: GrowOptions) -> bool:
    """Put another map's pictures into a map, where the two agree."""
    common = np.flatnonzero(base.has_point & other.has_point)
    if len(common) < _FEWEST:
        return False
    found = common_similarity(other.points[common], base.points[common], _distances(base)[common], options.seed)
    if found is None:
        return False
    base_from_other, agrees = found
    if int(agrees.sum()) < max(_FEWEST, _SHARE * len(common)):
        return False
    before = base.saved()
    new = other.placed
    base.poses[new] = moved_poses(other.poses[new], base_from_other)
    base.placed = base.placed | new
    base.active |= other.active
    only = other.has_point & ~base.has_point
    base.points[only] = other.points[only] @ base_from_other[:3, :3].T + base_from_other[:3, 3]
    base.triangulate()
    base.reconsider()
    adjust(base, known, stage=RADIAL, iterations=30)
    base.reconsider()
    if _shared_points(base, new) < _FEWEST:
        base.restore(before)
        return False
    return True


def common_similarity(
    points_a: Floats, points_b: Floats, distances_b: Floats, seed: int
) -> tuple[Floats, Bools] | None:
    """The similarity that carries the most points onto their counterparts.

    Args:
        points_a: (n, 3).
        points_b: (n, 3), the same points in the other frame.
        distances_b: (n,), how far each is from its cameras, in b's unit; errors count in its proportion.
        seed: of the samples.

    Returns:
        b_from_a, (4, 4) = [[s R, t], [0, 1]], and which points agree (n,); None where none is determined.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(points_a), size=(_SAMPLES, 3))
    tried = absolute_orientation(points_a[chosen], points_b[chosen], np.ones((_SAMPLES, 3)))
    matrices = tried.as_matrix()[~np.asarray(tried.is_open)]
    if not len(matrices):
        return None
    judges = rng.permutation(len(points_a))[:_JUDGES]
    moved = np.einsum("sij,nj->sni", matrices[:, :3, :3], points_a[judges]) + matrices[:, None, :3, 3]
    errors = np.linalg.norm(moved - points_b[judges], axis=2) / distances_b[judges]
    matrix = matrices[int(np.argmin(np.minimum(errors, _CLOSE).sum(axis=1)))]
    agrees = _agreeing(matrix, points_a, points_b, distances_b)
    for _ in range(3):
        if int(agrees.sum()) < 3:
            return None
        fitted = absolute_orientation(points_a[agrees], points_b[agrees], 1.0 / distances_b[agrees] ** 2)
        if bool(fitted.is_open):
            return None
        matrix = fitted.as_matrix()
        agrees = _agreeing(matrix, points_a, points_b, distances_b)
    return matrix, agrees


def _agreeing(b_from_a: Floats, points_a: Floats, points_b: Floats, distances_b: Floats) -> Bools:
    off = points_a @ b_from_a[:3, :3].T + b_from_a[:3, 3] - points_b
    agrees: Bools = np.linalg.norm(off, axis=1) / distances_b < _CLOSE
    return agrees


def moved_poses(cam_from_a: Floats, b_from_a: Floats) -> Floats:
    """Poses in another frame, whose unit of length differs: rigid cam_from_b, (n, 4, 4).

    Args:
        cam_from_a: (n, 4, 4).
        b_from_a: (4, 4), a similarity.
    """
    scale = float(np.cbrt(np.linalg.det(b_from_a[:3, :3])))
    poses = cam_from_a @ np.linalg.inv(b_from_a)
    # cam_from_a b_from_a^-1 measures the camera's frame in a's unit.
    poses[:, :3] *= scale
    return poses


def _distances(state: MapState) -> Floats:
    """How far each point is from the nearest camera that sees it, (T,); infinite without one."""
    rows = np.flatnonzero(state.active)
    centres = inverse_rigid(state.poses)[state.table.picture[rows], :3, 3]
    lengths = np.linalg.norm(state.points[state.table.track[rows]] - centres, axis=1)
    nearest: Floats = np.full(state.table.count, np.inf)
    np.minimum.at(nearest, state.table.track[rows], lengths)
    return nearest


def _shared_points(state: MapState, new: Bools) -> int:
    """Points that both the new pictures and the others see."""
    of_new = state.active & new[state.table.picture]
    of_old = state.active & ~new[state.table.picture]
    count = state.table.count
    both = (np.bincount(state.table.track[of_new], minlength=count) > 0) & (
        np.bincount(state.table.track[of_old], minlength=count) > 0
    )
    return int(both.sum())
