"""What a recording's frames went through, over time: states as a strip, numbers as lines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.reporting import svg
from cv3d.reporting.heatmap import WIDTH
from cv3d.reporting.page import Html, tag
from cv3d.reporting.svg import Axis

Floats = NDArray[np.float64]

_HEIGHT, _TOP, _BOTTOM, _LEFT, _RIGHT = 300.0, 12.0, 252.0, 66.0, WIDTH - 24.0
_MOST_BINS = 1200
"""Stretches that a line or a strip is cut into; what happens within one is shown by its extremes."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """Where frames lie along the time axis."""

    values: Floats
    """(n,), not decreasing."""
    title: str
    """With its unit."""

    @classmethod
    def of(cls, times: Sequence[float], is_timed: bool) -> Timeline:
        """Seconds since the first frame; the frames' count where the stamps say nothing or go back."""
        values = np.asarray(times, np.float64)
        if is_timed and len(values) and np.isfinite(values).all() and (np.diff(values) >= 0.0).all():
            return cls(values - values[0], "time, s")
        return cls(np.arange(float(len(values))), "frame")

    @property
    def axis(self) -> Axis:
        """From the first frame to the last."""
        last = float(self.values[-1]) if len(self.values) else 0.0
        return Axis(0.0, last if last > 0.0 else 1.0, _LEFT, _RIGHT)


def strip(timeline: Timeline, ranks: NDArray[np.intp], colours: Sequence[str], label: str, height: int = 30) -> Html:
    """A band as wide as the page, coloured along time; of several values within a stretch the highest is shown.

    Args:
        timeline: n frames.
        ranks: (n,) index of each frame's colour; -1: none.
        colours: of every rank.
        label: what the band shows, for those who do not see it.
        height: on the screen, pixels.
    """
    count = min(len(ranks), _MOST_BINS)
    last = float(timeline.values[-1]) if len(ranks) else 0.0
    places = timeline.values / last if last > 0.0 else np.linspace(0.0, 1.0, len(ranks))
    bins = np.minimum((places * count).astype(np.intp), count - 1)
    shown = np.full(count, -2, np.intp)
    np.maximum.at(shown, bins, ranks)
    # A stretch without a frame goes on as the one before it.
    filled = np.maximum.accumulate(np.where(shown == -2, 0, np.arange(count)))
    shown = shown[filled]
    edges = [0, *(np.flatnonzero(np.diff(shown)) + 1).tolist(), count]
    rects = [
        tag("rect", x=start, y=0, width=end - start, height=1, fill=colours[shown[start]])
        for start, end in itertools.pairwise(edges)
        if end > start and shown[start] >= 0
    ]
    style = f"width:100%;height:{height}px;max-width:none;border-radius:4px;background:var(--grid)"
    return tag(
        "svg",
        *rects,
        viewBox=f"0 0 {max(count, 1)} 1",
        preserveAspectRatio="none",
        shape_rendering="crispEdges",
        role="img",
        aria_label=label,
        style=style,
    )


def ticks_below(timeline: Timeline) -> Html:
    """The time at the ends, the quarters and the middle of a strip."""
    last = float(timeline.values[-1]) if len(timeline.values) else 0.0
    digits = max(0, 2 - math.floor(math.log10(last))) if last > 0.0 and timeline.title != "frame" else 0
    words = [f"{share * last:.{min(digits, 3)}f}" for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    words[-1] += " s" if timeline.title != "frame" else " frames"
    style = "display:flex;justify-content:space-between;font-size:12.5px;margin-top:2px"
    return tag("div", *(tag("span", word) for word in words), class_="soft", style=style)


@dataclass(frozen=True, eq=False)
class Level:
    """A horizontal line with its name."""

    value: float
    name: str
    dash: str


def line_over_time(timeline: Timeline, values: Floats, title: str, label: str, colour: str = "var(--accent)") -> Html:
    """One number over time; NaN breaks the line.

    Args:
        timeline: n frames.
        values: (n,), not negative.
        title: what it is, with its unit.
        label: what the drawing shows.
        colour: of the line.
    """
    top = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    x, y = timeline.axis, Axis(0.0, 1.06 * top if top > 0.0 else 1.0, _BOTTOM, _TOP)
    at, height = _extremes(timeline.values, values)
    placed = np.stack([x.place(at), y.place(height)], axis=1)
    commands = svg.polylines(placed, np.isfinite(height))
    return svg.drawing(
        WIDTH, _HEIGHT, label, svg.frame(x, y, timeline.title, title, counts=(6, 5)), svg.path(commands, colour, 1.4)
    )


def dots_over_time(
    timeline: Timeline, values: Floats, is_special: NDArray[np.bool_], levels: Sequence[Level], top: float, label: str
) -> tuple[Html, int]:
    """A number of every frame as dots, with level lines; and how many dots lie above the drawing.

    Args:
        timeline: n frames.
        values: (n,), milliseconds.
        is_special: (n,) whether a dot is drawn in the second colour.
        levels: lines across.
        top: where the drawing ends.
        label: what it shows.
    """
    x, y = timeline.axis, Axis(0.0, top, _BOTTOM, _TOP)
    parts = [svg.frame(x, y, timeline.title, "ms a frame", counts=(6, 5))]
    for chosen, colour, size in ((~is_special, "var(--accent)", 2.4), (is_special, "var(--warm)", 3.4)):
        at, height = _extremes(timeline.values[chosen], values[chosen])
        shown = height <= top
        placed = np.stack([x.place(at[shown]), y.place(height[shown])], axis=1)
        parts.append(svg.dots(placed, colour, size, stroke_opacity="0.65"))
    entries = [("var(--ink)", level.dash, level.name) for level in levels]
    for level in levels:
        height_at = y.at(level.value)
        if level.value <= top:
            parts.append(
                svg.path(f"M{x.start:g} {height_at:.1f}H{x.end:g}", "var(--ink)", 1.2, stroke_dasharray=level.dash)
            )
    parts.append(svg.key(entries, x.start + 12.0, _TOP + 14.0))
    return svg.drawing(WIDTH, _HEIGHT, label, *parts), int((values > top).sum())


def _extremes(at: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Least and greatest of every stretch in the order of time, so that no spike is lost; NaN stays between them."""
    if len(values) <= 2 * _MOST_BINS:
        return at, values
    kept: list[int] = []
    for piece in np.array_split(np.arange(len(values)), _MOST_BINS):
        known = piece[np.isfinite(values[piece])]
        ends = {int(known[np.argmin(values[known])]), int(known[np.argmax(values[known])])} if len(known) else set()
        gap = {int(piece[np.argmax(~np.isfinite(values[piece]))])} if len(known) < len(piece) else set()
        kept += sorted(ends | gap)
    return at[kept], values[kept]
