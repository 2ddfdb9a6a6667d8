"""The view graph of a matched set as drawings: who makes a verified pair with whom."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.features.matching import SetMatch
from cv3d.reporting import svg
from cv3d.reporting.graph_layout import coarsened, merged_edges, packed, stress_layout, telling_edges
from cv3d.reporting.page import Html, data_uri, joined, tag
from cv3d.reporting.svg import Axis

CHEAP, LEARNED = "#2f7fe0", "#ef7d22"
"""Colours of pairs by their matcher, told apart on light and on dark."""
MOST_CELLS = 300
"""Rows of the matrix; of more pictures, several are drawn as one."""
MOST_NODES = 300
MOST_EDGES = 900
_SIDE = 640.0
_GROUP_COLOURS = ("var(--ink)", "#1f9d63", "#9a5bd8", "#d0437f", "#16a3b5", "#8f7a12")
_NUMBERED = 40
_LONE_SHOWN = 40
_MARGIN = 32.0
_LEAST_RADIUS, _MOST_RADIUS = 1.8, 7.0
_FAINTEST = 0.22
_HALO = "fill:var(--ink);stroke:var(--card);stroke-width:3px;paint-order:stroke"
"""Of numbers that lie on lines."""
_CLASSES = 5


def matrix_figure(result: SetMatch) -> tuple[Html, str]:
    """Pictures against pictures, coloured by the inliers of their pair; and how to read it."""
    count = len(result.pictures)
    step = math.ceil(count / MOST_CELLS)
    cells = math.ceil(count / step)
    strongest = np.zeros((cells, cells))
    learned = np.zeros((cells, cells), dtype=bool)
    low, high = _range(result)
    # The strongest pair of a cell is what it shows, so the weaker ones are entered before.
    order = np.argsort(result.inliers, kind="stable")
    for one, other in ((0, 1), (1, 0)):
        rows, cols = result.edges[order, one] // step, result.edges[order, other] // step
        np.maximum.at(strongest, (rows, cols), result.inliers[order].astype(np.float64))
    for one, other in ((0, 1), (1, 0)):
        rows, cols = result.edges[order, one] // step, result.edges[order, other] // step
        is_top = result.inliers[order] == strongest[rows, cols]
        learned[rows[is_top], cols[is_top]] = result.is_learned[order][is_top]
    x = Axis(0.5, count + 0.5, 66.0, _SIDE - 24.0)
    y = Axis(0.5, count + 0.5, 10.0, _SIDE - 80.0)
    uri = _png(_coloured(strongest, learned, low, high))
    # The last cell may stand for fewer pictures than the others.
    full = cells * step / count
    whole = (
        Axis(0.0, 1.0, x.start, x.start + full * (x.end - x.start)),
        Axis(0.0, 1.0, y.start, y.start + full * (y.end - y.start)),
    )
    picture = svg.image(
        uri, whole[0].start, whole[1].start, whole[0].end - x.start, whole[1].end - y.start, smooth=False
    )
    parts = [
        svg.rectangle(x, y, fill="var(--grid)", fill_opacity=0.45),
        svg.clip("matrix-area", x, y, picture) if full > 1.0 else picture,
        svg.frame(x, y, "picture", "picture", counts=(min(8, count), min(8, count)), grid=False),
    ]
    scale, extra = _colour_scale(result, low, high, _SIDE - 18.0)
    parts.append(scale)
    caption = "Inliers of every verified pair; the pictures are numbered as in the table below."
    if step > 1:
        caption += f" Each cell stands for {step} × {step} pictures and shows the strongest of their pairs."
    return svg.drawing(
        _SIDE, _SIDE + extra, "Which pictures make verified pairs, and how many inliers", *parts
    ), caption


def graph_figure(result: SetMatch) -> tuple[Html, str]:
    """The view graph as nodes and edges; and how to read it."""
    groups = [group for group in result.components() if len(group) > 1]
    lone = [group[0] for group in result.components() if len(group) == 1]
    count = len(result.pictures)
    labels = np.full(count, -1)
    together = np.array([place for group in groups for place in group], dtype=np.int64)
    labels[together] = np.arange(len(together))
    edges, inliers = labels[result.edges], result.inliers.astype(np.float64)
    merged = coarsened(len(together), edges, inliers, MOST_NODES)
    members = np.bincount(merged, minlength=int(merged.max(initial=-1)) + 1)
    is_merged = len(members) < len(together)
    learned_weights = inliers * result.is_learned
    if is_merged:
        _, learned_weights = merged_edges(merged, edges, learned_weights)
        edges, inliers = merged_edges(merged, edges, inliers)
    is_learned = learned_weights > 0.5 * inliers
    group_nodes = [np.unique(merged[labels[np.array(group)]]) for group in groups]
    room = _SIDE - 2.0 * _MARGIN
    places = _all_places(group_nodes[:MOST_NODES], edges, inliers, (room, room), len(members))
    shown_nodes = np.isfinite(places[:, 0])
    height = 2.0 * _MARGIN
    if shown_nodes.any():
        # A chain is long and flat: no more height than it needs.
        places += _MARGIN - np.array([0.0, np.nanmin(places[:, 1])])
        height = float(np.nanmax(places[:, 1])) + _MARGIN
    drawn = telling_edges(len(members), edges, inliers, MOST_EDGES)
    drawn = drawn[shown_nodes[edges[drawn]].all(axis=1)] if len(drawn) else drawn
    parts = [_edges(places, edges[drawn], inliers[drawn], is_learned[drawn])]
    names = _node_names(result, together, merged, members)
    radius = _radius(places[shown_nodes])
    sizes = (
        radius * np.sqrt(members / max(float(np.mean(members)), 1.0)) if is_merged else np.full(len(members), radius)
    )
    for number, nodes in enumerate(group_nodes[:MOST_NODES]):
        colour = _GROUP_COLOURS[number] if number < len(_GROUP_COLOURS) else "var(--mute)"
        for node in nodes.tolist():
            parts.append(_node(places[node], float(sizes[node]), colour, names[node]))
    if len(members) <= _NUMBERED and not is_merged:
        for node, (x, y) in enumerate(places.tolist()):
            parts.append(svg.text(x, y - radius - 3.0, str(int(together[node]) + 1), style=_HALO))
    strip, extra = _lone_strip(result, lone, height)
    parts += strip
    caption = _graph_words(result, len(groups), len(lone), len(edges), len(drawn), is_merged)
    return svg.drawing(_SIDE, height + extra, "The view graph", *parts), caption


def _range(result: SetMatch) -> tuple[float, float]:
    if not len(result.inliers):
        return 1.0, 10.0
    low, high = float(result.inliers.min()), float(result.inliers.max())
    return max(low, 1.0), max(high, low + 1.0)


def _coloured(inliers: NDArray[np.float64], learned: NDArray[np.bool_], low: float, high: float) -> NDArray[np.uint8]:
    """Colours of numbers of inliers, (h, w, 4) RGBA: the more, the less transparent; none at all for none."""
    share = np.clip(Axis(low, high, 0.0, 1.0, log=True).share(np.maximum(inliers, low)), 0.0, 1.0)
    alpha = np.where(inliers > 0.0, _FAINTEST + (1.0 - _FAINTEST) * share, 0.0)
    colours = np.where(learned[..., None], _rgb(LEARNED), _rgb(CHEAP))
    return np.concatenate([colours, np.round(255.0 * alpha)[..., None]], axis=2).astype(np.uint8)


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float64)


def _png(rgba: NDArray[np.uint8]) -> str:
    _, png = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    return data_uri(png.tobytes(), "image/png")


def _colour_scale(result: SetMatch, low: float, high: float, top: float) -> tuple[Html, float]:
    """What the colours mean, below `top`, and how much room that takes."""
    values = np.geomspace(low, high, 96)[None]
    names = [name for name in result.methods if name != "unrelated"]
    axis = Axis(low, high, 200.0, _SIDE - 40.0, log=True)
    parts: list[Html] = []
    for row, name in enumerate(names):
        y = top + 20.0 * row
        strip = _png(_coloured(values, np.full(values.shape, row > 0), low, high))
        parts += [
            svg.text(176.0, y + 11.0, name, "end"),
            svg.image(strip, axis.start, y, axis.end - axis.start, 14.0),
        ]
    bottom = top + 20.0 * len(names)
    ticks = axis.ticks(5) if high > 2.0 * low else [low, high]
    parts += [svg.text(axis.at(tick), bottom + 11.0, svg.tick_text(round(tick))) for tick in ticks]
    parts.append(svg.text(176.0, bottom + 11.0, "inliers", "end"))
    return joined(parts), bottom + 20.0 - _SIDE


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
    is_learned: NDArray[np.bool_],
) -> Html:
    """All edges, the weakest first; of one strength and matcher in one path."""
    if not len(edges):
        return Html("")
    low, high = float(inliers.min()), float(inliers.max())
    share = np.log(inliers / low) / math.log(high / low) if high > low else np.ones(len(edges))
    strength = np.minimum((share * _CLASSES).astype(np.int64), _CLASSES - 1)
    crowd = min(1.0, math.sqrt(150.0 / len(edges)))
    parts = []
    for level in range(_CLASSES):
        for learned, colour in ((False, CHEAP), (True, LEARNED)):
            own = edges[(strength == level) & (is_learned == learned)]
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


def _node_names(
    result: SetMatch, together: NDArray[np.int64], merged: NDArray[np.int64], members: NDArray[np.int64]
) -> list[str]:
    """What each node is: its picture, or how many and the first of them."""
    first: dict[int, int] = {}
    for node, place in zip(merged.tolist(), together.tolist(), strict=True):
        first[node] = min(place, first.get(node, place))
    names = []
    for node, size in enumerate(members.tolist()):
        name = result.pictures[first[node]].name
        names.append(f"{first[node] + 1}: {name}" if size == 1 else f"{size} pictures, {name} among them")
    return names


def _lone_strip(result: SetMatch, lone: list[int], top: float) -> tuple[list[Html], float]:
    """Pictures that no verified pair has, in rows below the graph."""
    if not lone:
        return [], 0.0
    words = f"{len(lone)} alone" if len(lone) <= _LONE_SHOWN else f"{len(lone)} alone, {_LONE_SHOWN} of them shown"
    parts = [svg.text(14.0, top + 16.0, words, "start")]
    each = 30.0 if len(result.pictures) < 1000 else 44.0
    columns = int((_SIDE - 28.0) // each)
    for index, place in enumerate(lone[:_LONE_SHOWN]):
        x = 24.0 + each * (index % columns)
        y = top + 34.0 + 36.0 * (index // columns)
        name = f"{place + 1}: {result.pictures[place].name}"
        parts += [_node(np.array([x, y]), 6.0, "var(--mute)", name, is_hollow=True)]
        parts += [svg.text(x, y + 20.0, str(place + 1))]
    rows = math.ceil(min(len(lone), _LONE_SHOWN) / columns)
    return parts, 30.0 + 36.0 * rows


def _graph_words(result: SetMatch, groups: int, lone: int, edges: int, drawn: int, is_merged: bool) -> str:
    words = ["The thicker a line, the more inliers; strong pairs are near each other."]
    if any(result.is_learned):
        learned = [name for name in result.methods if name != "unrelated"][-1]
        words.append(f"Orange: found by {learned}.")
    if groups > 1:
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
