"""An extractor and a matcher put together for pairs of pictures: plain, without verification, store or cascade.

It is what benchmarks measure. The features of a picture are kept for its next pair.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.errors import InputError
from cv3d.features.extractors.base import Extractor, Features
from cv3d.features.matchers.base import Matcher
from cv3d.features.preparing import prepare

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DirectMatcherOptions:
    """How pictures are prepared."""

    max_side: int | None = 1600
    """Pictures with a longer side are shrunk to it, pixels; None takes all as they are."""
    trims_border: bool = True
    """Whether a constant border is left out, such as undistortion leaves; see :mod:`cv3d.media.trimming`."""
    kept_pictures: int = 200
    """How many pictures' features are kept for further pairs."""

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < 32:
            raise InputError(f"pictures cannot be shrunk to {self.max_side} pixels: 32 at least")


class Readable(Protocol):
    """A picture that can be read."""

    @property
    def key(self) -> str:
        """The same for the same pixels."""

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """What was found in two pictures."""

    points0: Floats
    """Matched keypoints of the first picture, (n, 2), pixels of the picture as it was read."""
    points1: Floats
    """Those of the second, (n, 2)."""
    scores: Floats
    """How far each match is believed, (n,), on the matcher's own scale."""
    keypoints: tuple[int, int]
    """How many keypoints there are in either picture, matched or not."""
    sizes: tuple[tuple[int, int], tuple[int, int]]
    """Width and height of either picture as it was read, pixels."""
    extract_seconds: tuple[float, ...]
    """How long each extraction took that was done for this pair: none, one or two."""
    match_seconds: float
    """How long the matching took."""


@dataclass(frozen=True, eq=False)
class _Extracted:
    features: Features
    points: Floats
    """(K, 2), pixels of the picture as it was read."""
    size: tuple[int, int]


class DirectMatcher:
    """Extracts and matches; each picture once, as long as it is remembered."""

    def __init__(
        self, extractor: Extractor, matcher: Matcher, compute: Compute, options: DirectMatcherOptions | None = None
    ) -> None:
        self._extractor = extractor
        self._matcher = matcher
        self._compute = compute
        self.options = options or DirectMatcherOptions()
        self._known: OrderedDict[str, _Extracted] = OrderedDict()

    def __call__(self, first: Readable, second: Readable) -> MatchedPair:
        """The matches of two pictures.

        Raises:
            PictureError: one of them cannot be read.
        """
        seconds: list[float] = []
        one, other = (self._extracted(picture, seconds) for picture in (first, second))
        start = time.perf_counter()
        matches = self._matcher.match(one.features, other.features)
        indices = matches.indices[0].cpu().numpy()
        scores = matches.scores[0].double().cpu().numpy()
        match_seconds = time.perf_counter() - start
        matched = indices >= 0
        return MatchedPair(
            one.points[matched],
            other.points[indices[matched]],
            scores[matched],
            (int(one.features.counts()[0]), int(other.features.counts()[0])),
            (one.size, other.size),
            tuple(seconds),
            match_seconds,
        )

    def _extracted(self, picture: Readable, seconds: list[float]) -> _Extracted:
        known = self._known.pop(picture.key, None)
        if known is None:
            pixels = picture.read()
            start = time.perf_counter()
            known = self._extract(pixels)
            seconds.append(time.perf_counter() - start)
        self._known[picture.key] = known
        while len(self._known) > self.options.kept_pictures:
            self._known.popitem(last=False)
        return known

    def _extract(self, pixels: NDArray[np.uint8]) -> _Extracted:
        height, width = pixels.shape[:2]
        prepared = prepare(pixels, self.options.max_side, trims_border=self.options.trims_border)
        # Decoders may hand out read-only pixels, which torch refuses to share.
        image = torch.tensor(prepared.pixels).permute(2, 0, 1)[None].to(self._compute.device)
        features = self._extractor.extract(image)
        points = prepared.as_read(features.keypoints[0].double().cpu().numpy())
        return _Extracted(features, points, (width, height))
