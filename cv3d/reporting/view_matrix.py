"""A matched set as a matrix: the inliers of every pair of pictures."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.features.matching import SetMatch
from cv3d.reporting import svg
from cv3d.reporting.page import Html, data_uri, joined
from cv3d.reporting.svg import Axis
from cv3d.reporting.view_graph import MARKED, PLAIN, SIDE

MOST_CELLS = 300
"""Rows of the matrix; of more pictures, several are drawn as one."""
_FAINTEST = 0.22


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
    x = Axis(0.5, count + 0.5, 66.0, SIDE - 24.0)
    y = Axis(0.5, count + 0.5, 10.0, SIDE - 80.0)
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
    scale, extra = _colour_scale(result, low, high, SIDE - 18.0)
    parts.append(scale)
    caption = "Inliers of every verified pair; the pictures are numbered as in the table below."
    if step > 1:
        caption += f" Each cell stands for {step} × {step} pictures and shows the strongest of their pairs."
    return svg.drawing(SIDE, SIDE + extra, "Which pictures make verified pairs, and how many inliers", *parts), caption


def _range(result: SetMatch) -> tuple[float, float]:
    if not len(result.inliers):
        return 1.0, 10.0
    low, high = float(result.inliers.min()), float(result.inliers.max())
    return max(low, 1.0), max(high, low + 1.0)


def _coloured(inliers: NDArray[np.float64], learned: NDArray[np.bool_], low: float, high: float) -> NDArray[np.uint8]:
    """Colours of numbers of inliers, (h, w, 4) RGBA: the more, the less transparent; none at all for none."""
    share = np.clip(Axis(low, high, 0.0, 1.0, log=True).share(np.maximum(inliers, low)), 0.0, 1.0)
    alpha = np.where(inliers > 0.0, _FAINTEST + (1.0 - _FAINTEST) * share, 0.0)
    colours = np.where(learned[..., None], _rgb(MARKED), _rgb(PLAIN))
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
    axis = Axis(low, high, 200.0, SIDE - 40.0, log=True)
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
    return joined(parts), bottom + 20.0 - SIDE
