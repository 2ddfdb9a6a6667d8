"""Plots of numbers that any report may need: scatter with sigma circles, histogram, field of arrows, curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.reporting import svg
from cv3d.reporting.heatmap import WIDTH, Area
from cv3d.reporting.page import Html, number, tag
from cv3d.reporting.svg import Axis, Points

_HEIGHT = 400.0
EQUAL_HEIGHT = 380.0
"""Height of a drawing with :func:`equal_axes`."""
MOST_DOTS = 4000
"""Dots drawn in one plot; more would only cost time and cover each other."""


@dataclass(frozen=True)
class Curve:
    """One line of a plot."""

    name: str
    points: Points
    """(n, 2) in data units; NaN breaks it."""
    colour: str
    dash: str = ""


def thinned(points: Points) -> Points:
    """At most :data:`MOST_DOTS` of `points` (n, 2), evenly picked."""
    return points if len(points) <= MOST_DOTS else points[np.linspace(0, len(points) - 1, MOST_DOTS).astype(np.int64)]


def scatter(errors: Points, sigma: float, label: str) -> Html:
    """Two-dimensional errors as dots, with circles at 1, 2 and 3 sigma.

    Args:
        errors: (n, 2), pixels, finite.
        sigma: standard deviation of one coordinate, pixels; NaN draws no circles.
        label: what the drawing shows.
    """
    norms = np.hypot(errors[:, 0], errors[:, 1])
    reach = float(np.quantile(norms, 0.998)) if len(norms) else 1.0
    reach = max(1.12 * reach, 3.35 * sigma if math.isfinite(sigma) else 0.0, 1e-6)
    x = Axis(-reach, reach, 110.0, 110.0 + 340.0)
    # As in the picture, downwards is positive.
    y = Axis(-reach, reach, 10.0, 350.0)
    inside = errors[(np.abs(errors) < reach).all(axis=1)]
    shown = thinned(inside)
    placed = np.stack([x.place(shown[:, 0]), y.place(shown[:, 1])], axis=1)
    parts = [
        svg.frame(x, y, "x, px", "y, px"),
        svg.dots(placed, "var(--accent)", 2.8, stroke_opacity="0.55"),
    ]
    if math.isfinite(sigma) and sigma > 0:
        turn = np.linspace(0.0, 2.0 * np.pi, 73)
        unit = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        for k in (1, 2, 3):
            ring = unit * k * sigma
            commands = svg.polyline(np.stack([x.place(ring[:, 0]), y.place(ring[:, 1])], axis=1), closed=True)
            parts.append(svg.path(commands, "var(--ink)", 1.3, stroke_dasharray="5 3"))
            parts.append(svg.text(x.at(0.0), y.at(-k * sigma) - 4.0, f"{k}σ", style="fill:var(--ink)"))
    return svg.drawing(WIDTH, _HEIGHT, label, *parts)


def histogram(samples: NDArray[np.float64], sigma: float, x_title: str, label: str) -> Html:
    """How often each value occurs, with the normal distribution of the given standard deviation.

    Args:
        samples: (n,), finite.
        sigma: standard deviation of the curve; NaN draws none.
        x_title: what the values are.
        label: what the drawing shows.
    """
    spread = float(np.quantile(np.abs(samples), 0.998)) if len(samples) else 1.0
    reach = max(1.1 * spread, 3.5 * sigma if math.isfinite(sigma) else 0.0, 1e-6)
    bins = int(np.clip(2.0 * len(samples) ** (1.0 / 3.0), 9, 61)) | 1
    counts, edges = np.histogram(samples, bins, (-reach, reach))
    width = float(edges[1] - edges[0])
    density = counts / max(len(samples), 1) / width
    curve_x = np.linspace(-reach, reach, 121)
    has_curve = math.isfinite(sigma) and sigma > 0
    curve_y = np.exp(-0.5 * (curve_x / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi)) if has_curve else curve_x * 0.0
    x = Axis(-reach, reach, 62.0, WIDTH - 24.0)
    y = Axis(0.0, 1.08 * max(float(density.max()), float(curve_y.max()), 1e-9), 350.0, 10.0)
    left, right = x.place(edges[:-1]).tolist(), x.place(edges[1:]).tolist()
    tops = y.place(density).tolist()
    bars = "".join(
        f"M{a + 0.5:.1f} 350V{t:.1f}H{b - 0.5:.1f}V350z" for a, b, t in zip(left, right, tops, strict=True) if t < 349.9
    )
    parts = [
        svg.frame(x, y, x_title, "density, 1/px"),
        tag("path", d=bars, fill="var(--accent)", fill_opacity="0.55"),
    ]
    if has_curve:
        line = svg.polyline(np.stack([x.place(curve_x), y.place(curve_y)], axis=1))
        parts.append(svg.path(line, "var(--ink)", 1.6, stroke_dasharray="5 3"))
        parts.append(svg.key([("var(--ink)", "5 3", f"normal, σ {number(sigma)} px")], x.start + 12, 26.0))
    return svg.drawing(WIDTH, _HEIGHT, label, *parts)


def curves(lines: Sequence[Curve], x_title: str, y_title: str, label: str, *, top: float, anchor: str) -> Html:
    """Lines over a common abscissa, from zero to `top` in height, with a legend; `anchor` as in :func:`svg.clip`."""
    right = max(float(np.nanmax(line.points[:, 0])) for line in lines)
    x = Axis(0.0, right, 66.0, WIDTH - 24.0)
    y = Axis(0.0, top, 350.0, 10.0)
    drawn = []
    for line in lines:
        placed = np.stack([x.place(line.points[:, 0]), y.place(line.points[:, 1])], axis=1)
        valid = np.isfinite(placed).all(axis=1) & (placed[:, 1] > -600.0)
        drawn.append(svg.path(svg.polylines(placed, valid), line.colour, 2.2, stroke_dasharray=line.dash or None))
    entries = [(line.colour, line.dash, line.name) for line in lines]
    return svg.drawing(
        WIDTH,
        _HEIGHT,
        label,
        svg.frame(x, y, x_title, y_title),
        svg.clip(anchor, x, y, *drawn),
        svg.key(entries, x.start + 14.0, y.end + 18.0),
    )


def equal_axes(points: Points, *, y_down: bool) -> tuple[Axis, Axis]:
    """Axes of one scale in both directions over `points`, (n, 2), for a drawing :data:`EQUAL_HEIGHT` high.

    Args:
        points: all that is to be seen, n > 0.
        y_down: whether the second coordinate grows downwards on the page.
    """
    least, most = points.min(axis=0), points.max(axis=0)
    extent = np.maximum(most - least, 0.35 * float((most - least).max()) + 1e-9)
    centre = 0.5 * (least + most)
    scale = min(470.0 / extent[0], 320.0 / extent[1]) / 1.12
    half = np.array([470.0, 320.0]) / (2.0 * scale)
    x = Axis(centre[0] - half[0], centre[0] + half[0], 66.0, 536.0)
    low, high = (20.0, 340.0) if y_down else (340.0, 20.0)
    return x, Axis(centre[1] - half[1], centre[1] + half[1], low, high)


@dataclass(frozen=True)
class Field:
    """Vectors averaged over the cells of a picture."""

    centres: Points
    """Mean position of each cell's samples, (n, 2), pixels."""
    means: Points
    """Mean vector, (n, 2), pixels."""
    counts: NDArray[np.int64]
    """Samples in each cell, (n,)."""
    cell: float
    """Side of a cell, pixels."""


def averaged(pixels: Points, vectors: Points, width: int, height: int, *, across: int = 16, least: int = 3) -> Field:
    """Average `vectors` (n, 2) at `pixels` (n, 2) over square cells; cells with fewer than `least` are left out."""
    cell = max(width, height) / across
    cols, rows = math.ceil(width / cell), math.ceil(height / cell)
    column = np.clip(((pixels[:, 0] + 0.5) / cell).astype(np.int64), 0, cols - 1)
    row = np.clip(((pixels[:, 1] + 0.5) / cell).astype(np.int64), 0, rows - 1)
    index = row * cols + column
    counts = np.bincount(index, minlength=rows * cols)
    kept = np.flatnonzero(counts >= least)

    def mean(values: NDArray[np.float64]) -> Points:
        sums = [np.bincount(index, values[:, k], rows * cols)[kept] for k in (0, 1)]
        return np.stack(sums, axis=1) / counts[kept, None]

    return Field(mean(pixels), mean(vectors), counts[kept], cell)


def exaggeration(lengths: NDArray[np.float64], wanted: float) -> float:
    """A round factor, at least 1, that makes the longer of `lengths` about `wanted` long."""
    typical = float(np.quantile(lengths, 0.95)) if len(lengths) else 0.0
    return svg.round_step(max(0.45 * wanted / typical, 1.0)) if typical > 1e-9 else 1.0


def arrow_field(area: Area, starts: Points, vectors: Points, factor: float, *, colour: str, width: float) -> Html:
    """Arrows over a picture, from `starts` (n, 2) along `vectors` (n, 2) times `factor`, both in pixels."""
    commands = svg.arrows(area.place(starts), area.place(starts + factor * vectors), 6.0)
    return svg.path(commands, colour, width, stroke_linecap="round")
