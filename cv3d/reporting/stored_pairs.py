"""The pairs of a matched set as its store holds them, one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from cv3d.features.matching import SetMatch
from cv3d.features.store import FeatureStore

Pair = tuple[int, int]


@dataclass(frozen=True)
class StoredPair:
    """What is known of a pair, without its matches."""

    places: Pair
    """Of its pictures in the set, ascending."""
    ids: Pair
    """Of its pictures in the store, ascending."""
    matcher: str
    """The matcher whose answer the store holds."""
    inliers: int
    """Verified matches, or those of the best geometry that did not pass."""
    verified: bool
    first_inliers: int
    """Verified matches of the cheap matcher; none where it verified nothing."""
    promise: float
    """Decimal logarithm of the false alarms of the cheap matcher's best geometry; infinite where there was none."""
    decision: str
    """What was done after the first look, in a sentence; empty where nothing was."""


def stored_pairs(store: FeatureStore, result: SetMatch) -> Iterator[StoredPair]:
    """Every pair of the set's pictures in a store, by the ids of its pictures; no two are held at once.

    A store that was filled with several choices of pairs has the pairs of all of them.
    """
    places = {picture.image_id: place for place, picture in enumerate(result.pictures) if picture.image_id is not None}
    supports = chain(store.notes.supports(), [((-1, -1), 0)])
    supported, count = next(supports)
    for pair in store.matched_pairs():
        # Both run by the ids of their pairs, so one pass over each is enough.
        while supported != (-1, -1) and supported < pair:
            supported, count = next(supports)
        if not (pair[0] in places and pair[1] in places):
            continue
        verified = supported == pair
        look = store.notes.first_look(pair)
        first, second = sorted(places[one] for one in pair)
        yield StoredPair(
            places=(first, second),
            ids=pair,
            matcher=_method(store.notes.matched_with(pair)[0]),
            inliers=count if verified else look.inlier_count if look else 0,
            verified=verified,
            first_inliers=look.inlier_count if look and look.verified else 0,
            promise=look.promise if look else float("inf"),
            decision=look.decision if look else "",
        )


def _method(config: str | None) -> str:
    """The name of a matcher from what the store keeps of it: the name alone, or its options with it."""
    if config is None or not config.startswith("{"):
        return config or ""
    return str(json.loads(config).get("name", ""))
