"""How pictures are matched."""

from __future__ import annotations

from dataclasses import dataclass, field

from cv3d.errors import UsageError
from cv3d.features.extractors.registry import EXTRACTORS
from cv3d.features.matchers.registry import MATCHERS

AUTO = "auto"
"""The matcher that stands for the cascade: the cheap one first, the learned one where that is not enough."""

_CHEAP = {"xfeat": "mutual", "aliked": "mutual", "disk": "mutual", "sift": "ratio", "xfeat-dense": "mutual-refined"}
_LEARNED = {"xfeat": "lighterglue", "aliked": "lightglue-aliked", "disk": "lightglue-disk"}


def is_learned(matcher: str) -> bool:
    """Whether a matcher is a network that looks at all keypoints at once."""
    return matcher in _LEARNED.values()


@dataclass(frozen=True)
class CascadeOptions:
    """When the cheap matcher's answer is enough, and when the learned one is worth its time."""

    thick_support: int = 100
    """Inliers from which on a verified pair needs no second opinion."""
    hopeless: float = 8.0
    """Decimal logarithm of the false alarms of the best sampled model above which pictures count as unrelated. On
    pairs that share nothing it is 11 to 15, on pairs that the learned matcher verifies mostly below 8."""
    min_cosine: float = 0.75
    """Between the descriptors of a cheap match; XFeat's false nearest neighbours are mostly below."""
    quick_samples: int = 2000
    """Samples of the quick look that tells unrelated pictures."""
    learned_false_alarms: float = 1e-20
    """Largest number of false alarms of a verified pair of a learned matcher. It looks at all keypoints at once, so its
    wrong matches agree with one another far more often than chance: on pairs of a phone's frames, of those between
    1e-20 and 1 nine in ten contradict the true geometry, below it about one in twenty."""
    wanted_neighbours: int = 4
    """In a set, thick pairs of a picture that make further learned matching of it unnecessary."""
    second_opinions: float = 1.0
    """In a set, most pairs that the learned matcher is asked about, over the number of pictures: it takes ten times as
    long as the cheap one, and the most promising pairs are asked about first."""

    def __post_init__(self) -> None:
        if min(self.thick_support, self.quick_samples) < 1 or min(self.wanted_neighbours, self.second_opinions) < 0:
            raise UsageError(
                "thick_support and quick_samples must be positive, wanted_neighbours and second_opinions not negative"
            )


@dataclass(frozen=True)
class MatchOptions:
    """How pictures are matched.

    Raises:
        UsageError: an extractor or matcher that does not exist, or two that do not go together.
    """

    extractor: str = "xfeat"
    """A key of :data:`cv3d.features.extractors.registry.EXTRACTORS`."""
    matcher: str = AUTO
    """A key of :data:`cv3d.features.matchers.registry.MATCHERS`, or "auto" for the cascade."""
    max_keypoints: int = 2048
    """Keypoints of a picture, at most."""
    detection_threshold: float | None = None
    """The detection score to exceed, on the extractor's own scale; None takes the extractor's default."""
    max_side: int | None = 1600
    """Pictures with a longer side are shrunk to it before extraction, pixels; None takes all as they are."""
    trims_border: bool = True
    """Whether a constant border is left out, such as undistortion leaves."""
    max_error: float = 2.0
    """Largest error of an inlier, pixels of the pictures as they are matched."""
    max_samples: int = 10_000
    """Largest number of random samples of a verification."""
    refine: bool = True
    """Whether verified matches are refined to a fraction of a pixel by photometric alignment."""
    cascade: CascadeOptions = field(default_factory=CascadeOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.extractor not in EXTRACTORS:
            raise UsageError(f"no extractor is called '{self.extractor}': one of {', '.join(EXTRACTORS)}")
        if self.matcher != AUTO:
            if self.matcher not in MATCHERS:
                raise UsageError(f"no matcher is called '{self.matcher}': {AUTO}, {', '.join(MATCHERS)}")
            takes = MATCHERS[self.matcher].extractors
            if takes and self.extractor not in takes:
                raise UsageError(
                    f"the matcher {self.matcher} takes the features of {', '.join(takes)}, not of {self.extractor}"
                )
        if self.max_keypoints < 1 or not self.max_error > 0.0 or self.max_samples < 1:
            raise UsageError("max_keypoints, max_error and max_samples must be positive")
        if self.max_side is not None and self.max_side < 32:
            raise UsageError(f"pictures cannot be shrunk to {self.max_side} pixels: 32 at least")

    @property
    def cheap(self) -> str:
        """The matcher that goes first, or the only one."""
        return _CHEAP[self.extractor] if self.matcher == AUTO else self.matcher

    @property
    def learned(self) -> str | None:
        """The matcher that comes second; None where the first one's answer stands."""
        return _LEARNED.get(self.extractor) if self.matcher == AUTO else None
