"""The drawings of a comparison of two cameras."""

from __future__ import annotations

import math

import numpy as np

from cv3d.calibration.camera_difference import CameraDifference
from cv3d.reporting import svg
from cv3d.reporting.figures import Curve, arrow_field, curves, exaggeration
from cv3d.reporting.heatmap import WIDTH, Area, colour_bar, colour_scale, contours, heat_map, interior, picture_area
from cv3d.reporting.page import Html

_ARROWS = 14
"""Arrows along the longer side of the image."""
_RINGS = 24


def difference_figure(difference: CameraDifference) -> tuple[Html, float]:
    """The difference as colours and arrows, and the factor by which the arrows are exaggerated."""
    area = picture_area(difference.a.width, difference.a.height)
    parts = [svg.hatch("dh", area.x, area.y), *_map(difference.lengths, area, "px")]
    starts, vectors, step = _sparse(difference)
    factor = exaggeration(np.hypot(vectors[:, 0], vectors[:, 1]), 1.7 * step)
    arrows = arrow_field(area, starts, vectors, factor, colour="#fff", width=1.6)
    parts.append(svg.clip("dc", area.x, area.y, arrows, _focus(difference, area)))
    parts.append(svg.frame(area.x, area.y, grid=False))
    label = "Map of the difference of the two cameras over the image"
    return svg.drawing(WIDTH, area.height, label, *parts), factor


def sigma_figure(difference: CameraDifference) -> Html:
    """The difference in units of the standard deviation expected.

    Raises:
        ValueError: none is.
    """
    if difference.expected is None:
        raise ValueError("no uncertainty is stated")
    area = picture_area(difference.a.width, difference.a.height)
    sigma = difference.expected.sigma
    ratio = difference.lengths / np.where(sigma > 0.0, sigma, np.nan)
    parts = [svg.hatch("sh", area.x, area.y), *_map(ratio, area, "σ")]
    parts.append(svg.frame(area.x, area.y, grid=False))
    return svg.drawing(WIDTH, area.height, "Map of the difference in standard deviations", *parts)


def radius_figure(difference: CameraDifference) -> Html:
    """RMS and largest difference over rings around A's principal point, and what is expected."""
    x, y = np.meshgrid(difference.x - difference.a.params[2], difference.y - difference.a.params[3])
    radius, lengths = np.hypot(x, y).ravel(), difference.lengths.ravel()
    known = np.isfinite(lengths)
    rings = np.array_split(np.flatnonzero(known)[np.argsort(radius[known], kind="stable")], _RINGS)
    rings = [ring for ring in rings if len(ring)]
    middles = np.array([radius[ring].mean() for ring in rings])

    def curve(name: str, values: list[float], colour: str, dash: str = "") -> Curve:
        return Curve(name, np.stack([middles, np.array(values)], axis=1), colour, dash)

    largest = [float(lengths[ring].max()) for ring in rings]
    lines = [
        curve("RMS", [math.sqrt(float((lengths[ring] ** 2).mean())) for ring in rings], "var(--accent)"),
        curve("largest", largest, "var(--warm)"),
    ]
    top = max(largest)
    if difference.expected is not None:
        sigma = difference.expected.sigma.ravel()
        expected = [float(np.nanmean(sigma[ring])) for ring in rings]
        lines.append(curve("σ expected", expected, "var(--mute)", "5 3"))
        top = max(top, *expected)
    label = "Difference against the distance from the principal point"
    title = "distance from the principal point, px"
    return curves(lines, title, "difference, px", label, top=1.3 * max(top, 1e-12), anchor="dr")


def _map(values: np.ndarray, area: Area, unit: str) -> list[Html]:
    # At the edge of a lens model's domain values grow without bound and would take all colours for themselves.
    scale = colour_scale([interior(values)], area, from_zero=True) or colour_scale([values], area, from_zero=True)
    if scale is None:
        return []
    return [heat_map(values, scale, area), contours(values, scale, area), colour_bar(scale, area, unit)]


def _sparse(difference: CameraDifference) -> tuple[svg.Points, svg.Points, float]:
    """Starts and vectors, (n, 2) each, of the arrows that are drawn, and how far apart they are, pixels."""
    every = max(1, round(max(len(difference.x), len(difference.y)) / _ARROWS))
    rows, cols = slice(every // 2, None, every), slice(every // 2, None, every)
    x, y = np.meshgrid(difference.x[cols], difference.y[rows])
    starts = np.stack([x, y], axis=-1).reshape(-1, 2)
    vectors = difference.vectors[rows, cols].reshape(-1, 2)
    known = np.isfinite(vectors).all(axis=1)
    return starts[known], vectors[known], every * float(difference.x[1] - difference.x[0])


def _focus(difference: CameraDifference, area: Area) -> Html:
    if difference.focus is None:
        return Html("")
    turn = np.linspace(0.0, 2.0 * np.pi, 73)
    focus = difference.focus
    ring = np.array([focus.x, focus.y]) + focus.radius_px * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return svg.path(svg.polyline(area.place(ring), closed=True), "#fff", 1.5, stroke_dasharray="6 4")
