"""A path with its map to turn and zoom: the scripts of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.formats.json_text import to_json
from cv3d.geometry.cameras import Camera
from cv3d.reporting.page import Html, tag
from cv3d.reporting.path_figures import AXES, PathDrawing, extent

Floats = NDArray[np.float64]

ANCHOR = "view3d"
"""Id of the element that the view is drawn into."""
_MOST_POINTS = 20_000
_MOST_POSES = 5_000
_MOST_FRUSTA = 150
_FRUSTUM = 0.03
"""Length of a drawn camera as a share of the path's extent."""
_START = """(()=>{const figure=%s;const place=document.getElementById("%s");const style=getComputedStyle(document.body);
const ink=style.getPropertyValue("--ink"),soft=style.getPropertyValue("--soft"),line=style.getPropertyValue("--line");
figure.layout.font={color:ink};figure.layout.modebar={bgcolor:"rgba(0,0,0,0)",color:soft,activecolor:ink};
for(const name of["xaxis","yaxis","zaxis"])Object.assign(figure.layout.scene[name],{gridcolor:line,zerolinecolor:line});
Plotly.newPlot(place,figure.data,figure.layout,{responsive:true,displaylogo:false});})();"""


@dataclass(frozen=True, eq=False)
class ViewedSegment:
    """One segment in a view."""

    name: str
    path: PathDrawing
    colors: NDArray[np.uint8]
    """Of its map points, (m, 3)."""
    keys: Floats
    """world_from_cam of its key frames, (k, 4, 4)."""


def view_element() -> Html:
    """Where the view appears."""
    missing = tag("noscript", "This view needs scripts; the drawings above do not.")
    return tag("div", missing, id=ANCHOR, style="width:100%;height:min(72vh,640px)")


def view_scripts(segments: Sequence[ViewedSegment], camera: Camera, unit: str) -> tuple[str, str]:
    """The scripts that draw it: plotly's library, and the figure.

    Args:
        segments: each in a world of its own, so that only the first is shown until the legend says otherwise.
        camera: for the shape of the drawn cameras.
        unit: of lengths, "" for an arbitrary one.
    """
    from plotly.offline import get_plotlyjs

    # A closing tag within a text would end the script.
    text = to_json(view_figure(segments, camera, unit), ascii_only=True).replace("</", "<\\/")
    return str(get_plotlyjs()), _START % (text, ANCHOR)


def view_figure(segments: Sequence[ViewedSegment], camera: Camera, unit: str) -> dict[str, Any]:
    """The figure as plotly.js has it."""
    traces: list[dict[str, Any]] = []
    for number, segment in enumerate(segments):
        traces += [{**trace, "visible": True if number == 0 else "legendonly"} for trace in _traces(segment, camera)]
    suffix = f", {unit}" if unit else ""
    ranges = np.stack(extent(segments[0].path), axis=1)
    pad = 0.05 * max(float(np.ptp(ranges, axis=1).max()), 1e-9)
    axes = {
        name: {"title": {"text": words + suffix}, "range": [low - pad, high + pad]}
        for name, words, (low, high) in zip(_AXIS_NAMES, AXES, ranges.tolist(), strict=True)
    }
    layout = {
        "scene": {
            **axes,
            "aspectmode": "data",
            "camera": {"up": {"x": 0, "y": -1, "z": 0}, "eye": {"x": 0.9, "y": -1.2, "z": -1.7}},
        },
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": 0, "yanchor": "top", "bgcolor": "rgba(0,0,0,0)"},
        "uirevision": "view",
    }
    return {"data": traces, "layout": layout}


_AXIS_NAMES = ("xaxis", "yaxis", "zaxis")


def _traces(segment: ViewedSegment, camera: Camera) -> list[dict[str, Any]]:
    path = segment.path
    size = float(np.ptp(path.positions, axis=0).max()) or 1.0
    traces = []
    if len(path.points):
        picked = _evenly(len(path.points), _MOST_POINTS)
        colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in segment.colors[picked].tolist()]
        marker = {"size": 1.8, "color": colours, "opacity": 0.8}
        traces.append(_trace(f"map, {segment.name}", path.points[picked], size, mode="markers", marker=marker))
    positions = np.insert(path.positions, np.flatnonzero(path.breaks), np.nan, axis=0)
    picked = _evenly(len(positions), _MOST_POSES)
    line = {"color": path.colour, "width": 5}
    traces.append(_trace(f"path, {segment.name}", positions[picked], size, mode="lines", line=line))
    if len(segment.keys):
        lines = _frusta(segment.keys[_evenly(len(segment.keys), _MOST_FRUSTA)], camera, _FRUSTUM * size)
        thin = {"color": path.colour, "width": 1.5}
        traces.append(_trace(f"key frames, {segment.name}", lines, size, mode="lines", line=thin))
    if path.truth is not None and len(path.truth):
        grey = {"color": "#8d97a2", "width": 3, "dash": "dash"}
        picked = _evenly(len(path.truth), _MOST_POSES)
        traces.append(_trace("truth", path.truth[picked], size, mode="lines", line=grey))
    return traces


def _trace(name: str, points: Floats, size: float, **rest: object) -> dict[str, Any]:
    """A trace through points (n, 3), which are rounded to what can be seen; NaN breaks a line."""
    decimals = int(np.clip(4 - np.floor(np.log10(size)), 0, 9))
    x, y, z = np.round(points, decimals).T
    return {"type": "scatter3d", "name": name, "x": x, "y": y, "z": z, "hoverinfo": "skip", **rest}


def _frusta(world_from_cam: Floats, camera: Camera, length: float) -> Floats:
    """Lines of the pyramids that cameras see, (k 8, 3), broken by NaN."""
    fx, fy = camera.params[:2]
    wide, high = 0.5 * camera.width / fx, 0.5 * camera.height / fy
    corners = np.array([[-wide, -high, 1], [wide, -high, 1], [wide, high, 1], [-wide, high, 1]]) * length
    apex = np.zeros(3)
    order = [apex, corners[0], corners[1], apex, corners[2], corners[3], apex, corners[1], corners[2], apex]
    loop = np.stack([*order, corners[3], corners[0], np.full(3, np.nan)])
    placed = loop @ world_from_cam[:, :3, :3].transpose(0, 2, 1) + world_from_cam[:, None, :3, 3]
    return placed.reshape(-1, 3)


def _evenly(count: int, most: int) -> NDArray[np.intp]:
    """At most `most` of `count` indices, evenly picked."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.intp)
