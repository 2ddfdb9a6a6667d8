"""The cheap matcher first, the learned one where the verified support is too thin to trust."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.features.extractors.base import Features
from cv3d.features.matchers.base import Matcher
from cv3d.features.matchers.mutual import MutualNearest, MutualOptions
from cv3d.features.matchers.registry import MATCHERS, create_matcher
from cv3d.features.matching.options import AUTO, MatchOptions
from cv3d.features.matching.verification import PairSetting, is_better, is_thick, verify
from cv3d.features.weights import is_here
from cv3d.geometry.two_view import TwoView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Matches of two pictures before verification, best first."""

    indices: Ints
    """(n, 2), entries of both pictures' features."""
    points0: Floats
    """(n, 2), pixels of the first picture."""
    points1: Floats
    """(n, 2), pixels of the second."""
    scores: NDArray[np.float32]
    """(n,), descending, on the matcher's own scale in [0, 1]."""

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, eq=False)
class Verdict:
    """A pair's matches with their geometry, and who found them."""

    matcher: str
    """The matcher whose answer this is."""
    found: Correspondences
    geometry: TwoView
    decision: str
    """Why this matcher's answer was taken, in a sentence for the user."""
    match_seconds: float
    verify_seconds: float


class Cascade:
    """The matchers of one extractor's features, made when they are first needed."""

    def __init__(self, compute: Compute, options: MatchOptions) -> None:
        """Nothing is loaded yet.

        Args:
            compute: where the matchers run.
            options: which ones, and when.
        """
        self.options = options
        self._compute = compute

    @cached_property
    def cheap(self) -> Matcher:
        """The matcher that goes first, or the only one.

        Raises:
            DependencyError: its weights are not here.
        """
        if self.options.cheap == "mutual" and self.options.matcher == AUTO:
            return MutualNearest(MutualOptions(self.options.cascade.min_cosine))
        return create_matcher(self.options.cheap, self._compute)

    @cached_property
    def learned(self) -> Matcher | None:
        """The matcher that comes second; None where there is none, or its weights are not here."""
        name = self.options.learned
        if name is None or not all(map(is_here, MATCHERS[name].weights)):
            return None
        return create_matcher(name, self._compute)

    def correspond(self, matcher: Matcher, features0: Features, features1: Features) -> list[Correspondences]:
        """Matches of B pairs, in one call of the matcher."""
        matches = matcher.match(features0, features1)
        points1 = matches.keypoints1
        if points1 is None:
            points1 = features1.keypoints.gather(1, matches.indices.clamp(min=0)[..., None].expand(-1, -1, 2))
        host = [tensor.cpu().numpy() for tensor in (matches.indices, matches.scores, features0.keypoints, points1)]
        return [_sorted(*(array[item] for array in host)) for item in range(len(matches))]

    def decide(self, features0: Features, features1: Features, setting: PairSetting) -> Verdict:
        """Match and verify one pair.

        Args:
            features0: of the first picture, a batch of one.
            features1: of the second.
            setting: scale and cameras.
        """
        first = self.attempt(self.cheap, features0, features1, setting)
        count = first.geometry.inlier_count
        if self.options.learned is None:
            return replace(first, decision=f"{first.matcher} was asked for" if self.options.matcher != AUTO else "")
        if is_thick(first.geometry, self.options):
            return replace(first, decision=f"{first.matcher} alone: {count} matches, verified at first, leave no doubt")
        thin = (
            f"{first.matcher} found {count} verified matches"
            if first.geometry.verified
            else f"{first.matcher} found no geometry"
        )
        if self.learned is None:
            weights = self.options.learned
            return replace(first, decision=f"{thin}; the weights of {weights} are not here for a second opinion")
        second = self.attempt(self.learned, features0, features1, setting)
        return better(first, second, thin)

    def attempt(self, matcher: Matcher, features0: Features, features1: Features, setting: PairSetting) -> Verdict:
        """One matcher's answer for one pair."""
        start = time.perf_counter()
        found = self.correspond(matcher, features0, features1)[0]
        matched = time.perf_counter()
        geometry = verify(found.points0, found.points1, setting, self.options, matcher=matcher.name)
        return Verdict(matcher.name, found, geometry, "", matched - start, time.perf_counter() - matched)


def better(first: Verdict, second: Verdict, thin: str) -> Verdict:
    """The answer that chance explains less, with what both took.

    Args:
        first: the cheap matcher's.
        second: the learned one's.
        thin: what the first one found, in words.
    """
    count = second.geometry.inlier_count
    found = (
        f"{second.matcher} found {count}" if second.geometry.verified else f"{second.matcher} found no geometry either"
    )
    chosen = second if is_better(second.geometry, first.geometry) else first
    return replace(
        chosen,
        decision=f"{thin}; {found}",
        match_seconds=first.match_seconds + second.match_seconds,
        verify_seconds=first.verify_seconds + second.verify_seconds,
    )


def _sorted(indices: Ints, scores: NDArray[np.float32], points0: Floats, points1: Floats) -> Correspondences:
    """The matches of one pair, best first: the order is what a consensus that samples good ones first needs."""
    entries = np.flatnonzero(indices >= 0)
    entries = entries[np.argsort(-scores[entries], kind="stable")]
    pairs = np.stack([entries, indices[entries]], axis=1).astype(np.int64)
    return Correspondences(
        pairs, points0[entries].astype(np.float64), points1[entries].astype(np.float64), scores[entries]
    )
