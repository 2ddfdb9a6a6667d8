"""The view graph of a set of pictures as a drawing: who makes a verified pair with whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.features.matching import SetMatch
from cv3d.reporting import svg
from cv3d.reporting.graph_layout import coarsened, merged_edges, packed, stress_layout, telling_edges
from cv3d.reporting.page import Html, joined, tag

PLAIN, MARKED = "#2f7fe0", "#ef7d22"
"""Colours of ordinary pairs and of those that stand out, told apart on light and on dark."""
MOST_NODES = 300
MOST_EDGES = 900
SIDE = 640.0
"""Width of a drawing, drawing units."""
_GROUP_COLOURS = ("var(--ink)", "#1f9d63", "#9a5bd8", "#d0437f", "#16a3b5", "#8f7a12")
_NUMBERED = 40
_LONE_SHOWN = 40
_MARGIN = 32.0
_LEAST_RADIUS, _MOST_RADIUS = 1.8, 7.0
_HALO = "fill:var(--ink);stroke:var(--card);stroke-width:3px;paint-order:stroke"
"""Of numbers that lie on lines."""
_CLASSES = 5


@dataclass(frozen=True, eq=False)
class DrawnGraph:
    """A view graph as it is drawn."""

    names: Sequence[str]
    """Of the pictures."""
    edges: NDArray[np.int64]
    """Verified pairs, (e, 2), places in `names`."""
    inliers: NDArray[np.int64]
    """Of each, (e,)."""
    is_marked: NDArray[np.bool_]
    """Pairs that stand out, (e,)."""
    mark_words: str
    """What marked pairs are; shown where there are any."""
    groups: Sequence[Sequence[int]]
    """Pictures that verified pairs join, the largest group first; lone pictures are groups too."""
    colours: NDArray[np.int64] | None = None
    """Which colour each picture has, (n,), -1 for none; None: each group has its own."""
    colour_words: str = ""
    """What these colours are."""


def graph_figure(result: SetMatch) -> tuple[Html, str]:
    """The view graph of a matched set as nodes and edges; and how to read it."""
    words = (
        f"Orange: found by {[name for name in result.methods if name != 'unrelated'][-1]}." if result.methods else ""
    )
    names = [picture.name for picture in result.pictures]
    groups = result.components()
    return draw_graph(DrawnGraph(names, result.edges, result.inliers, result.is_learned, words, groups))


def draw_graph(result: DrawnGraph) -> tuple[Html, str]:
    """A view graph as nodes and edges; and how to read it."""
    groups = [group for group in result.groups if len(group) > 1]
    lone = [group[0] for group in result.groups if len(group) == 1]
    count = len(result.names)
    labels = np.full(count, -1)
    together = np.array([place for group in groups for place in group], dtype=np.int64)
    labels[together] = np.arange(len(together))
    edges, inliers = labels[result.edges], result.inliers.astype(np.float64)
    merged = coarsened(len(together), edges, inliers, MOST_NODES)
    members = np.bincount(merged, minlength=int(merged.max(initial=-1)) + 1)
    is_merged = len(members) < len(together)
    marked_weights = inliers * result.is_marked
    if is_merged:
        _, marked_weights = merged_edges(merged, edges, marked_weights)
        edges, inliers = merged_edges(merged, edges, inliers)
    is_marked = marked_weights > 0.5 * inliers
    group_nodes = [np.unique(merged[labels[np.array(group)]]) for group in groups]
    room = SIDE - 2.0 * _MARGIN
    places = _all_places(group_nodes[:MOST_NODES], edges, inliers, (room, room), len(members))
    shown_nodes = np.isfinite(places[:, 0])
    height = 2.0 * _MARGIN
    if shown_nodes.any():
        # A chain is long and flat: no more height than it needs.
        places += _MARGIN - np.array([0.0, np.nanmin(places[:, 1])])
        height = float(np.nanmax(places[:, 1])) + _MARGIN
    drawn = telling_edges(len(members), edges, inliers, MOST_EDGES)
    drawn = drawn[shown_nodes[edges[drawn]].all(axis=1)] if len(drawn) else drawn
    parts = [_edges(places, edges[drawn], inliers[drawn], is_marked[drawn])]
    names = _node_names(result, together, merged, members)
    radius = _radius(places[shown_nodes])
    sizes = (
        radius * np.sqrt(members / max(float(np.mean(members)), 1.0)) if is_merged else np.full(len(members), radius)
    )
    first = _first_members(together, merged)
    for number, nodes in enumerate(group_nodes[:MOST_NODES]):
        for node in nodes.tolist():
            level = number if result.colours is None else int(result.colours[first[node]])
            colour = _GROUP_COLOURS[level] if 0 <= level < len(_GROUP_COLOURS) else "var(--mute)"
            parts.append(_node(places[node], float(sizes[node]), colour, names[node]))
    if len(members) <= _NUMBERED and not is_merged:
        for node, (x, y) in enumerate(places.tolist()):
            parts.append(svg.text(x, y - radius - 3.0, str(int(together[node]) + 1), style=_HALO))
    strip, extra = _lone_strip(result, lone, height)
    parts += strip
    caption = _graph_words(result, len(groups), len(lone), len(edges), len(drawn), is_merged)
    return svg.drawing(SIDE, height + extra, "The view graph", *parts), caption


def _all_places(
    groups: list[NDArray[np.int64]],
    edges: NDArray[np.int64],
    weights: NDArray[np.float64],
    area: tuple[float, float],
    count: int,
) -> NDArray[np.float64]:
    """Places of the nodes of all groups within an area, (count, 2); NaN for nodes of no group."""
    places = np.full((count, 2), math.nan)
    if not groups:
        return places
    local = np.full(count, -1)
    owner = np.full(count, -1)
    for number, nodes in enumerate(groups):
        local[nodes], owner[nodes] = np.arange(len(nodes)), number
    layouts, sizes = [], []
    for number, nodes in enumerate(groups):
        own = owner[edges[:, 0]] == number
        layout = stress_layout(len(nodes), local[edges[own]], weights[own])
        extent = np.ptp(layout, axis=0)
        # Room by the number of nodes, whatever the lengths are in; a margin keeps groups apart.
        factor = math.sqrt(len(nodes)) / max(float(extent.max()), 1e-9) if len(nodes) > 1 else 1.0
        layouts.append((layout - layout.min(axis=0)) * factor)
        extent = extent * factor
        sizes.append((float(extent[0]) + 0.9, float(extent[1]) + 0.9))
    corners, scale = packed(sizes, *area)
    for nodes, layout, corner in zip(groups, layouts, corners, strict=True):
        places[nodes] = np.array(corner) + scale * (layout + 0.45)
    return places


def _edges(
    places: NDArray[np.float64],
    edges: NDArray[np.int64],
    inliers: NDArray[np.float64],
    is_marked: NDArray[np.bool_],
) -> Html:
    """All edges, the weakest first; of one strength and colour in one path."""
    if not len(edges):
        return Html("")
    low, high = float(inliers.min()), float(inliers.max())
    share = np.log(inliers / low) / math.log(high / low) if high > low else np.ones(len(edges))
    strength = np.minimum((share * _CLASSES).astype(np.int64), _CLASSES - 1)
    crowd = min(1.0, math.sqrt(150.0 / len(edges)))
    parts = []
    for level in range(_CLASSES):
        for marked, colour in ((False, PLAIN), (True, MARKED)):
            own = edges[(strength == level) & (is_marked == marked)]
            if len(own):
                commands = svg.segments(places[own[:, 0]], places[own[:, 1]])
                width = (0.7 + 0.75 * level) * (0.45 + 0.55 * crowd)
                opacity = (0.35 + 0.12 * level) * (0.4 + 0.6 * crowd)
                parts.append(svg.path(commands, colour, width, stroke_opacity=f"{opacity:.2f}"))
    return joined(parts)


def _radius(places: NDArray[np.float64]) -> float:
    """How large nodes may be without covering each other, most of them."""
    if len(places) < 2:
        return _MOST_RADIUS
    apart = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=2))
    np.fill_diagonal(apart, math.inf)
    return float(np.clip(0.42 * np.median(apart.min(axis=1)), _LEAST_RADIUS, _MOST_RADIUS))


def _node(place: NDArray[np.float64], radius: float, colour: str, name: str, is_hollow: bool = False) -> Html:
    return tag(
        "circle",
        tag("title", name),
        cx=f"{place[0]:.1f}",
        cy=f"{place[1]:.1f}",
        r=f"{radius:.1f}",
        fill="var(--card)" if is_hollow else colour,
        stroke=colour if is_hollow else "var(--card)",
        stroke_width="1.2",
    )


def _first_members(together: NDArray[np.int64], merged: NDArray[np.int64]) -> dict[int, int]:
    """The first picture of each node."""
    first: dict[int, int] = {}
    for node, place in zip(merged.tolist(), together.tolist(), strict=True):
        first[node] = min(place, first.get(node, place))
    return first


def _node_names(
    result: DrawnGraph, together: NDArray[np.int64], merged: NDArray[np.int64], members: NDArray[np.int64]
) -> list[str]:
    """What each node is: its picture, or how many and the first of them."""
    first = _first_members(together, merged)
    names = []
    for node, size in enumerate(members.tolist()):
        name = result.names[first[node]]
        names.append(f"{first[node] + 1}: {name}" if size == 1 else f"{size} pictures, {name} among them")
    return names


def _lone_strip(result: DrawnGraph, lone: list[int], top: float) -> tuple[list[Html], float]:
    """Pictures that no verified pair has, in rows below the graph."""
    if not lone:
        return [], 0.0
    words = f"{len(lone)} alone" if len(lone) <= _LONE_SHOWN else f"{len(lone)} alone, {_LONE_SHOWN} of them shown"
    parts = [svg.text(14.0, top + 16.0, words, "start")]
    each = 30.0 if len(result.names) < 1000 else 44.0
    columns = int((SIDE - 28.0) // each)
    for index, place in enumerate(lone[:_LONE_SHOWN]):
        x = 24.0 + each * (index % columns)
        y = top + 34.0 + 36.0 * (index // columns)
        name = f"{place + 1}: {result.names[place]}"
        parts += [_node(np.array([x, y]), 6.0, "var(--mute)", name, is_hollow=True)]
        parts += [svg.text(x, y + 20.0, str(place + 1))]
    rows = math.ceil(min(len(lone), _LONE_SHOWN) / columns)
    return parts, 30.0 + 36.0 * rows


def _graph_words(result: DrawnGraph, groups: int, lone: int, edges: int, drawn: int, is_merged: bool) -> str:
    words = ["The thicker a line, the more inliers; strong pairs are near each other."]
    if any(result.is_marked):
        words.append(result.mark_words)
    if result.colours is not None:
        words += [result.colour_words] if result.colour_words else []
    elif groups > 1:
        words.append(
            "Each group has a colour of its own." if groups <= len(_GROUP_COLOURS) else "Colours: the largest groups."
        )
    if groups > MOST_NODES:
        words.append(f"The {MOST_NODES} largest of {groups:,} groups are drawn.")
    if is_merged:
        words.append("Pictures that hang together most are drawn as one dot, larger the more they are.")
    if drawn < edges:
        words.append(f"{drawn:,} of {edges:,} lines are drawn: what holds the groups together, and the strongest.")
    if lone:
        words.append("Below: pictures without a verified pair.")
    return " ".join(words)
