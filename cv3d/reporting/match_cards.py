"""Pairs of a matched set as cards: both pictures, a few of their matches, and what became of them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.features.matching import SetMatch
from cv3d.features.store import FeatureStore
from cv3d.reporting import svg
from cv3d.reporting.match_lines import Placement, chosen_lines, hue_colour, hues, place_pair, shrunk
from cv3d.reporting.page import Html, data_uri, joined, tag
from cv3d.reporting.set_pictures import LoadPixels
from cv3d.reporting.stored_pairs import StoredPair

_SHOWN = 4
"""Pairs of each kind."""
_KEPT = 60
"""The best of each kind, among which those are shown that have different pictures."""
_CANVAS = 1000.0
_LONGEST = 520
"""Longest side of a picture, pixels."""
_BYTES_EACH = 40_000
_QUALITIES = (76, 60, 42)
_LINES, _REJECTED = 90, 40
_HUES = 12


@dataclass(frozen=True)
class ExamplePairs:
    """The pairs of a set that a person should see."""

    strongest: tuple[StoredPair, ...]
    weakest: tuple[StoredPair, ...]
    """Of the verified ones."""
    helped: tuple[StoredPair, ...]
    """Those to which the learned matcher added most."""
    unverified: tuple[StoredPair, ...]
    """Those that came closest, and some that have nothing in common."""


def choose_examples(pairs: Iterable[StoredPair], learned: str | None) -> ExamplePairs:
    """Choose from the pairs of a set, in one pass.

    Args:
        pairs: any number of them; a few are held at once.
        learned: the learned matcher's name; None where there was none.
    """
    strongest: _Best = _Best()
    weakest, helped, hopeful, unrelated = _Best(), _Best(), _Best(), _Best()
    for pair in pairs:
        if not pair.verified:
            (unrelated if pair.decision.startswith("unrelated") else hopeful).add(-pair.promise, pair)
            continue
        strongest.add(pair.inliers, pair)
        weakest.add(-pair.inliers, pair)
        if pair.matcher == learned:
            helped.add(pair.inliers - pair.first_inliers, pair)
    shown: set[tuple[int, int]] = set()
    # A pair is shown once, and what may be false is shown as such.
    bottom = weakest.spread(_SHOWN, shown)
    top = strongest.spread(_SHOWN, shown)
    gained = helped.spread(_SHOWN, shown)
    close = hopeful.spread(_SHOWN - 1, shown)
    return ExamplePairs(top, bottom, gained, close + unrelated.spread(_SHOWN - len(close), shown))


class _Best:
    """The pairs with the highest keys; of equal ones, those that came first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, tuple[int, int], StoredPair]] = []

    def add(self, key: float, pair: StoredPair) -> None:
        entry = (key, (-pair.ids[0], -pair.ids[1]), pair)
        if len(self._heap) < _KEPT:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def spread(self, count: int, shown: set[tuple[int, int]]) -> tuple[StoredPair, ...]:
        """The best ones that were not shown yet, where possible of pictures that none of the others has."""
        ranked = [pair for *_, pair in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]
        ranked = [pair for pair in ranked if pair.ids not in shown]
        chosen: list[StoredPair] = []
        for is_strict in (True, False):
            for pair in ranked:
                taken = {place for other in chosen for place in other.places}
                if len(chosen) < count and pair not in chosen and not (is_strict and taken & set(pair.places)):
                    chosen.append(pair)
        shown.update(pair.ids for pair in chosen)
        return tuple(chosen)


def thumbnails(pairs: Iterable[StoredPair], result: SetMatch, load: LoadPixels) -> dict[str, bytes | None]:
    """The pictures of pairs as small JPEG files by their names; None for those that cannot be read.

    Each is loaded once, and in the order of the set: frames of a video are decoded in one pass.
    """
    places = sorted({place for pair in pairs for place in pair.places})
    names = [result.pictures[place].name for place in places]
    return {name: None if (pixels := load(name)) is None or not pixels.size else _jpeg(pixels) for name in names}


def pair_card(pair: StoredPair, result: SetMatch, store: FeatureStore, pixels: Mapping[str, bytes | None]) -> Html:
    """A pair with its pictures, matches and decision.

    Args:
        pair: the pair.
        result: the set it is of.
        store: the set's store.
        pixels: see :func:`thumbnails`.
    """
    pictures = [result.pictures[place] for place in _as_stored(pair, result)]
    geometry, matches = store.two_view(pair.ids), store.matches(pair.ids)
    names = [f"{place + 1}: {picture.name}" for place, picture in zip(_as_stored(pair, result), pictures, strict=True)]
    lines: list[str] = [tag("b", f"{names[0]} and {names[1]}"), tag("br")]
    if geometry is None or matches is None or any(picture.size is None for picture in pictures):
        return tag("div", tag("div", "nothing is known of it", class_="none"), tag("div", *lines, class_="cap"))
    count = len(matches)
    if pair.verified:
        kind = {"E": "essential matrix", "F": "fundamental matrix", "H": "homography"}.get(str(geometry.model), "")
        rms = f", {geometry.rms:.2f} px RMS" if math.isfinite(geometry.rms) else ""
        lines.append(f"{pair.inliers} of {count} matches verified by {pair.matcher}; {kind}{rms}")
    else:
        lines.append(f"not verified: {geometry.reason or 'no geometry'}")
    if pair.decision:
        lines += [tag("br"), tag("span", pair.decision, class_="soft")]
    placement = place_pair(*(picture.size or (1, 1) for picture in pictures))
    parts = [_picture(pixels[picture.name], placement, side) for side, picture in enumerate(pictures)]
    if count:
        keypoints = [store.keypoints(image_id) for image_id in pair.ids]
        points = [
            np.asarray(own, np.float64)[matches.indices[:, side]]
            for side, own in enumerate(keypoints)
            if own is not None
        ]
        inliers = geometry.inliers if pair.verified else np.zeros(count, dtype=bool)
        if len(points) == 2:
            parts.append(_lines(points[0], points[1], inliers, placement))
    width, height = (_CANVAS * side for side in placement.size)
    drawn = svg.drawing(width, height, f"{names[0]} and {names[1]}: matches", *parts)
    # A check box is what enlarges a picture without a script; the style sheet does the rest.
    toggle = tag("input", type="checkbox", aria_label="enlarge")
    return tag("div", tag("label", toggle, drawn), tag("div", *lines, class_="cap"), class_="view")


def _as_stored(pair: StoredPair, result: SetMatch) -> tuple[int, int]:
    """Places of the pictures in the order of their ids, which is that of matches and geometry."""
    first, second = pair.places
    return (first, second) if result.pictures[first].image_id == pair.ids[0] else (second, first)


def _picture(jpeg: bytes | None, placement: Placement, side: int) -> Html:
    (x, y), (width, height) = placement.corners[side], placement.shown[side]
    x, y, width, height = (_CANVAS * value for value in (x, y, width, height))
    if jpeg is None:
        blank = tag(
            "rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=f"{height:.1f}", fill="var(--grid)"
        )
        return joined([blank, svg.text(x + width / 2, y + height / 2, "cannot be read", style="font-size:28px")])
    return svg.image(data_uri(jpeg, "image/jpeg"), x, y, width, height)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """A picture as JPEG, made smaller until there is room for it."""
    longest = float(_LONGEST)
    while True:
        small = shrunk(pixels, longest)
        ordered = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        for quality in _QUALITIES:
            _, jpeg = cv2.imencode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if len(jpeg) <= _BYTES_EACH or (quality == _QUALITIES[-1] and longest < 100.0):
                return jpeg.tobytes()
        longest *= 0.8


def _lines(
    points0: NDArray[np.float64],
    points1: NDArray[np.float64],
    inliers: NDArray[np.bool_],
    placement: Placement,
) -> Html:
    """Some matches, spread over the pictures: verified ones coloured by where they start, others faint."""
    parts: list[Html] = []

    def ends(entries: NDArray[np.int64]) -> list[NDArray[np.float64]]:
        chosen = entries[chosen_lines(points0[entries], points1[entries], placement, _LINES)]
        return [_CANVAS * placement.place(side, own[chosen]) for side, own in enumerate((points0, points1))]

    rejected = np.flatnonzero(~inliers)
    if len(rejected):
        rejected = rejected[chosen_lines(points0[rejected], points1[rejected], placement, _REJECTED)]
        commands = svg.segments(*ends(rejected))
        parts += [
            svg.path(commands, "#000", 1.6, stroke_opacity="0.18"),
            svg.path(commands, "#fff", 0.7, stroke_opacity="0.45"),
        ]
    verified = np.flatnonzero(inliers)
    verified = (
        verified[chosen_lines(points0[verified], points1[verified], placement, _LINES)] if len(verified) else verified
    )
    classes = (hues(points0[verified], placement.pictures[0]) * _HUES).astype(np.int64) % _HUES
    for hue in np.unique(classes).tolist():
        own = verified[classes == hue]
        colour = hue_colour((hue + 0.5) / _HUES)
        starts, stops = ends(own)
        parts.append(svg.path(svg.segments(starts, stops), colour, 1.0, stroke_opacity="0.75"))
        parts.append(svg.dots(np.concatenate([starts, stops]), colour, 3.0))
    return joined(parts)
