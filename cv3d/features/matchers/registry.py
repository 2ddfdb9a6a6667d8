"""The matchers there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cv3d.compute import Compute
from cv3d.errors import UsageError
from cv3d.features.matchers.base import Matcher


@dataclass(frozen=True)
class MatcherEntry:
    """One matcher: how to make it, and what to tell about it."""

    build: Callable[[Compute], Matcher]
    extractors: tuple[str, ...]
    """The extractors whose features it takes; none stands for all."""
    weights: tuple[str, ...]
    """Names in the catalogue of weights that it needs."""
    licence: str
    speed: str
    """fast, medium or slow, as in the catalogue of weights."""
    summary: str


def _mutual(_compute: Compute) -> Matcher:
    from cv3d.features.matchers.mutual import MutualNearest

    return MutualNearest()


def _ratio(_compute: Compute) -> Matcher:
    from cv3d.features.matchers.ratio import RatioTest

    return RatioTest()


def _refined(compute: Compute) -> Matcher:
    from cv3d.features.matchers.refined import MutualRefined

    return MutualRefined(compute)


def _lightglue(features: str) -> Callable[[Compute], Matcher]:
    def build(compute: Compute) -> Matcher:
        from cv3d.features.matchers.lightglue import LightGlue

        return LightGlue(features, compute)

    return build


MATCHERS: Mapping[str, MatcherEntry] = {
    "mutual": MatcherEntry(_mutual, (), (), "Apache-2.0", "fast", "mutual nearest neighbours"),
    "ratio": MatcherEntry(_ratio, (), (), "Apache-2.0", "fast", "mutual nearest neighbours, Lowe's ratio test"),
    "mutual-refined": MatcherEntry(
        _refined, ("xfeat-dense",), ("xfeat",), "Apache-2.0", "fast", "mutual nearest neighbours, XFeat's refinement"
    ),
    "lighterglue": MatcherEntry(
        _lightglue("xfeat"), ("xfeat",), ("xfeat-lighterglue",), "Apache-2.0", "medium", "LighterGlue for XFeat"
    ),
    "lightglue-aliked": MatcherEntry(
        _lightglue("aliked"), ("aliked",), ("aliked-lightglue",), "Apache-2.0", "medium", "LightGlue for ALIKED"
    ),
    "lightglue-disk": MatcherEntry(
        _lightglue("disk"), ("disk",), ("disk-lightglue",), "Apache-2.0", "medium", "LightGlue for DISK"
    ),
}
"""Every matcher, by name."""


def create_matcher(name: str, compute: Compute) -> Matcher:
    """A matcher by name, ready to run.

    Raises:
        UsageError: there is none of that name.
        DependencyError: its weights are not here.
        FormatError: its weights are not the published ones.
    """
    if name not in MATCHERS:
        raise UsageError(f"no matcher is called '{name}': one of {', '.join(MATCHERS)}")
    return MATCHERS[name].build(compute)
