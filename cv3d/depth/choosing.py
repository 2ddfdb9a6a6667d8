"""Which pictures the depth of a picture is found from, and in which range it lies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.posed import PosedSet
from cv3d.geometry.cameras.rig import inverse_rigid

Floats = NDArray[np.float64]

_BEST_ANGLE = math.radians(5.0)
"""Between two rays to a point: small angles leave the depth open, large ones show the surface too differently."""
_BELOW, _ABOVE = math.radians(2.0), math.radians(10.0)
_LEAST_SHARED = 8
"""Points that two pictures have to share."""
_LEAST_POINTS = 8
_QUANTILES = (0.01, 0.99)
_MARGIN = 1.6
"""By how much nearer and farther than a picture's points its surfaces are looked for."""


@dataclass(frozen=True)
class Sources:
    """What the depth of one view is found from."""

    views: tuple[int, ...]
    """Places of its sources in the set, the best first."""
    inverse_range: tuple[float, float]
    """Least and greatest inverse depth."""


@dataclass(frozen=True)
class NoSources:
    """Why a view gets no depth."""

    reason: str


def choose_sources(posed: PosedSet, most: int) -> list[Sources | NoSources]:
    """Sources of every view: those that share many points at good angles (Yao et al. 2018).

    Args:
        posed: the set.
        most: sources of a view.
    """
    centres = np.stack([inverse_rigid(view.cam_from_world)[:3, 3] for view in posed.views])
    rays = []
    for view, centre in zip(posed.views, centres, strict=True):
        towards = posed.points[view.points] - centre
        rays.append(towards / np.maximum(np.linalg.norm(towards, axis=1), 1e-12)[:, None])
    scores = _scores(posed, rays)
    return [_choice(posed, i, scores[i], most) for i in range(len(posed.views))]


def _choice(posed: PosedSet, i: int, scores: Floats, most: int) -> Sources | NoSources:
    view = posed.views[i]
    pose = view.cam_from_world
    depths = posed.points[view.points] @ pose[2, :3] + pose[2, 3]
    depths = depths[depths > 0.0]
    if len(depths) < _LEAST_POINTS:
        return NoSources(f"it sees {len(depths)} points, too few to tell in which range its surfaces lie")
    order = np.argsort(-scores, kind="stable")[:most]
    chosen = tuple(int(j) for j in order if scores[j] > 0.0)
    if not chosen:
        return NoSources("no other picture sees the same from another place")
    near, far = np.quantile(depths, _QUANTILES)
    return Sources(chosen, (1.0 / (far * _MARGIN), _MARGIN / near))


def _scores(posed: PosedSet, rays: list[Floats]) -> Floats:
    """How well each view serves as a source of each other, (n, n)."""
    count = len(posed.views)
    scores = np.zeros((count, count))
    for i in range(count):
        row = np.full(len(posed.points), -1, np.intp)
        row[posed.views[i].points] = np.arange(len(posed.views[i].points))
        for j in range(i + 1, count):
            mine = row[posed.views[j].points]
            shared = mine >= 0
            if shared.sum() < _LEAST_SHARED:
                continue
            cosines = (rays[i][mine[shared]] * rays[j][shared]).sum(axis=1)
            angles = np.arccos(cosines.clip(-1.0, 1.0))
            spread = np.where(angles < _BEST_ANGLE, _BELOW, _ABOVE)
            scores[i, j] = scores[j, i] = np.exp(-0.5 * ((angles - _BEST_ANGLE) / spread) ** 2).sum()
    return scores
