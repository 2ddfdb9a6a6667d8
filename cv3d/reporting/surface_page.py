"""The report of a comparison of two surfaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import cv3d
from cv3d.evaluation.surface import SurfaceEvaluation
from cv3d.formats.meshes import Up, up_of_cameras
from cv3d.geometry.mesh import Mesh
from cv3d.reporting import svg
from cv3d.reporting.figures import Curve, curves
from cv3d.reporting.page import Html, figure, joined, number, page, percent, section, table, tag
from cv3d.reporting.report_parts import tile
from cv3d.reporting.scenes.plotly_scene import draw, plotly_library
from cv3d.reporting.scenes.scene import Scene, SceneMesh, behind_cameras

_STEPS = 120
_SHOWN_POINTS = 60_000


def surface_page(
    result: SurfaceEvaluation,
    mesh: Mesh,
    names: tuple[str, str],
    up: Up | None = None,
    world_from_cam: NDArray[np.float64] | None = None,
) -> str:
    """The whole page.

    Args:
        result: the comparison.
        mesh: what was judged, in the reference's frame.
        names: what the user calls the mesh and the reference.
        up: the axis that is up; None: by the cameras, or -y.
        world_from_cam: (n, 4, 4) cameras from behind which one looks, in the reference's frame.
    """
    drawn = draw(_scene(result, mesh, up, world_from_cam), "space")
    warnings = [tag("div", tag("b", "Warnings"), tag("ul", *(tag("li", w) for w in result.warnings)), class_="note")]
    thinned = [tag("p", f"{note}.", class_="soft") for note in drawn.notes]
    body = [
        tag("header", tag("div", tag("h1", f"{names[0]} against {names[1]}"), class_="head")),
        *(warnings if result.warnings else []),
        tag("dl", *_tiles(result), class_="tiles"),
        section(
            "errors",
            "Where it errs",
            drawn.markup,
            tag(
                "p",
                "The mesh by its distance from the reference; click the reference's name to see what it lacks.",
                class_="soft",
            ),
            *thinned,
        ),
        section("shares", "Shares", tag("div", _chart(result), _scores(result), class_="pair")),
        *([_depth_section(result)] if result.depth is not None else []),
        tag(
            "footer",
            joined([f"cv3d {cv3d.__version__} · {len(result.points)} + {len(result.reference_points)} points"]),
        ),
    ]
    return page(f"Surface: {names[0]}", body, scripts=[plotly_library(), drawn.script])


def _tiles(result: SurfaceEvaluation) -> list[Html]:
    first = result.scores[0]
    tiles = [
        tile("F-score", number(first.fscore, 4), f"within {1000.0 * first.threshold_m:g} mm"),
        tile("Chamfer", f"{number(1000.0 * result.chamfer_m)} mm", "mean of both ways"),
        tile("Accuracy", f"{number(1000.0 * result.accuracy_m)} mm", "mesh to reference, mean"),
        tile("Completeness", f"{number(1000.0 * result.completeness_m)} mm", "reference to mesh, mean"),
    ]
    if result.normal_consistency is not None:
        tiles.append(tile("Normals", number(result.normal_consistency, 4), "mean cosine"))
    if result.observed_share < 1.0:
        tiles.append(tile("Compared", percent(result.observed_share), "of the reference, which the frames saw"))
    if result.depth is not None:
        note = f"median; {percent(result.depth.covered)} of the pixels covered"
        tiles.append(tile("Frames' depth", f"{number(1000.0 * result.depth.median_abs_m)} mm", note))
    return tiles


def _scene(result: SurfaceEvaluation, mesh: Mesh, up: Up | None, world_from_cam: NDArray[np.float64] | None) -> Scene:
    from scipy.spatial import cKDTree

    thresholds = [score.threshold_m for score in result.scores]
    top = float(np.clip(np.quantile(result.to_reference, 0.95), 2.0 * min(thresholds), 2.0 * max(thresholds)))
    values = result.to_reference[cKDTree(result.points).query(mesh.vertices)[1]]
    kept = np.linspace(0, len(result.reference_points) - 1, min(_SHOWN_POINTS, len(result.reference_points)))
    index = kept.astype(np.int64)
    lacking = Mesh(result.reference_points[index].astype(np.float32), np.zeros((0, 3), np.int32))
    items = (
        SceneMesh("mesh, by distance from the reference", mesh, _mm(values), "mm", 1000.0 * top),
        SceneMesh(
            "reference, by distance from the mesh", lacking, _mm(result.to_mesh[index]), "mm", 1000.0 * top, True
        ),
    )
    if world_from_cam is None or not len(world_from_cam):
        return Scene(items, up or Up.MINUS_Y)
    eye = behind_cameras(world_from_cam, Scene(items).bounds())
    return Scene(items, up or up_of_cameras(world_from_cam), eye)


def _mm(metres: NDArray[np.float64]) -> NDArray[np.float32]:
    return (1000.0 * metres).astype(np.float32)


def _chart(result: SurfaceEvaluation) -> Html:
    reach = 2.0 * max(score.threshold_m for score in result.scores)
    steps = np.linspace(0.0, reach, _STEPS)
    precision, recall = (
        np.searchsorted(np.sort(distances), steps, side="right") / len(distances)
        for distances in (result.to_reference, result.to_mesh)
    )
    total = precision + recall
    fscore = np.where(total > 0.0, 2.0 * precision * recall / np.where(total > 0.0, total, 1.0), 0.0)
    lines = [
        Curve("F-score", np.stack([1000.0 * steps, fscore], axis=1), "var(--ink)"),
        Curve("precision (of the mesh)", np.stack([1000.0 * steps, precision], axis=1), "var(--accent)", "6 3"),
        Curve("recall (of the reference)", np.stack([1000.0 * steps, recall], axis=1), "var(--warm)", "2 3"),
    ]
    chart = curves(lines, "distance, mm", "share", "shares within a distance", top=1.3, anchor="shares-clip")
    return figure(chart, "Within a distance", "How much of each surface is nearer to the other than that.")


def _scores(result: SurfaceEvaluation) -> Html:
    rows = [
        ("", [f"{1000.0 * s.threshold_m:g} mm", *(number(v, 4) for v in (s.fscore, s.precision, s.recall))])
        for s in result.scores
    ]
    return table(("within", "F-score", "precision", "recall"), rows, numeric=(1, 2, 3))


def _depth_section(result: SurfaceEvaluation) -> Html:
    depth = result.depth
    assert depth is not None
    medians = 1000.0 * depth.per_frame_m
    x = svg.Axis(0.0, max(len(medians) - 1.0, 1.0), 66.0, 600.0)
    y = svg.Axis(0.0, 1.15 * max(float(np.nanmax(medians, initial=0.0)), 1e-3), 350.0, 10.0)
    placed = np.stack([x.place(np.arange(len(medians), dtype=np.float64)), y.place(np.nan_to_num(medians))], axis=1)
    line = svg.path(svg.polylines(placed, np.isfinite(medians)), "var(--accent)", 1.8)
    chart = svg.drawing(640.0, 400.0, "error of each frame", svg.frame(x, y, "frame", "median error, mm"), line)
    within = [("", [f"{1000.0 * key:g} mm", percent(value)]) for key, value in depth.within.items()]
    sums = table(("measured depth within", "share"), within, numeric=(1,))
    card = figure(chart, "Frame by frame", "Median of the absolute difference from measured depth.")
    return section("depth", "Against measured depth", tag("div", card, sums, class_="pair"))
