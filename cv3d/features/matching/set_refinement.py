"""Keypoints of a matched set refined to a fraction of a pixel along their tracks, and pairs verified again."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import torch_threads, usable_cores
from cv3d.features.matching.pool import working_pool
from cv3d.features.matching.set_extraction import Entered
from cv3d.features.matching.set_matching import Pair, SetMatcher
from cv3d.features.matching.verification import verify
from cv3d.features.refinement import SetOptions, SetRefinement, VerifiedPair, refine_set_keypoints
from cv3d.features.store import FeatureStore
from cv3d.geometry.two_view import TwoView

STAGE = "verify refined pairs"
_MARK = "refined"
_WAITING = 8
_FEWEST = 20
"""Refined matches that a pair needs to be verified by them alone."""
MOST_MATCHES = 2_000_000
"""Verified matches that are held at once; each takes about a kilobyte."""
_LEAST_NOISE = 0.05
"""Smallest noise of a refined keypoint, pixels: on real pictures no alignment is better."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class SetRefined:
    """How much was refined."""

    tracks: int
    """Points that two or more pictures show."""
    keypoints: int
    """Keypoints that were moved to where others of their track are, or that others were moved to."""


def refine_set(entered: Sequence[Entered], matcher: SetMatcher, options: SetOptions) -> SetRefined:
    """Refine the keypoints of all verified pairs from where they were detected, and verify the pairs again.

    A pair that refined matches verify keeps those alone as inliers: matches that do not align are less exact by far,
    or wrong. A pair with too few of them stands as it was. Nothing is done where all of this has been done, and nothing
    beyond :data:`MOST_MATCHES`, which is said.

    Args:
        entered: the pictures of the set that could be read.
        matcher: with the store that has their verified pairs.
        options: patches, what is accepted, and memory.

    Raises:
        PictureError: a picture cannot be read any more.
        OutputError: the store cannot be written.
    """
    store, notes, progress = matcher.store, matcher.store.notes, matcher.progress
    ids = [one.image_id for one in entered if one.image_id is not None]
    places = {image_id: place for place, image_id in enumerate(ids)}
    supports = [(pair, count) for pair, count in notes.supports() if places.keys() >= set(pair)]
    total = sum(count for _, count in supports)
    if total > MOST_MATCHES:
        progress.warn(
            f"not refined: {total:,} verified matches would take some {total / 1e6:.0f} GB of memory; match fewer "
            "pairs, or parts of the set, to have keypoints refined"
        )
        return SetRefined(0, 0)
    pairs = [pair for pair, _ in supports]
    state = _state(store, ids, options, matcher.verification_config)
    known = notes.mark(_MARK)
    if known is not None and known.startswith(state + " ") and all(map(notes.is_detected_two_view_kept, pairs)):
        return SetRefined(*map(int, known.split()[1:]))
    detected = [notes.detected(image_id) for image_id in ids]
    keypoints = [np.zeros((0, 2)) if one is None else one.astype(np.float64) for one in detected]
    verified = [_as_verified(store, pair, places) for pair in pairs]
    cameras = [one.camera for one in entered]
    # Small pieces of work one after another: further threads would mostly wait for one another.
    with torch_threads(1):
        found = refine_set_keypoints(
            lambda place: entered[place].picture.read_gray().array,
            keypoints,
            verified,
            matcher.compute,
            cameras,
            options,
            progress,
        )
    result = SetRefined(int(found.links.tracks.max(initial=-1)) + 1, sum(int(mask.sum()) for mask in found.masks))
    with store.transaction():
        for image_id, moved, covariance in zip(ids, found.keypoints, found.covariances, strict=True):
            if len(moved):
                notes.put_refined(image_id, moved.astype(np.float32), covariance.astype(np.float32))
    progress.start(STAGE, len(pairs))
    for pair, geometry in _again(pairs, found, places, matcher):
        with store.transaction():
            notes.keep_detected_two_view(pair)
            store.put_two_view(pair, geometry, matcher.verification_config)
        progress.advance(STAGE)
    progress.finish(STAGE)
    notes.put_mark(_MARK, f"{state} {result.tracks} {result.keypoints}")
    return result


def unrefine_set(entered: Sequence[Entered], store: FeatureStore) -> None:
    """Put all keypoints and verdicts back to what they were before refinement."""
    with store.transaction():
        for one in entered:
            if one.image_id is not None:
                store.notes.forget_refined(one.image_id)
        for pair in list(_verified(store)):
            before = store.notes.forget_refined_two_view(pair)
            if before is not None:
                store.put_two_view(pair, *before)
        store.notes.put_mark(_MARK, "")


def _verified(store: FeatureStore) -> Iterator[Pair]:
    return (pair for pair, _ in store.notes.supports())


def _as_verified(store: FeatureStore, pair: Pair, places: dict[int, int]) -> VerifiedPair:
    geometry, matches = store.notes.detected_two_view(pair), store.matches(pair)
    if geometry is None or matches is None:
        raise RuntimeError(f"the store lost pair {pair} while it was open")
    return VerifiedPair(places[pair[0]], places[pair[1]], matches.indices[geometry.inliers], geometry)


def _again(
    pairs: Sequence[Pair], found: SetRefinement, places: dict[int, int], matcher: SetMatcher
) -> Iterator[tuple[Pair, TwoView]]:
    """Every pair with the geometry of its refined matches, spread over all of its matches; or as it was."""
    store, waiting = matcher.store, deque[tuple[Pair, TwoView, Bools, Future[TwoView] | None]]()
    workers = usable_cores()
    sigmas = [_noise(covariance) for covariance in found.covariances]

    def settled() -> tuple[Pair, TwoView]:
        pair, before, chosen, job = waiting.popleft()
        again = None if job is None else job.result()
        if again is None or not again.verified:
            return pair, before
        inliers, errors = np.zeros(len(chosen), dtype=bool), np.full(len(chosen), np.inf)
        inliers[chosen], errors[chosen] = again.inliers, again.errors
        return pair, replace(again, inliers=inliers, errors=errors)

    with torch_threads(1), working_pool(workers) as pool:
        for pair in pairs:
            before, matches = store.notes.detected_two_view(pair), store.matches(pair)
            if before is None or matches is None:
                raise RuntimeError(f"the store lost pair {pair} while it was open")
            one, other = places[pair[0]], places[pair[1]]
            chosen = before.inliers & found.agrees(one, other, matches.indices)
            job = None
            if int(chosen.sum()) >= _FEWEST:
                first, second = matches.indices[chosen].T
                job = pool.submit(
                    verify,
                    found.keypoints[one][first],
                    found.keypoints[other][second],
                    matcher.pictures.setting(pair, matcher.options),
                    matcher.options,
                    matcher=matcher.matcher_of(pair),
                    sigma0=sigmas[one][first],
                    sigma1=sigmas[other][second],
                )
            waiting.append((pair, before, chosen, job))
            if len(waiting) > _WAITING * workers:
                yield settled()
        while waiting:
            yield settled()


def _noise(covariances: Floats) -> Floats:
    """Noise of one coordinate, (n,), pixels; a pixel's own where it is not known."""
    deviations = np.sqrt(0.5 * np.trace(covariances, axis1=1, axis2=2))
    noise: Floats = np.where(np.isfinite(deviations), np.maximum(deviations, _LEAST_NOISE), 1.0)
    return noise


def _state(store: FeatureStore, ids: Sequence[int], options: SetOptions, verification: str) -> str:
    """What the refinement depends on, as one word."""
    hasher = hashlib.sha256(repr((sorted(asdict(options).items()), verification, sorted(ids))).encode())
    for pair, count in store.notes.supports():
        hasher.update(f"{pair[0]} {pair[1]} {count};".encode())
    return hasher.hexdigest()
