"""Drawing as inline SVG: axes with sensible ticks, paths from arrays, pictures. Colours follow the page's theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.reporting.page import Html, escaped, joined, number, tag

Points = NDArray[np.float64]
"""(n, 2), x then y."""

_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic map from data to drawing units."""

    low: float
    high: float
    start: float
    """Where `low` lies, drawing units."""
    end: float
    """Where `high` lies."""
    log: bool = False

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Drawing coordinates of data values, same shape."""
        return self.start + self.share(values) * (self.end - self.start)

    def at(self, value: float) -> float:
        """Drawing coordinate of one value."""
        return float(self.place(np.array(value)))

    def share(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where values lie between `low` (0) and `high` (1), same shape."""
        if self.log:
            tiny = np.finfo(np.float64).tiny
            return np.log(np.maximum(values, tiny) / self.low) / math.log(self.high / self.low)
        return (values - self.low) / (self.high - self.low)

    def ticks(self, count: int = 6) -> list[float]:
        """About `count` round values within the axis."""
        return _log_ticks(self.low, self.high, count) if self.log else linear_ticks(self.low, self.high, count)


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`, which is positive."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1.0 - 1e-9))


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """At most about `count` multiples of a round step from `low` to `high`."""
    step = round_step((high - low) / max(count, 1))
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [k * step for k in range(first, last + 1)]


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for factors in ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = [f * 10.0**d for d in decades for f in factors if low * 0.999 <= f * 10.0**d <= high * 1.001]
        if len(ticks) <= count + 1:
            return ticks
    return ticks[:: math.ceil(len(ticks) / count)]


def tick_text(value: float) -> str:
    """A tick's label: as few digits as tell it."""
    text = f"{value:.6g}"
    return number(value, 2) if "e" in text else text.replace("-", "−")


def drawing(width: float, height: float, label: str, *parts: str) -> Html:
    """A whole drawing, scaled to the room it gets.

    Args:
        width: in drawing units.
        height: likewise.
        label: what it shows, for those who do not see it.
        parts: its elements.
    """
    return tag("svg", *parts, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label)


def text(x: float, y: float, content: str, anchor: str = "middle", **attributes: str | float | None) -> Html:
    """A line of text; `y` is its base line, `anchor` one of start, middle, end."""
    return tag("text", content, x=_c(x), y=_c(y), text_anchor=anchor, **attributes)


def path(commands: str, colour: str, width: float = 1.0, **attributes: str | float | None) -> Html:
    """A stroked path; its width stays the same however the drawing is scaled."""
    return tag(
        "path",
        d=Html(commands),
        fill="none",
        stroke=colour,
        stroke_width=width,
        vector_effect="non-scaling-stroke",
        stroke_linejoin="round",
        **attributes,
    )


def polyline(points: Points, closed: bool = False) -> str:
    """Path commands of a connected line through `points` (n, 2)."""
    joints = "L".join(f"{_c(x)} {_c(y)}" for x, y in points.tolist())
    return f"M{joints}{'z' if closed else ''}" if joints else ""


def polylines(points: Points, valid: NDArray[np.bool_]) -> str:
    """Path commands of a line that is broken where `valid` (n,) is False."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], valid, [False]]).astype(np.int8)))
    return "".join(polyline(points[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1)


def segments(starts: Points, ends: Points) -> str:
    """Path commands of separate lines from `starts` (n, 2) to `ends` (n, 2)."""
    pairs = np.concatenate([starts, ends - starts], axis=1).tolist()
    return "".join(f"M{_c(x)} {_c(y)}l{_c(dx)} {_c(dy)}" for x, y, dx, dy in pairs)


def arrows(starts: Points, ends: Points, head: float) -> str:
    """Path commands of arrows from `starts` (n, 2) to `ends` (n, 2), their heads at most `head` long."""
    shaft = ends - starts
    length = np.hypot(shaft[:, 0], shaft[:, 1])
    size = np.minimum(head, 0.6 * length) / np.maximum(length, 1e-9)
    back, side = -shaft * size[:, None], np.stack([shaft[:, 1], -shaft[:, 0]], axis=1) * (0.45 * size[:, None])
    wings = np.concatenate([starts, shaft, back + side, -back - side, back - side], axis=1).tolist()
    return "".join(
        f"M{_c(x)} {_c(y)}l{_c(a)} {_c(b)}l{_c(c)} {_c(d)}m{_c(e)} {_c(f)}l{_c(g)} {_c(h)}"
        for x, y, a, b, c, d, e, f, g, h in wings
    )


def dots(points: Points, colour: str, size: float, **attributes: str | float | None) -> Html:
    """Round dots of `size` screen pixels at `points` (n, 2)."""
    commands = "".join(f"M{_c(x)} {_c(y)}h.01" for x, y in points.tolist())
    return path(commands, colour, size, stroke_linecap="round", **attributes)


def crosses(points: Points, colour: str, arm: float, width: float) -> Html:
    """Diagonal crosses at `points` (n, 2), each arm `arm` drawing units in both directions."""
    a, b = _c(arm), _c(2.0 * arm)
    commands = "".join(f"M{_c(x)} {_c(y)}m-{a} -{a}l{b} {b}m0 -{b}l-{b} {b}" for x, y in points.tolist())
    return path(commands, colour, width)


def image(uri: str, x: float, y: float, width: float, height: float, *, smooth: bool = True) -> Html:
    """A picture stretched over a rectangle."""
    return tag(
        "image",
        href=uri,
        x=_c(x),
        y=_c(y),
        width=_c(width),
        height=_c(height),
        preserveAspectRatio="none",
        style=None if smooth else "image-rendering:pixelated",
    )


def rectangle(x: Axis, y: Axis, **attributes: str | float | None) -> Html:
    """The area that two axes span."""
    left, top = min(x.start, x.end), min(y.start, y.end)
    width, height = abs(x.end - x.start), abs(y.end - y.start)
    return tag("rect", x=_c(left), y=_c(top), width=_c(width), height=_c(height), **attributes)


def clip(anchor: str, x: Axis, y: Axis, *parts: str) -> Html:
    """Parts cut off at the area that two axes span; `anchor` is an id that no other element of the page has."""
    area = tag("clipPath", rectangle(x, y), id=anchor)
    return joined([tag("defs", area), tag("g", *parts, clip_path=f"url(#{anchor})")])


def hatch(anchor: str, x: Axis, y: Axis) -> Html:
    """The area that two axes span, hatched: nothing is known there. `anchor` as in :func:`clip`."""
    line = tag("path", d="M0 0V7", stroke="var(--line)", stroke_width="3")
    pattern = tag(
        "pattern",
        line,
        id=anchor,
        width="7",
        height="7",
        patternUnits="userSpaceOnUse",
        patternTransform="rotate(45)",
    )
    return joined([tag("defs", pattern), rectangle(x, y, fill=f"url(#{anchor})")])


def frame(
    x: Axis, y: Axis, x_title: str = "", y_title: str = "", *, counts: tuple[int, int] = (6, 6), grid: bool = True
) -> Html:
    """Frame, grid, ticks and titles of a plot.

    Args:
        x: horizontal axis.
        y: vertical axis.
        x_title: what it is, with its unit.
        y_title: likewise.
        counts: about how many ticks each gets.
        grid: draw lines across at the ticks.
    """
    parts: list[Html] = []
    top, bottom = min(y.start, y.end), max(y.start, y.end)
    left, right = min(x.start, x.end), max(x.start, x.end)
    lines = ""
    for tick in x.ticks(counts[0]):
        place = x.at(tick)
        lines += f"M{_c(place)} {_c(bottom)}V{_c(top)}" if grid else f"M{_c(place)} {_c(bottom)}v4"
        parts.append(text(place, bottom + 17, tick_text(tick)))
    for tick in y.ticks(counts[1]):
        place = y.at(tick)
        lines += f"M{_c(left)} {_c(place)}H{_c(right)}" if grid else f"M{_c(left)} {_c(place)}h-4"
        parts.append(text(left - 7, place + 4.5, tick_text(tick), "end"))
    parts.insert(0, path(lines, "var(--grid)" if grid else "var(--mute)"))
    parts.append(rectangle(x, y, fill="none", stroke="var(--mute)"))
    if x_title:
        parts.append(text((left + right) / 2, bottom + 35, x_title))
    if y_title:
        middle = (top + bottom) / 2
        beside = max(left - 52.0, 13.0)
        parts.append(text(beside, middle, y_title, transform=f"rotate(-90 {_c(beside)} {_c(middle)})"))
    return joined(parts)


def key(entries: Sequence[tuple[str, str, str]], x: float, y: float) -> Html:
    """A legend of line samples, one (colour, dash pattern, name) below another; `x`, `y` is its top left."""
    parts: list[Html] = []
    for i, (colour, dash, name) in enumerate(entries):
        line = y + 18.0 * i
        parts.append(path(f"M{_c(x)} {_c(line)}h22", colour, 2.0, stroke_dasharray=dash or None))
        parts.append(text(x + 29, line + 4.5, name, "start"))
    return joined(parts)


def label(x: float, y: float, content: str) -> Html:
    """Text that stays readable on a picture of any brightness."""
    style = "fill:#fff;stroke:#0009;stroke-width:3px;paint-order:stroke;font-weight:600"
    return text(x, y, escaped(content), style=style)


def _c(value: float) -> str:
    """A coordinate: a tenth of a unit is below what is seen."""
    written = f"{value:.1f}"
    written = written[:-2] if written.endswith(".0") else written
    return "0" if written == "-0" else written
