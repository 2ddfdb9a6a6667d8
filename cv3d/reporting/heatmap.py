"""Maps over a picture's area: a coloured field with contour lines, and the bar that tells what the colours mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.reporting import svg
from cv3d.reporting.page import Html, data_uri, joined
from cv3d.reporting.svg import Axis, Points

WIDTH = 560.0
"""Width of every plot, drawing units; on a wide screen one of them is about a pixel."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 78.0, 24.0, 26.0
_TALLEST = 430.0
_FINE = 160
_LOG_RATIO = 8.0


@dataclass(frozen=True)
class Area:
    """The area of a picture within a drawing."""

    x: Axis
    """Columns, pixels."""
    y: Axis
    """Rows, pixels."""
    height: float
    """Of the whole drawing."""

    def place(self, pixels: Points) -> Points:
        """Drawing coordinates of `pixels`, (n, 2)."""
        return np.stack([self.x.place(pixels[:, 0]), self.y.place(pixels[:, 1])], axis=1)

    @property
    def units_per_pixel(self) -> float:
        """Drawing units per pixel."""
        return (self.x.end - self.x.start) / (self.x.high - self.x.low)


def picture_area(width: int, height: int) -> Area:
    """Axes for a picture of `width` x `height` pixels, with room for ticks and a colour bar."""
    scale = min((WIDTH - _LEFT - _RIGHT) / width, _TALLEST / height)
    left = _LEFT + 0.5 * (WIDTH - _LEFT - _RIGHT - scale * width)
    x = Axis(-0.5, width - 0.5, left, left + scale * width)
    y = Axis(-0.5, height - 0.5, _TOP, _TOP + scale * height)
    return Area(x, y, _TOP + scale * height + _BOTTOM)


def colour_scale(values: Sequence[NDArray[np.float64]], area: Area, from_zero: bool = False) -> Axis | None:
    """The range of colours that several maps share; None where no value is finite.

    It is logarithmic where the values are positive and span much. As an axis it lies along the colour bar.

    Args:
        values: the maps, (R, C) each.
        area: where the bar stands.
        from_zero: start at zero, linearly.
    """
    finite = np.concatenate([v[np.isfinite(v)] for v in values])
    if finite.size == 0:
        return None
    low, high = float(finite.min()), float(finite.max())
    if from_zero:
        low = min(low, 0.0)
    log = low > 0 and high > _LOG_RATIO * low
    if high - low <= 1e-9 * max(abs(high), abs(low), 1e-12):
        low, high = low - 0.5 * max(abs(low), 1e-3), high + 0.5 * max(abs(high), 1e-3)
    return Axis(low, high, area.y.end, area.y.start, log)


def heat_map(values: NDArray[np.float64], scale: Axis, area: Area, smooth: bool = True) -> Html:
    """A field over the picture in colour; transparent where it is NaN.

    Args:
        values: (R, C). Smooth: rows and columns are spread from the first to the last pixel's centre. Else cells.
        scale: the colours.
        area: where the picture lies.
        smooth: interpolate.
    """
    shown = _spread(values, area) if smooth else values
    share = np.nan_to_num(np.clip(scale.share(np.where(np.isfinite(shown), shown, scale.low)), 0.0, 1.0))
    colours = cv2.applyColorMap((share * 255.0 + 0.5).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    alpha = np.where(np.isfinite(shown), 255, 0).astype(np.uint8)
    _, png = cv2.imencode(".png", np.dstack([colours, alpha]))
    x, y = area.x, area.y
    uri = data_uri(png.tobytes(), "image/png")
    return svg.image(uri, x.start, y.start, x.end - x.start, y.end - y.start, smooth=smooth)


def colour_bar(scale: Axis, area: Area, unit: str, whole: bool = False) -> Html:
    """The bar that tells values from colours, right of the picture.

    Args:
        scale: the colours.
        area: where the picture lies.
        unit: stands above it.
        whole: only whole numbers are meaningful.
    """
    ramp = cv2.applyColorMap(np.arange(255, -1, -1, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)
    _, png = cv2.imencode(".png", ramp)
    left, top, tall = area.x.end + 14.0, area.y.start, area.y.end - area.y.start
    parts = [
        svg.image(data_uri(png.tobytes(), "image/png"), left, top, 13.0, tall),
        svg.text(left - 2.0, top - 9.0, unit, "start"),
    ]
    ticks = [tick for tick in scale.ticks(6) if not whole or tick == round(tick)]
    lines = ""
    for tick in ticks:
        place = scale.at(tick)
        lines += f"M{left + 13:.1f} {place:.1f}h4"
        parts.append(svg.text(left + 21.0, place + 4.5, svg.tick_text(tick), "start"))
    parts.append(svg.path(lines, "var(--mute)"))
    return joined(parts)


def contours(values: NDArray[np.float64], scale: Axis, area: Area) -> Html:
    """Labelled lines of equal value at the ticks of the colour bar.

    Args:
        values: (R, C), spread as in :func:`heat_map`; NaN where unknown.
        scale: the colours.
        area: where the picture lies.
    """
    fine = _spread(interior(values), area, _FINE // 2)
    rows, cols = fine.shape
    y, x = np.meshgrid(
        np.linspace(area.y.start, area.y.end, rows), np.linspace(area.x.start, area.x.end, cols), indexing="ij"
    )
    commands, labels = "", []
    taken: list[NDArray[np.float64]] = []
    for level in scale.ticks(6):
        starts, ends = _level_segments(x, y, fine, level)
        if not len(starts):
            continue
        commands += svg.segments(starts, ends)
        spot = _free_spot(0.5 * (starts + ends), area, taken)
        if spot is not None:
            taken.append(spot)
            labels.append(svg.label(float(spot[0]), float(spot[1]) + 4.5, svg.tick_text(level)))
    return joined([svg.path(commands, "#fff", 1.1, stroke_opacity="0.85"), *labels])


def interior(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A map (R, C) without the values that have unknown (NaN) neighbours.

    At the edge of a lens model's domain derivatives grow without bound: what a map has there says little, and would
    take all colours for itself.
    """
    known = cv2.erode(np.isfinite(values).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.where(known > 0, values, np.nan)


def _spread(values: NDArray[np.float64], area: Area, longest: int = _FINE) -> NDArray[np.float64]:
    """Values resampled over the whole picture, its outer half pixels included; NaN spreads to the nearest node."""
    span_x, span_y = area.x.high - area.x.low, area.y.high - area.y.low
    factor = longest / max(span_x, span_y)
    cols, rows = max(2, round(span_x * factor)), max(2, round(span_y * factor))
    x = np.linspace(area.x.low, area.x.high, cols) * (values.shape[1] - 1) / max(span_x - 1.0, 1.0)
    y = np.linspace(area.y.low, area.y.high, rows) * (values.shape[0] - 1) / max(span_y - 1.0, 1.0)
    map_x, map_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    known = np.isfinite(values)
    # Interpolation weights only the nodes that are known, so that the edge of a map keeps its values.
    weight = cv2.remap(known.astype(np.float64), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    filled = np.where(known, values, 0.0)
    summed = cv2.remap(filled, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(weight >= 0.5, summed / np.maximum(weight, 0.5), np.nan)


def _level_segments(
    x: NDArray[np.float64], y: NDArray[np.float64], values: NDArray[np.float64], level: float
) -> tuple[Points, Points]:
    """Pieces of one contour line: cells are split into two triangles, which the line crosses once at most."""
    nodes = np.stack([x, y, values - level], axis=-1)
    a, b, c, d = nodes[:-1, :-1], nodes[:-1, 1:], nodes[1:, 1:], nodes[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], axis=-2), np.stack([a, c, d], axis=-2)]).reshape(-1, 3, 3)
    triangles = triangles[np.isfinite(triangles[..., 2]).all(axis=1)]
    above = triangles[..., 2] > 0
    triangles, above = triangles[above.any(axis=1) & ~above.all(axis=1)], above[above.any(axis=1) & ~above.all(axis=1)]
    # The odd one out is the corner alone on its side of the level; the line crosses the two edges that leave it.
    lone_above = above.sum(axis=1) == 1
    odd = np.where(lone_above, above.argmax(axis=1), (~above).argmax(axis=1))
    index = np.arange(len(triangles))
    tip = triangles[index, odd]
    crossings = []
    for step in (1, 2):
        other = triangles[index, (odd + step) % 3]
        share = tip[:, 2] / (tip[:, 2] - other[:, 2])
        crossings.append(tip[:, :2] + share[:, None] * (other[:, :2] - tip[:, :2]))
    return crossings[0], crossings[1]


def _free_spot(spots: Points, area: Area, taken: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """Where on a line its label hides nothing: within the picture, far from other labels, near the middle's height."""
    inside = (
        (spots[:, 0] > area.x.start + 20)
        & (spots[:, 0] < area.x.end - 20)
        & (spots[:, 1] > area.y.start + 14)
        & (spots[:, 1] < area.y.end - 14)
    )
    for other in taken:
        inside &= (np.abs(spots - other) > np.array([44.0, 20.0])).any(axis=1)
    candidates = spots[inside]
    if not len(candidates):
        return None
    # Along one ray, labels read like a scale.
    middle = np.array([0.5 * (area.x.start + area.x.end), 0.5 * (area.y.start + area.y.end)])
    ray = np.array([area.x.end, area.y.end]) - middle
    offset = candidates - middle
    across = np.abs(offset @ np.array([-ray[1], ray[0]])) / np.hypot(*ray)
    behind = offset @ ray < 0
    best: NDArray[np.float64] = candidates[int(np.argmin(across + 40.0 * behind))]
    return best
