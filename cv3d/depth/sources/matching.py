"""Matches between posed pictures, found as if nothing were known of their poses, so that they can test them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.depth.posed import PosedView
from cv3d.depth.sources.pose_check import MatchedPair
from cv3d.depth.sources.sights import Sights
from cv3d.features.matching import MatchOptions, match_pictures
from cv3d.features.matching.extraction import matched_scale
from cv3d.features.refinement.linking import link_matches
from cv3d.features.store import FeatureStore
from cv3d.geometry.cameras.camera import Camera
from cv3d.progress import Progress

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BORDER_SAMPLES = 9
_BENT_SHARE = 0.03
"""Of the longer side: distortion at the border from which on straight lines are of no use to verify matches by."""


@dataclass(frozen=True, eq=False)
class MatchedViews:
    """Views with their keypoints and verified matches."""

    keypoints: tuple[Floats, ...]
    """(n, 2) of each view, pixels; none where it could not be read."""
    pairs: tuple[MatchedPair, ...]
    reasons: tuple[str, ...]
    """Why a view has no match, (views,); empty where it has."""


def scales_of(views: Sequence[PosedView], options: MatchOptions | None = None) -> Floats:
    """How many of each picture's pixels one pixel is as it is matched, (views,)."""
    options = options or MatchOptions()
    return np.array([matched_scale((view.camera.width, view.camera.height), options) for view in views])


def match_views(
    views: Sequence[PosedView], folder: Path, *, asks_again: bool, seed: int, compute: Compute, progress: Progress
) -> MatchedViews:
    """Match the pictures of views.

    The intrinsics are used only where a lens bends lines so much that nothing can be verified without them: what is
    to be tested must not help to find what it is tested by.

    Args:
        views: with distinct names.
        folder: for the matches; a second run goes on from what the first has found.
        asks_again: whether the learned matcher is asked about pairs of thin support.
        seed: of the random samples.
        compute: where dense work runs.
        progress: told of every stage.

    Raises:
        InputError: fewer than two pictures can be read.
        DependencyError: the weights are not here.
        OutputError: the folder cannot be written.
    """
    options = MatchOptions(refine=False, seed=seed)
    if not asks_again:
        options = replace(options, cascade=replace(options.cascade, second_opinions=0.0))
    cameras = [view.camera if bends_lines(view.camera) else None for view in views]
    pictures = [view.picture for view in views]
    matched = match_pictures(pictures, folder, options, cameras=cameras, compute=compute, progress=progress)
    places = {one.image_id: place for place, one in enumerate(matched.pictures)}
    keypoints: list[Floats] = []
    pairs: list[MatchedPair] = []
    with FeatureStore.open(matched.store, read_only=True) as store:
        for one in matched.pictures:
            found = None if one.image_id is None else store.keypoints(one.image_id)
            keypoints.append(np.zeros((0, 2)) if found is None else found[:, :2].astype(np.float64))
        for edge in matched.edges.tolist():
            ids = [matched.pictures[place].image_id for place in edge]
            key = min(one for one in ids if one is not None), max(one for one in ids if one is not None)
            geometry, matches = store.two_view(key), store.matches(key)
            if geometry is None or matches is None:
                continue
            chosen = matches.indices[geometry.inliers].astype(np.intp)
            first, second = places[key[0]], places[key[1]]
            pixels = keypoints[first][chosen[:, 0]], keypoints[second][chosen[:, 1]]
            pairs.append(MatchedPair(first, second, chosen, pixels))
    return MatchedViews(tuple(keypoints), tuple(pairs), tuple(one.reason for one in matched.pictures))


def bends_lines(camera: Camera) -> bool:
    """Whether a lens is far from a pinhole within the picture."""
    if camera.model == "pinhole":
        return False
    t = np.linspace(0.0, 1.0, _BORDER_SAMPLES)
    one = np.ones_like(t)
    sides = [(t, 0.0 * t), (t, one), (0.0 * t, t), (one, t)]
    pixels = np.concatenate([np.stack(side, -1) for side in sides]) * (camera.width - 1.0, camera.height - 1.0)
    rays = camera.unproject(pixels)
    if (rays[:, 2] <= 0.0).any():
        return True
    straight = (rays / rays[:, 2:]) @ camera.matrix.T
    furthest = np.linalg.norm(straight[:, :2] - pixels, axis=1).max()
    return bool(furthest > _BENT_SHARE * max(camera.width, camera.height))


def linked(matched: MatchedViews, pairs: Sequence[MatchedPair], kept: Sequence[Bools]) -> Sights:
    """Join matches to sights of points.

    Args:
        matched: with the keypoints.
        pairs: some of its pairs.
        kept: which matches of each of these.
    """
    links = link_matches(
        [len(points) for points in matched.keypoints],
        [(pair.first, pair.second) for pair in pairs],
        [pair.keypoints[keep] for pair, keep in zip(pairs, kept, strict=True)],
        [float(keep.sum()) for keep in kept],
    )
    rows = np.flatnonzero(links.tracks >= 0)
    view, point = links.pictures()[rows].astype(np.intp), links.tracks[rows].astype(np.intp)
    pixels = np.concatenate([np.zeros((0, 2)), *matched.keypoints])[rows]
    order = np.lexsort((view, point))
    return Sights(view[order], point[order], pixels[order])
