"""Whether given poses fit the pictures: matches know nothing of the poses, so they can speak against them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.posed import PosedView
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.epipolar import baseline, epipolar_angles, epipolar_distances
from cv3d.geometry.triangulation import triangulate_midpoint

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

LIMIT_PX = 3.0
"""Median error above which a pose does not fit, pixels at the size that pictures are matched at."""
_SURE_ANGLE = math.radians(1.0)
"""Between two lines of sight, from which on it is plain on which side of the cameras they meet."""
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_FITTING_SHARE = 0.6


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """Two views with matches that belong to one geometry, whatever the poses say."""

    first: int
    second: int
    keypoints: Ints
    """(k, 2), of the first view's keypoints and of the second's."""
    pixels: tuple[Floats, Floats]
    """(k, 2) each."""


@dataclass(frozen=True, eq=False)
class PairFit:
    """How the matches of a pair agree with the poses."""

    errors: Floats
    """(k,), distance to the epipolar line, the larger of both, pixels as matched; infinite behind the cameras."""
    is_known: bool
    """Whether the pair says anything; two pictures taken in one place do not."""

    @property
    def median(self) -> float:
        """Pixels as matched."""
        return float(np.median(self.errors)) if len(self.errors) else math.inf

    @property
    def fits(self) -> bool:
        """Whether most matches agree."""
        return self.is_known and self.median <= LIMIT_PX


def pair_fit(views: Sequence[PosedView], pair: MatchedPair, scales: Floats) -> PairFit:
    """Hold the matches of a pair against the poses.

    Args:
        views: with cameras and poses.
        pair: its matches.
        scales: how many of a picture's pixels one pixel is as it was matched, (views,).
    """
    first, second = views[pair.first], views[pair.second]
    second_from_first = second.cam_from_world @ inverse_rigid(first.cam_from_world)
    if baseline(second_from_first) <= 1e-9 * max(1.0, float(np.abs(second.cam_from_world[:3, 3]).max())):
        return PairFit(np.full(len(pair.keypoints), math.inf), False)
    setting = (first.camera, second.camera, second_from_first, *pair.pixels)
    distances, angles = epipolar_distances(*setting), epipolar_angles(*setting)
    # Far off the axis there is no undistorted picture to measure in.
    distances = np.where(np.isfinite(distances), distances, angles * (first.camera.params[0], second.camera.params[0]))
    errors = (distances / scales[[pair.first, pair.second]]).max(axis=1)
    rays = [view.camera.unproject(pixels) for view, pixels in zip((first, second), pair.pixels, strict=True)]
    met = triangulate_midpoint(rays[0], rays[1], second_from_first)
    is_behind = ~met.in_front & (met.angles > _SURE_ANGLE)
    return PairFit(np.where(np.isfinite(errors) & ~is_behind, errors, math.inf), True)


def fitting_views(count: int, pairs: Sequence[MatchedPair], fits: Sequence[PairFit]) -> tuple[Bools, Bools]:
    """Which views hang together by pairs that fit, and which were tested at all.

    The view with most matches against it goes first, and its pairs with it, until those left have most matches in
    their favour.

    Returns:
        (count,) whether a view fits, and (count,) whether there is a pair that says anything about it.
    """
    support, against = np.zeros((count, count)), np.zeros((count, count))
    for pair, fit in zip(pairs, fits, strict=True):
        if fit.is_known:
            table = support if fit.fits else against
            table[pair.first, pair.second] = table[pair.second, pair.first] = len(fit.errors)
    tested = np.asarray((support + against).any(axis=1), np.bool_)
    active = tested.copy()
    while active.any():
        total = (support + against)[:, active].sum(axis=1)
        share = np.where(active, against[:, active].sum(axis=1) / np.maximum(total, 1.0), -1.0)
        worst = int(share.argmax())
        if share[worst] <= 0.5:
            break
        active[worst] = False
    return active & np.asarray(support[:, active].any(axis=1), np.bool_), tested


def likely_cause(views: Sequence[PosedView], pairs: Sequence[MatchedPair], scales: Floats) -> str | None:
    """What is usually wrong where nothing fits: the change under which most pairs fit, in words; None for none."""
    axes = "y up and z backwards (OpenGL), while x right, y down, z forward is expected"
    changes = {
        "the poses seem to be inverted, world_from_cam for cam_from_world or the reverse": _inverted(views),
        f"the camera axes seem to be {axes}": _turned(views),
        f"the camera axes seem to be {axes}, and the poses inverted": _turned(_inverted(views)),
        "the intrinsics seem to be for pictures of half the size": _zoomed(views, 2.0),
        "the intrinsics seem to be for pictures of twice the size": _zoomed(views, 0.5),
    }
    for words, changed in changes.items():
        known = [fit for fit in (pair_fit(changed, pair, scales) for pair in pairs) if fit.is_known]
        if known and sum(fit.fits for fit in known) >= _FITTING_SHARE * len(known):
            return words
    return None


def _inverted(views: Sequence[PosedView]) -> list[PosedView]:
    return [replace(view, cam_from_world=inverse_rigid(view.cam_from_world)) for view in views]


def _turned(views: Sequence[PosedView]) -> list[PosedView]:
    return [replace(view, cam_from_world=_OPENGL @ view.cam_from_world) for view in views]


def _zoomed(views: Sequence[PosedView], factor: float) -> list[PosedView]:
    """With the intrinsics of another size, pictures as they are."""

    def zoomed(camera: Camera) -> Camera:
        return replace(camera.scaled(factor), width=camera.width, height=camera.height)

    return [replace(view, camera=zoomed(view.camera)) for view in views]
