"""Keypoints of a matched set, refined to a fraction of a pixel along their tracks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from cv3d.compute import Compute
from cv3d.features.matching.set_extraction import Entered
from cv3d.features.refinement import SetOptions, VerifiedPair, refine_set_keypoints
from cv3d.features.store import FeatureStore
from cv3d.progress import Progress

_MARK = "refined"


@dataclass(frozen=True)
class SetRefined:
    """How much was refined."""

    tracks: int
    """Points that two or more pictures show."""
    keypoints: int
    """Keypoints that were moved to where others of their track are, or that others were moved to."""


def refine_set(
    entered: Sequence[Entered],
    store: FeatureStore,
    compute: Compute,
    options: SetOptions,
    progress: Progress,
) -> SetRefined:
    """Refine the keypoints of all verified pairs, from where they were detected; nothing where that has been done.

    Args:
        entered: the pictures of the set that could be read.
        store: with their verified pairs, open for writing.
        compute: where pixels are compared.
        options: patches, what is accepted, and memory.
        progress: told of observations.

    Raises:
        PictureError: a picture cannot be read any more.
        OutputError: the store cannot be written.
    """
    notes = store.notes
    state = _state(store, options)
    known = notes.mark(_MARK)
    if known is not None and known.startswith(state + " "):
        return SetRefined(*map(int, known.split()[1:]))
    places = {one.image_id: place for place, one in enumerate(entered)}
    pairs = []
    for pair in store.verified_pairs():
        geometry, matches = store.two_view(pair), store.matches(pair)
        if geometry is None or matches is None or not set(pair) <= set(places):
            continue
        inlying = matches.indices[geometry.inliers]
        pairs.append(VerifiedPair(places[pair[0]], places[pair[1]], inlying, geometry))
    ids = [one.image_id for one in entered if one.image_id is not None]
    detected = [notes.detected(image_id) for image_id in ids]
    keypoints = [np.zeros((0, 2)) if one is None else one.astype(np.float64) for one in detected]
    found = refine_set_keypoints(
        lambda place: entered[place].picture.read_gray().array,
        keypoints,
        pairs,
        compute,
        [one.camera for one in entered],
        options,
        progress,
    )
    result = SetRefined(int(found.links.tracks.max(initial=-1)) + 1, int(sum(int(mask.sum()) for mask in found.masks)))
    with store.transaction():
        for image_id, moved, covariance in zip(ids, found.keypoints, found.covariances, strict=True):
            if len(moved):
                notes.put_refined(image_id, moved.astype(np.float32), covariance.astype(np.float32))
        notes.put_mark(_MARK, f"{state} {result.tracks} {result.keypoints}")
    return result


def unrefine_set(entered: Sequence[Entered], store: FeatureStore) -> None:
    """Put all keypoints back to where they were detected."""
    with store.transaction():
        for one in entered:
            if one.image_id is not None:
                store.notes.forget_refined(one.image_id)
        store.notes.put_mark(_MARK, "")


def _state(store: FeatureStore, options: SetOptions) -> str:
    """What the refinement depends on, as one word."""
    hasher = hashlib.sha256(repr(sorted(asdict(options).items())).encode())
    for pair, count in store.notes.supports():
        hasher.update(f"{pair[0]} {pair[1]} {count};".encode())
    return hasher.hexdigest()
