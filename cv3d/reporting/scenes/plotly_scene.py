"""A scene as markup that plotly draws, with all it needs inside: nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import DependencyError
from cv3d.formats.meshes.up import Up
from cv3d.geometry.mesh import Mesh
from cv3d.reporting.page import Html, tag
from cv3d.reporting.scenes.pyramids import pyramid_lines
from cv3d.reporting.scenes.scene import Scene, SceneCameras, SceneItem, SceneMesh, ScenePath
from cv3d.reporting.scenes.thinning import thinned

MOST_TRIANGLES = 150_000
"""Triangles of all meshes of a page together, about."""
MOST_POINTS = 200_000
_CAMERA_SIZES = (0.03, 0.07)
"""Depth of a pyramid beside a surface, and without one, as a share of the scene's diagonal."""
_MARKER_PX = 1.6
_GREY = "#9aa4ae"
_FIGURES = [[0.0, "#dfe7ea"], [0.25, "#7cc4a4"], [0.5, "#f0c24f"], [0.75, "#e2622d"], [1.0, "#8f0f1f"]]
_UP: dict[Up, tuple[int, int, int]] = {Up.MINUS_Y: (0, -1, 0), Up.PLUS_Z: (0, 0, 1), Up.PLUS_Y: (0, 1, 0)}
_EYE: dict[Up, tuple[float, float, float]] = {
    Up.MINUS_Y: (0.9, -0.9, -1.2),
    Up.PLUS_Z: (0.9, -1.2, 0.9),
    Up.PLUS_Y: (0.9, 0.9, 1.2),
}


@dataclass(frozen=True)
class Drawn:
    """A scene as it is drawn."""

    markup: Html
    """The element that it is drawn into."""
    script: str
    """Draws it; the page runs :func:`plotly_library` before."""
    notes: tuple[str, ...]
    """What was left out for the page."""


def plotly_library() -> str:
    """The drawing library as a script.

    Raises:
        DependencyError: plotly is installed without it.
    """
    try:
        import plotly
    except ImportError as error:
        raise DependencyError("pages in 3D need plotly: pip install plotly") from error
    path = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    if not path.is_file():
        raise DependencyError("plotly is installed without its script: pip install --force-reinstall plotly")
    return path.read_text(encoding="utf-8").replace("</script", "<\\/script")


def draw(scene: Scene, anchor: str, height: str = "70vh") -> Drawn:
    """A scene as an element of a page.

    Args:
        scene: what is seen.
        anchor: id of the element.
        height: in CSS.
    """
    notes: list[str] = []
    meshes = [item for item in scene.items if isinstance(item, SceneMesh)]
    shares = max(sum(len(item.mesh.triangles) > 0 for item in meshes), 1)
    clouds = max(len(meshes) - shares, 1)
    bounds = scene.bounds()
    diagonal = float(np.linalg.norm(bounds[1] - bounds[0])) or 1.0
    middle, half = bounds.mean(axis=0), 0.5 * (bounds[1] - bounds[0]) + 0.03 * diagonal
    camera_m = diagonal * _CAMERA_SIZES[0 if meshes else 1]
    traces: list[dict[str, object]] = []
    for item in scene.items:
        if isinstance(item, SceneMesh):
            most = MOST_TRIANGLES // shares if len(item.mesh.triangles) else MOST_POINTS // clouds
            traces.append(_mesh_trace(item, most, notes))
        else:
            traces.append(_line_trace(item, camera_m, notes))
    camera: dict[str, object] = {"up": _xyz(_UP[scene.up]), "eye": _xyz(_EYE[scene.up])}
    if scene.eye is not None:
        # Plotly's own unit is the geometric mean of the three axes' lengths.
        unit = float(np.prod(2.0 * half) ** (1.0 / 3.0))
        camera |= {key: _xyz((place - middle) / unit) for key, place in zip(("eye", "center"), scene.eye, strict=True)}
    axes = {
        f"{axis}axis": {
            "title": {"text": f"{axis}, {scene.unit}" if scene.unit else axis},
            "showbackground": False,
            "range": [float(middle[k] - half[k]), float(middle[k] + half[k])],
        }
        for k, axis in enumerate("xyz")
    }
    layout = {
        "scene": {
            "aspectmode": "data",
            "dragmode": "turntable" if scene.up is Up.PLUS_Z else "orbit",
            "camera": camera,
            **axes,
        },
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "legend": {"x": 0.01, "y": 0.99, "itemsizing": "constant", "bgcolor": "rgba(128,128,128,0.12)"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "showlegend": len(traces) > 1,
        "uirevision": "kept",
    }
    data = json.dumps({"data": traces, "layout": layout}, separators=(",", ":"), allow_nan=False)
    data = data.replace("</", "<\\/")
    box = tag("div", id=anchor, class_="space", style=f"height:{height};min-height:320px")
    script = _SCRIPT.replace("ANCHOR", json.dumps(anchor)).replace("FIGURE", data)
    return Drawn(box, script, tuple(notes))


def _mesh_trace(item: SceneMesh, most: int, notes: list[str]) -> dict[str, object]:
    mesh, values = item.mesh, item.values
    if max(len(mesh.triangles), len(mesh.vertices) if not len(mesh.triangles) else 0) > most:
        shown, values = _thinned(mesh, values, most)
        what = "triangles" if len(mesh.triangles) else "points"
        was, is_ = (len(m.triangles) or len(m.vertices) for m in (mesh, shown))
        notes.append(f"{item.name}: thinned for this page from {was:,} to {is_:,} {what}; the file holds them all")
        mesh = shown
    trace: dict[str, object] = {"name": item.name, **_columns(mesh.vertices)}
    if item.is_hidden:
        trace["visible"] = "legendonly"
    paint: dict[str, object] = {}
    if values is not None:
        top = item.values_top if item.values_top is not None else float(values.max(initial=0.0)) or 1.0
        scale = {"colorscale": _FIGURES, "cmin": 0.0, "cmax": top, "showscale": True}
        paint = {**scale, "colorbar": {"title": {"text": item.values_title}, "len": 0.6, "thickness": 14}}
    if len(mesh.triangles):
        trace |= {"type": "mesh3d", "hoverinfo": "name", "showlegend": True, "flatshading": False}
        trace |= {key: _packed(mesh.triangles[:, k].astype("<i4")) for k, key in enumerate("ijk")}
        trace["lighting"] = {"ambient": 0.75, "diffuse": 0.35, "specular": 0.03, "roughness": 0.9, "fresnel": 0.0}
        if values is not None:
            trace |= {"intensity": _packed(values.astype("<f4")), **paint}
            trace["lighting"] = {"ambient": 0.85, "diffuse": 0.25, "specular": 0.0}
        elif mesh.colors is not None:
            trace["vertexcolor"] = _bytes(mesh.colors)
        else:
            trace |= {"color": _GREY}
            trace["lighting"] = {"ambient": 0.45, "diffuse": 0.7, "specular": 0.1, "roughness": 0.6, "fresnel": 0.0}
        return trace
    marker: dict[str, object] = {"size": _MARKER_PX, **paint}
    if values is not None:
        marker["color"] = _packed(values.astype("<f4"))
    else:
        marker["color"] = _GREY if mesh.colors is None else _bytes(mesh.colors)
    return trace | {"type": "scatter3d", "mode": "markers", "marker": marker, "hoverinfo": "name"}


def _thinned(mesh: Mesh, values: NDArray[np.float32] | None, most: int) -> tuple[Mesh, NDArray[np.float32] | None]:
    """A smaller mesh, with the figure of the nearest old vertex."""
    small = thinned(mesh, most)
    if values is None:
        return small, None
    from scipy.spatial import cKDTree

    return small, values[cKDTree(mesh.vertices).query(small.vertices)[1]]


def _line_trace(item: SceneItem, camera_m: float, notes: list[str]) -> dict[str, object]:
    if isinstance(item, ScenePath):
        unit = "s" if item.is_timed else "frame"
        line = {"width": 4, "color": _packed((item.times - item.times[:1]).astype("<f4")), "colorscale": "Viridis"}
        hover = {"hovertemplate": f"%{{line.color:.2f}} {unit}<extra>{item.name}</extra>"} if len(item.times) else {}
        return (
            {"type": "scatter3d", "mode": "lines", "name": item.name, "line": line} | _columns(item.positions) | hover
        )
    assert isinstance(item, SceneCameras)
    kept = np.arange(len(item.world_from_cam))
    if len(kept) > item.most:
        kept = np.unique(np.linspace(0, len(kept) - 1, item.most).astype(np.int64))
        notes.append(f"{item.name}: {len(kept)} of {len(item.world_from_cam)} cameras are drawn")
    depth = camera_m if item.depth is None else item.depth
    lines = [
        pyramid_lines(item.cameras[i] if item.cameras else None, item.world_from_cam[i], depth) for i in kept.tolist()
    ]
    drawn = np.concatenate(lines) if lines else np.zeros((0, 3))
    trace: dict[str, object] = {"type": "scatter3d", "mode": "lines", "name": item.name, "hoverinfo": "skip"}
    trace |= {"line": {"width": 2, "color": "#d9480f"}, "connectgaps": False} | _columns(drawn)
    if item.labels:
        names = [item.labels[i] for i in kept.tolist()]
        trace |= {"text": [name for name, line in zip(names, lines, strict=True) for _ in line], "hoverinfo": "text"}
    return trace


def _columns(points: NDArray[np.floating]) -> dict[str, object]:
    return {key: _packed(np.ascontiguousarray(points[:, k], "<f4")) for k, key in enumerate("xyz")}


def _packed(values: NDArray[np.generic]) -> dict[str, str]:
    """An array as plotly's own packed form."""
    return {"dtype": values.dtype.str[1:], "bdata": base64.b64encode(values.tobytes()).decode("ascii")}


def _bytes(colors: NDArray[np.uint8]) -> dict[str, str]:
    """Colours for the script, which makes the words of them that plotly takes: a page a third as large."""
    return {"rgb": base64.b64encode(np.ascontiguousarray(colors).tobytes()).decode("ascii")}


def _xyz(values: tuple[float, float, float] | NDArray[np.float64]) -> dict[str, float]:
    return {key: float(value) for key, value in zip("xyz", values, strict=True)}


_SCRIPT = """(() => {
const figure = FIGURE;
const words = packed => {
  const raw = atob(packed.rgb), out = new Array(raw.length / 3);
  for (let i = 0; i < out.length; i++)
    out[i] = `rgb(${raw.charCodeAt(3 * i)},${raw.charCodeAt(3 * i + 1)},${raw.charCodeAt(3 * i + 2)})`;
  return out;
};
for (const trace of figure.data) {
  if (trace.vertexcolor) trace.vertexcolor = words(trace.vertexcolor);
  if (trace.marker && trace.marker.color && trace.marker.color.rgb) trace.marker.color = words(trace.marker.color);
}
const style = getComputedStyle(document.documentElement);
const ink = style.getPropertyValue("--soft").trim(), grid = style.getPropertyValue("--line").trim();
figure.layout.font = {color: ink, family: "system-ui, sans-serif", size: 12};
for (const axis of ["xaxis", "yaxis", "zaxis"])
  Object.assign(figure.layout.scene[axis], {gridcolor: grid, zerolinecolor: grid, color: ink});
Plotly.newPlot(ANCHOR, figure.data, figure.layout, {responsive: true, displaylogo: false});
})();"""
