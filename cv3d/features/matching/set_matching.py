"""The pairs of a set: a first look by the cheap matcher at all, the learned one where support is too thin."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from itertools import islice

from cv3d.compute import Compute, torch_threads, usable_cores
from cv3d.features.extractors.base import Features
from cv3d.features.matchers.base import Matcher
from cv3d.features.matching.cache import FeatureCache
from cv3d.features.matching.cascade import Cascade, Correspondences
from cv3d.features.matching.extraction import matched_scale
from cv3d.features.matching.groups import Groups
from cv3d.features.matching.options import MatchOptions
from cv3d.features.matching.pool import working_pool
from cv3d.features.matching.verification import PairSetting, is_better, is_thick, verify
from cv3d.features.store import FeatureStore, FirstLook, PairMatches, config_text
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.two_view import TwoView
from cv3d.progress import Progress

Pair = tuple[int, int]
"""Ids of two pictures, ascending."""

FIRST, SECOND = "match pairs", "match thin pairs"
_BATCH: Mapping[str, int] = {"cpu": 1, "cuda": 16, "mps": 8}
"""Pairs in one call of a matcher, by kind of device."""
_WAITING = 4
"""Pairs that may wait for each thread that verifies."""
_TOGETHER = 8
"""Thin pairs that are chosen at a time; fixed, so that the choice depends on nothing but the set."""


Looked = tuple[Correspondences, TwoView]
"""Matches of a pair and their geometry."""


@dataclass(frozen=True)
class PicturesOfSet:
    """What matching needs to know of pictures, by id."""

    sizes: Mapping[int, tuple[int, int]]
    cameras: Mapping[int, Camera | None]

    def setting(self, pair: Pair, options: MatchOptions) -> PairSetting:
        """What is known of a pair before it is matched."""
        scale = 0.5 * sum(matched_scale(self.sizes[one], options) for one in pair)
        first, second = (self.cameras[one] for one in pair)
        return PairSetting(scale, first, second) if first and second else PairSetting(scale)


@dataclass(frozen=True)
class SetMatcher:
    """The two passes over the pairs of a set."""

    store: FeatureStore
    pictures: PicturesOfSet
    options: MatchOptions
    compute: Compute
    progress: Progress

    def match_all(self, pairs: Iterable[Pair], total: int | None) -> set[Pair]:
        """Give every pair its first look by the cheap matcher; those that had it are passed over.

        Args:
            pairs: ids, ascending; may be a generator.
            total: how many, where it is known.

        Returns:
            The pairs that were matched now.
        """
        cascade, cache, config = Cascade(self.compute, self.options), self._feature_cache(), self.first_config
        self.progress.start(FIRST, total)
        computed: set[Pair] = set()

        def missing() -> Iterator[Pair]:
            for pair in pairs:
                look = self.store.notes.first_look(pair)
                if look is None or look.config != config:
                    yield pair
                else:
                    self.progress.advance(FIRST)

        for pair, found, geometry in self._verified(missing(), cascade, cache, lambda: cascade.cheap, is_quick=True):
            self._keep_first_look(pair, found, geometry, config)
            self.progress.advance(FIRST)
            computed.add(pair)
        self.progress.finish(FIRST)
        return computed

    def match_thin(self, pairs: list[Pair]) -> set[Pair]:
        """Ask the learned matcher about pairs whose support is too thin to trust, where the set needs them.

        Those that would join what does not hang together come first, then the most promising. A pair is asked about as
        long as one of its pictures has fewer thick pairs than wanted, or the two do not hang together yet, and no more
        pairs than the set has pictures to pay for.

        Returns:
            The pairs that were matched now.
        """
        cascade = Cascade(self.compute, self.options)
        if self.options.learned is None:
            return set()
        groups, candidates = self._standing(pairs)
        if candidates and cascade.learned is None:
            self.progress.warn(
                f"{len(candidates)} pairs are thinly supported, and the weights of {self.options.learned} for a second "
                "opinion are not here; 'cv3d doctor' says how to get them"
            )
            return set()
        self.progress.start(SECOND, len(candidates))
        cache = self._feature_cache()
        computed, queue = set[Pair](), deque(candidates)
        left = math.ceil(self.options.cascade.second_opinions * len({picture for pair in pairs for picture in pair}))
        while chosen := self._wanted(queue, groups, min(left, _TOGETHER)):
            left -= len(chosen)
            todo = [pair for pair in chosen if not self._is_learned(pair)]
            learned = self._verified(todo, cascade, cache, lambda: _present(cascade.learned), is_quick=False)
            for pair, found, geometry in learned:
                self._settle(pair, found, geometry)
                computed.add(pair)
            for pair in chosen:
                settled = self.store.notes.detected_two_view(pair)
                if settled is not None and settled.verified:
                    groups.join(pair, is_thick=is_thick(settled, self.options))
                self.progress.advance(SECOND)
        with self.store.transaction():
            for pair in queue:
                self._pass_over(pair, "more promising pairs were asked about")
        self.progress.advance(SECOND, len(queue))
        self.progress.finish(SECOND)
        return computed

    def _wanted(self, queue: deque[Pair], groups: Groups, most: int) -> list[Pair]:
        """The next pairs to be asked about, taken from the queue with those before them that are not needed."""
        wanted = self.options.cascade.wanted_neighbours
        chosen: list[Pair] = []
        while queue and len(chosen) < most:
            pair = queue.popleft()
            if groups.wants(pair, wanted):
                chosen.append(pair)
            else:
                self._pass_over(pair, f"its pictures have {wanted} pairs beyond doubt each")
                self.progress.advance(SECOND)
        return chosen

    @property
    def first_config(self) -> str:
        """What the first look depends on."""
        return config_text(
            self.options.cheap,
            {
                "verification": self.verification_config,
                "quick_samples": self.options.cascade.quick_samples,
                "hopeless": self.options.cascade.hopeless,
                "min_cosine": self.options.cascade.min_cosine if self.options.learned else None,
            },
        )

    @property
    def learned_config(self) -> str:
        """What the second opinion depends on."""
        return config_text(self.options.learned or "none", {"cascade": asdict(self.options.cascade)})

    @property
    def verification_config(self) -> str:
        """What the verification depends on; cameras are the store's own business."""
        figures = {name: getattr(self.options, name) for name in ("max_error", "max_samples", "seed")}
        figures["learned_false_alarms"] = self.options.cascade.learned_false_alarms
        return config_text("two-view", figures)

    def matcher_of(self, pair: Pair) -> str:
        """The matcher whose answer the store holds for a pair."""
        learned = self.options.learned
        is_second = learned is not None and self.store.notes.matched_with(pair)[0] == self.learned_config
        return learned if is_second and learned else self.options.cheap

    def _feature_cache(self) -> FeatureCache:
        """For one pass over the pairs; it goes with the pass, before refinement needs the memory."""
        return FeatureCache(self.store, self.compute, self.options.max_keypoints)

    def _verified(
        self,
        pairs: Iterable[Pair],
        cascade: Cascade,
        cache: FeatureCache,
        matcher: Callable[[], Matcher],
        *,
        is_quick: bool,
    ) -> Iterator[tuple[Pair, Correspondences, TwoView]]:
        """Matches and geometry of pairs, in their order, verified by threads that on the CPU match as well.

        There a thread has a pair to itself: small pieces of work one after another gain nothing from further threads.
        """
        workers, is_cpu = usable_cores(), self.compute.device.type == "cpu"
        waiting: deque[tuple[Pair, Future[Looked]]] = deque()
        rest = iter(pairs)
        with torch_threads(1 if is_cpu else workers), working_pool(workers) as pool:
            while batch := list(islice(rest, _BATCH[self.compute.device.type])):
                first, second = (Features.stack([cache[pair[side]] for pair in batch]) for side in (0, 1))
                chosen = matcher()
                if is_cpu:
                    (pair,) = batch
                    job = pool.submit(self._look, pair, cascade, chosen, first, second, is_quick=is_quick)
                    waiting.append((pair, job))
                else:
                    for pair, found in zip(batch, cascade.correspond(chosen, first, second), strict=True):
                        job = pool.submit(self._with_geometry, pair, found, chosen.name, is_quick=is_quick)
                        waiting.append((pair, job))
                while len(waiting) > _WAITING * workers:
                    pair, job = waiting.popleft()
                    yield pair, *job.result()
            for pair, job in waiting:
                yield pair, *job.result()

    def _look(
        self, pair: Pair, cascade: Cascade, matcher: Matcher, first: Features, second: Features, *, is_quick: bool
    ) -> Looked:
        (found,) = cascade.correspond(matcher, first, second)
        return self._with_geometry(pair, found, matcher.name, is_quick=is_quick)

    def _with_geometry(self, pair: Pair, found: Correspondences, matcher: str, *, is_quick: bool) -> Looked:
        setting = self.pictures.setting(pair, self.options)
        return found, verify(found.points0, found.points1, setting, self.options, matcher=matcher, is_quick=is_quick)

    def _keep_first_look(self, pair: Pair, found: Correspondences, geometry: TwoView, config: str) -> None:
        look = FirstLook(config, geometry.inlier_count, geometry.verified, geometry.log10_false_alarms, "")
        if not geometry.verified and geometry.log10_false_alarms > self.options.cascade.hopeless:
            # Nobody has a use for the random matches of unrelated pictures, and most pairs of a set are that.
            found, geometry = _nothing_of(found), _nothing_in(geometry)
            look = replace(look, decision="unrelated: its matches agree no better than chance")
        with self.store.transaction():
            self._put(pair, found, geometry, self.options.cheap)
            self.store.notes.put_first_look(pair, look)

    def _settle(self, pair: Pair, found: Correspondences, geometry: TwoView) -> None:
        """Keep the learned matcher's answer where it is the better one, and say so."""
        before = self.store.notes.detected_two_view(pair)
        first = before.inlier_count if before is not None and before.verified else 0
        thin = f"{self.options.cheap} found {first} verified matches" if first else f"{self.options.cheap} found none"
        count = geometry.inlier_count if geometry.verified else 0
        with self.store.transaction():
            if is_better(geometry, before):
                self._put(pair, found, geometry, self.learned_config)
            self.store.notes.put_decision(pair, f"{thin}; {self.options.learned} found {count or 'none either'}")

    def _pass_over(self, pair: Pair, why: str) -> None:
        """Say why the learned matcher is not asked about a pair; what it said in an earlier run stays."""
        if not self._is_learned(pair):
            self.store.notes.put_decision(pair, f"{why}; not asked further")

    def _put(self, pair: Pair, found: Correspondences, geometry: TwoView, config: str) -> None:
        self.store.put_matches(pair, PairMatches(found.indices, found.scores), config)
        self.store.put_two_view(pair, geometry, self.verification_config)

    def _is_learned(self, pair: Pair) -> bool:
        """Whether the learned matcher has been asked about a pair."""
        look = self.store.notes.first_look(pair)
        return look is not None and f"; {self.options.learned} found" in look.decision

    def _standing(self, pairs: list[Pair]) -> tuple[Groups, list[Pair]]:
        """Pictures that hang together beyond doubt after the first look, and the other hopeful pairs.

        Pairs that would join groups of pictures come before those within one, then the most promising first.
        """
        groups, thin = Groups(), []
        for pair in pairs:
            look = self.store.notes.first_look(pair)
            if look is None:
                continue
            if look.verified and look.inlier_count >= self.options.cascade.thick_support:
                groups.join(pair, is_thick=True)
            elif look.verified or look.promise <= self.options.cascade.hopeless:
                thin.append((look.promise, pair))
        return groups, [pair for *_, pair in sorted((groups.holds(pair), promise, pair) for promise, pair in thin)]


def _nothing_of(found: Correspondences) -> Correspondences:
    return Correspondences(found.indices[:0], found.points0[:0], found.points1[:0], found.scores[:0])


def _nothing_in(geometry: TwoView) -> TwoView:
    return replace(geometry, inliers=geometry.inliers[:0], errors=geometry.errors[:0])


def _present(matcher: Matcher | None) -> Matcher:
    if matcher is None:
        raise RuntimeError("the learned matcher was asked for without its weights")
    return matcher
