"""Matches that their neighbours confirm: where to sample first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NEIGHBOURS = 10
_SHARED = 2


def locally_consistent(
    points0: Floats, points1: Floats, neighbours: int = _NEIGHBOURS, least_shared: int = _SHARED
) -> Bools:
    """Which matches have neighbours in the first picture whose partners are their neighbours in the second.

    A true match keeps part of its neighbourhood under any rotation and change of scale, a false one by chance alone
    (Ma et al. 2019, "Locality preserving matching"). The test says where a sample consensus should draw from; it is no
    evidence, since false matches of repeated structure pass it together.

    Args:
        points0: keypoints in the first picture, (n, 2), pixels.
        points1: the matching keypoints in the second, (n, 2), pixels.
        neighbours: size of a neighbourhood.
        least_shared: neighbours that both neighbourhoods have to share.

    Returns:
        (n,); all false where there are no more matches than `least_shared`.
    """
    count = min(neighbours, len(points0) - 1)
    if count < least_shared:
        return np.zeros(len(points0), dtype=bool)
    near0, near1 = (_nearest(points, count) for points in (points0, points1))
    shared = (near0[:, :, None] == near1[:, None, :]).any(axis=2).sum(axis=1)
    result: Bools = shared >= least_shared
    return result


def _nearest(points: Floats, count: int) -> NDArray[np.intp]:
    """The nearest other points of each, (n, count)."""
    found: NDArray[np.intp] = KDTree(points, balanced_tree=False).query(points, k=count + 1)[1]
    # Of points in one place any may come first, not just the point itself.
    own = found == np.arange(len(points))[:, None]
    own[~own.any(axis=1), -1] = True
    others: NDArray[np.intp] = found[~own].reshape(len(points), count)
    return others
