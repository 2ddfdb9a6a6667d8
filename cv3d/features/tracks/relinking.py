"""Lost points: where they are expected, and which keypoints may be they."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.features.tracks.options import TrackOptions
from cv3d.features.tracks.points import Points
from cv3d.features.tracks.stepping import Keypoints
from cv3d.geometry.two_view import TwoViewOptions, estimate_two_view

_NEIGHBOURS = 6
_GROWTH_A_SECOND = 12.0
"""How fast the place of a lost point gets uncertain, pixels a second."""
_RIVAL = 0.97
"""A keypoint is not taken where another near it is almost as alike: cosine as a share of the best's."""
_FEWEST_BLIND = 12


def carry_along(lost: Points, before: NDArray[np.float32], now: NDArray[np.float32]) -> None:
    """Move the places of lost points as the nearest followed points move.

    Args:
        lost: changed in place.
        before: (n, 2) followed points in the frame before.
        now: (n, 2) the same in the present frame.
    """
    if not len(lost):
        return
    if len(before) < _NEIGHBOURS:
        lost.is_blind[:] = True
        return
    from scipy.spatial import cKDTree

    _, near = cKDTree(before).query(lost.pixels, _NEIGHBOURS)
    lost.pixels += np.median((now - before)[near], axis=1).astype(np.float32)


def neighbours_velocity(pixels: NDArray[np.float32], followed: Points) -> NDArray[np.float32]:
    """(n, 2) velocities, pixels a second, of the followed points nearest to places (n, 2): their median."""
    from scipy.spatial import cKDTree

    if not len(pixels):
        return np.zeros((0, 2), np.float32)
    count = min(_NEIGHBOURS, len(followed))
    _, near = cKDTree(followed.pixels).query(pixels, count)
    velocity = np.median(followed.velocity[near.reshape(len(pixels), count)], axis=1)
    return np.asarray(velocity, np.float32)


def find_again(
    lost: Points, keypoints: Keypoints, time: float, options: TrackOptions
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which keypoints look like lost points and are where those are expected.

    Points that had neighbours all the while are looked for around their predicted place. After a moment without any
    (a black frame, a jolt) the prediction is worth nothing: such points are matched over the whole picture and have to
    agree on the geometry of two views.

    Args:
        lost: the points.
        keypoints: of the present frame.
        time: its stamp, seconds.
        options: radius, least cosine.

    Returns:
        Indices (m,) into `lost` and into the keypoints, one to one.
    """
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if not len(lost) or not len(keypoints.pixels):
        return nothing
    cosine = lost.descriptors @ keypoints.descriptors.T
    distance = np.linalg.norm(lost.pixels[:, None] - keypoints.pixels[None], axis=-1)
    reach = options.relink_radius + _GROWTH_A_SECOND * (time - lost.last_time)
    cosine[(distance > reach[:, None]) & ~lost.is_blind[:, None]] = -1.0
    best = cosine.argmax(1)
    here = np.arange(len(lost))
    top = cosine[here, best]
    is_match = (cosine.argmax(0)[best] == here) & (top >= options.min_cosine)
    others = cosine.copy()
    others[here, best] = -1.0
    is_match &= others.max(1) < _RIVAL * top
    sighted = np.flatnonzero(is_match & ~lost.is_blind)
    blind = _agreeing(lost, keypoints, np.flatnonzero(is_match & lost.is_blind), best, options)
    chosen = np.concatenate([sighted, blind])
    return chosen, best[chosen]


def _agreeing(
    lost: Points, keypoints: Keypoints, candidates: NDArray[np.int64], best: NDArray[np.int64], options: TrackOptions
) -> NDArray[np.int64]:
    """Those of the candidates lost in one frame that agree on a geometry with the present one."""
    agreeing = []
    for frame in np.unique(lost.last[candidates]):
        group = candidates[lost.last[candidates] == frame]
        if len(group) < _FEWEST_BLIND:
            continue
        view = estimate_two_view(
            lost.last_pixels[group].astype(np.float64),
            keypoints.pixels[best[group]].astype(np.float64),
            options=TwoViewOptions(max_error=2.0 * options.max_epipolar_error, min_inliers=10, seed=options.seed),
        )
        if view.verified:
            agreeing.append(group[view.inliers])
    return np.concatenate(agreeing) if agreeing else np.zeros(0, np.int64)
