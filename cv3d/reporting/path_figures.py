"""A camera's path from three sides, all at one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.reporting import svg
from cv3d.reporting.figures import thinned
from cv3d.reporting.heatmap import WIDTH
from cv3d.reporting.page import Html, tag
from cv3d.reporting.svg import Axis, Points

Floats = NDArray[np.float64]

_LEFT, _TOP, _BELOW = 66.0, 12.0, 46.0
_WIDE, _TALL, _LEAST = 470.0, 420.0, 130.0
"""Room of a drawing's axes: width, most and least height, drawing units."""
_MARGIN = 1.08
_INNER = (0.02, 0.98)
"""Quantiles of the map that a drawing makes room for: a few points lie far away."""
_MOST_ROOM = 1.0
"""How much larger than the path the map may make a drawing."""


@dataclass(frozen=True)
class Side:
    """A direction to look from. The world's axes are those of the first camera: x right, y down, z forward."""

    name: str
    across: int
    """The axis that goes to the right on the page."""
    along: int
    """The axis that goes up or down."""
    is_down: bool
    """Whether it grows downwards."""


SIDES = (
    Side("From above", 0, 2, is_down=False),
    Side("From behind", 0, 1, is_down=True),
    Side("From the right", 2, 1, is_down=True),
)
AXES = ("x (right)", "y (down)", "z (forward)")


@dataclass(frozen=True, eq=False)
class PathDrawing:
    """What is drawn of one segment, in its own world."""

    positions: Floats
    """Of the camera, (n, 3)."""
    breaks: NDArray[np.bool_]
    """(n,) whether frames are missing before each."""
    keys: Floats
    """Of the key frames, (k, 3)."""
    loops: Floats
    """Both ends of every loop, (l, 2, 3)."""
    points: Floats
    """Of the map, (m, 3)."""
    truth: Floats | None
    """The true path in the segment's world, (t, 3)."""
    colour: str


def three_sides(path: PathDrawing, unit: str, anchor: str) -> list[tuple[str, Html]]:
    """Title and drawing of a path from each of :data:`SIDES`, at one scale.

    Args:
        path: n > 0 positions.
        unit: of lengths, "" for an arbitrary one.
        anchor: an id that no other element of the page has.
    """
    least, most = extent(path)
    size = np.maximum(most - least, 1e-9)
    centre = 0.5 * (least + most)
    # One scale: units on the page for a unit of length. A path that stands still is drawn as a point.
    scale = min(min(_WIDE / size[side.across], _TALL / size[side.along]) for side in SIDES) / _MARGIN
    drawn = []
    for side in SIDES:
        height = float(np.clip(_MARGIN * scale * size[side.along], _LEAST, _TALL))
        half = 0.5 * np.array([_WIDE, height]) / scale
        low, high = centre[[side.across, side.along]] - half, centre[[side.across, side.along]] + half
        x = Axis(float(low[0]), float(high[0]), _LEFT, _LEFT + _WIDE)
        ends = (_TOP, _TOP + height) if side.is_down else (_TOP + height, _TOP)
        y = Axis(float(low[1]), float(high[1]), *ends)
        drawn.append((side.name, _drawing(path, side, x, y, height, unit, f"{anchor}-{side.across}{side.along}")))
    return drawn


def _drawing(path: PathDrawing, side: Side, x: Axis, y: Axis, height: float, unit: str, anchor: str) -> Html:
    def place(points: Floats) -> Points:
        return np.stack([x.place(points[:, side.across]), y.place(points[:, side.along])], axis=1)

    parts: list[Html] = []
    if len(path.points):
        parts.append(svg.dots(place(thinned(path.points)), "var(--mute)", 1.7, stroke_opacity="0.55"))
    if path.truth is not None and len(path.truth):
        parts.append(svg.path(svg.polyline(place(thinned(path.truth))), "var(--soft)", 1.6, stroke_dasharray="5 4"))
    if len(path.loops):
        commands = svg.segments(place(path.loops[:, 0]), place(path.loops[:, 1]))
        parts.append(svg.path(commands, "var(--warm)", 1.2, stroke_dasharray="2 3"))
    placed = place(path.positions)
    parts.append(svg.path(_pieces(placed, path.breaks), path.colour, 2.0))
    parts.append(svg.dots(place(path.keys), path.colour, 4.6))
    parts.append(svg.dots(placed[:1], "var(--ink)", 9.0))
    parts.append(svg.crosses(placed[-1:], "var(--ink)", 5.0, 2.0))
    suffix = f", {unit}" if unit else ""
    counts = (6, max(2, round(height / 60.0)))
    titles = (AXES[side.across] + suffix, AXES[side.along] + suffix)
    frame = svg.frame(x, y, *titles, counts=counts)
    return svg.drawing(
        WIDTH, _TOP + height + _BELOW, f"The path {side.name.lower()}", frame, svg.clip(anchor, x, y, *parts)
    )


def extent(path: PathDrawing) -> tuple[Floats, Floats]:
    """Corners of the box to be seen, (3,) each: all of path and truth, most of the map where that is not far larger."""
    must = path.positions if path.truth is None else np.concatenate([path.positions, path.truth])
    least, most = must.min(axis=0), must.max(axis=0)
    if len(path.points):
        low, high = np.quantile(path.points, _INNER, axis=0)
        room = _MOST_ROOM * float((most - least).max())
        least = np.maximum(np.minimum(least, low), least - room)
        most = np.minimum(np.maximum(most, high), most + room)
    return least, most


def _pieces(placed: Points, breaks: NDArray[np.bool_]) -> str:
    """Path commands of a line that is broken before some of its points; thinned to what can be seen."""
    return "".join(svg.polyline(thinned(piece)) for piece in np.split(placed, np.flatnonzero(breaks)))


def key(colours: Sequence[tuple[str, str, str]]) -> Html:
    """A legend above drawings: (colour, dash pattern, name) of every kind of line."""
    samples = [
        tag(
            "li",
            tag("svg", svg.path("M1 6h24", colour, 2.4, stroke_dasharray=dash or None), viewBox="0 0 26 12"),
            name,
        )
        for colour, dash, name in colours
    ]
    return tag("ul", *samples, class_="legend")
