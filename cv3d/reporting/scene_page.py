"""The report of `cv3d reconstruct`: one self-contained HTML page with the scene, its pictures, graph and cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import cv3d
from cv3d.mapping.scene import IntrinsicsSource, ScaleSource, Scene
from cv3d.reconstruction.scene import DenseScene
from cv3d.reporting.dense_sections import dense_tiles, depth_section, surface_section
from cv3d.reporting.page import Html, figure, joined, number, page, percent, section, table, tag, with_sigma
from cv3d.reporting.report_parts import bar, parameter_table, plus_minus, small_note, tile
from cv3d.reporting.scene_cards import picture_sections
from cv3d.reporting.scene_figures import bars, track_lengths, triangulation_angles
from cv3d.reporting.scene_summary import SCALE_WORDS, SOURCE_WORDS, camera_words, frame_words, headline
from cv3d.reporting.scene_view import scene_view
from cv3d.reporting.view_graph import DrawnGraph, draw_graph

_MOST_TABLES = 6
"""Cameras with a table of their own; of more, all are in one."""
_MOST_CAMERAS = 600
_MOST_CONTRADICTED = 12
_MOST_MODELS = 60


def scene_page(
    scene: DenseScene, content: Mapping[str, Any], thumbnails: Mapping[str, bytes], title: str = "Scene"
) -> str:
    """A scene as one HTML page, which needs no network; its scripts turn the models in space. Its size is bounded.

    Args:
        scene: the scene.
        content: of :func:`cv3d.reporting.scene_summary.scene_result`.
        thumbnails: small JPEG files by the names of pictures.
        title: any text.
    """
    parts: list[tuple[str, str, Html]] = []
    scripts: tuple[str, ...] = ()
    if scene.surface is not None:
        markup, script = surface_section(scene)
        parts.append(("surface-view", "Surface", markup))
        scripts = (script,)
    if scene.models:
        view = scene_view(scene)
        # The library comes first among the view's.
        scripts = (*view.scripts, *scripts)
        words = "Drag to turn, scroll to zoom; a pyramid tells its picture's name."
        notes = [small_note(note) for note in view.notes]
        parts.append(("space", "In space", section("space", "In space", figure(view.markup, "Scene", words), *notes)))
    if scene.depth is not None:
        parts.append(("depth", "Depth", depth_section(scene)))
    parts += picture_sections(scene, thumbnails)
    if len(scene.graph.pairs):
        parts.append(("graph", "View graph", _graph_section(scene)))
    if scene.models:
        parts.append(("cameras", "Cameras", _camera_section(scene, content)))
    if content["observations"]:
        parts.append(("quality", "Quality", _quality_section(scene)))
    parts.append(("facts", "Facts", _fact_section(content)))
    links = [(anchor, words) for anchor, words, _ in parts]
    foot = tag("footer", joined([f"cv3d {cv3d.__version__} · {scene.device} · seed {scene.seed}"]))
    return page(title, [_head(scene, content, title, links), *(one for _, _, one in parts), foot], scripts)


def _head(scene: Scene, content: Mapping[str, Any], title: str, links: Sequence[tuple[str, str]]) -> Html:
    words, level = _judged(scene)
    top = tag("div", tag("h1", title), tag("span", words, class_=f"badge {level}"), class_="head")
    said = headline(content)
    judged = tag("div", tag("p", f"{said[:1].upper()}{said[1:]}."), class_=f"verdict {level}")
    notes = []
    if content["warnings"]:
        lines = tag("ul", *(tag("li", line) for line in content["warnings"]))
        notes.append(tag("div", tag("b", "Warnings"), lines, class_="note"))
    navigation = tag("nav", *(tag("a", name, href=f"#{anchor}") for anchor, name in links))
    return tag("header", top, judged, *notes, tag("dl", *_tiles(scene, content), class_="tiles"), navigation)


def _judged(scene: Scene) -> tuple[str, str]:
    if not scene.models:
        return "nothing placed", "poor"
    if scene.models[0].is_oriented_only:
        return "oriented only", "poor"
    if len(scene.models) > 1:
        return "in parts", "usable"
    share = scene.registered / max(scene.total, 1)
    return ("complete", "good") if share == 1.0 else ("mostly placed" if share >= 0.9 else "partly placed", "usable")


def _tiles(scene: Scene, content: Mapping[str, Any]) -> list[Html]:
    total, registered = scene.total, scene.registered
    became = "oriented" if scene.models and scene.models[0].is_oriented_only else "placed"
    error, length = content["mean_reprojection_px"], content["track_length"]
    tiles = [
        tile(
            "Pictures",
            f"{registered:,} of {total:,}",
            f"{percent(registered / max(total, 1))} {became}",
        ),
        tile("Models", str(len(scene.models)), "worlds of their own" if len(scene.models) > 1 else "one world"),
        tile("Points", f"{content['points']:,}", f"{content['observations']:,} observations"),
        tile("Reprojection error", f"{number(error)} px" if error is not None else "–", "mean over observations"),
        tile("Track length", number(length) if length is not None else "–", "pictures that see a point, on average"),
    ]
    tiles += dense_tiles(content)
    if content["intrinsics"]:
        camera = content["intrinsics"][0]
        sigma = camera["deviations"]["fx"]
        more = f", ± {number(sigma, 2)} px" if sigma else ""
        others = len(content["intrinsics"]) - 1
        note = SOURCE_WORDS[IntrinsicsSource(camera["source"])] + more + (f"; {others} more" if others else "")
        tiles.append(tile("Focal length", f"{camera['params']['fx']:.1f} px", note))
    tiles.append(tile("Scale", "arbitrary" if scene.scale is ScaleSource.ARBITRARY else "metric", _scale_note(content)))
    if "total" in content["seconds"]:
        tiles.append(tile("Time", f"{number(content['seconds']['total'])} s", f"{scene.mapper} mapper, {scene.device}"))
    return tiles


def _scale_note(content: Mapping[str, Any]) -> str:
    _, _, how = SCALE_WORDS[ScaleSource(content["scale"])].replace(": ", ", ", 1).partition(", ")
    return "; ".join(words for words in (how, frame_words(content)) if words)


def _graph_section(scene: Scene) -> Html:
    graph = scene.graph
    count = len(graph.names)
    ones = np.ones(len(graph.pairs))
    joined_ = coo_array((ones, (graph.pairs[:, 0], graph.pairs[:, 1])), shape=(count, count))
    _, labels = connected_components(joined_, directed=False)
    groups = sorted((np.flatnonzero(labels == label).tolist() for label in np.unique(labels)), key=lambda g: -len(g))
    place = {name: index for index, name in enumerate(graph.names)}
    colours = np.full(count, -1, np.int64)
    for index, model in enumerate(scene.models):
        for image in model.images:
            colours[place[image.picture.name]] = index
    words = ["Each model has a colour of its own."] if len(scene.models) > 1 else []
    words += ["Grey: pictures that were left out."] if scene.left_out else []
    drawn, reading = draw_graph(
        DrawnGraph(
            graph.names,
            graph.pairs.astype(np.int64),
            graph.inliers.astype(np.int64),
            ~graph.used,
            "Orange: pairs that the final poses contradict, such as look-alikes.",
            groups,
            colours,
            " ".join(words),
        )
    )
    contradicted = np.flatnonzero(~graph.used)
    ranked = contradicted[np.argsort(-graph.inliers[contradicted], kind="stable")]
    said = [tag("p", f"{len(graph.pairs):,} verified pairs, {len(contradicted):,} of them contradicted.")]
    beside = []
    if len(ranked):
        rows = [
            ("", [f"{a + 1}: {graph.names[a]}", f"{b + 1}: {graph.names[b]}", f"{int(graph.inliers[index]):,}"])
            for index, (a, b) in zip(
                ranked[:_MOST_CONTRADICTED].tolist(), graph.pairs[ranked[:_MOST_CONTRADICTED]].tolist(), strict=True
            )
        ]
        head = ["contradicted pair", "", "inliers"]
        more = len(ranked) - len(rows)
        beside = [
            tag("div", table(head, rows, numeric=(2,)), *([small_note(f"And {more:,} more.")] if more > 0 else []))
        ]
    drawing = figure(drawn, "Who sees the same as whom", reading)
    return section("graph", "View graph", *said, tag("div", drawing, *beside, class_="pair"))


def _camera_section(scene: Scene, content: Mapping[str, Any]) -> Html:
    cameras = [(index, one) for index, model in enumerate(scene.models) for one in model.cameras]
    said = content["intrinsics"]
    if len(cameras) > _MOST_TABLES:
        return section("cameras", "Cameras", _camera_rows(said))
    blocks = []
    for (_, one), words in zip(cameras, said, strict=True):
        where = f"model {words['in_model']}, " if len(scene.models) > 1 else ""
        pictures = f"{where}{words['images']:,} picture{'' if words['images'] == 1 else 's'}"
        deviations = dict(zip(one.camera.lens.param_names, one.deviations, strict=True))
        blocks.append(
            tag("div", tag("h3", f"{camera_words(words)}; {pictures}"), parameter_table(one.camera, deviations))
        )
    return section("cameras", "Cameras", tag("div", *blocks, class_="pair"))


def _camera_rows(cameras: Sequence[Mapping[str, Any]]) -> Html:
    rows = []
    for camera in cameras[:_MOST_CAMERAS]:
        deviations = {name: float("nan") if one is None else one for name, one in camera["deviations"].items()}
        texts = [with_sigma(camera["params"][name], deviations[name]) for name in ("fx", "cx", "cy")]
        rows.append(
            (
                "",
                [
                    str(camera["in_model"]),
                    camera["model"],
                    f"{camera['width']} × {camera['height']}",
                    str(camera["images"]),
                    *(
                        f"{value} {plus_minus(sigma, deviations[name])}"
                        for (value, sigma), name in zip(texts, ("fx", "cx", "cy"), strict=True)
                    ),
                    SOURCE_WORDS[IntrinsicsSource(camera["source"])],
                ],
            )
        )
    head = ["model", "lens", "size", "pictures", "fx, px", "cx, px", "cy, px", "from"]
    listed = table(head, rows, numeric=(0, 3, 4, 5, 6))
    more = len(cameras) - len(rows)
    return joined([listed, *([small_note(f"And {more:,} more; result.json has all.")] if more > 0 else [])])


def _quality_section(scene: Scene) -> Html:
    errors = np.concatenate([model.reprojection_errors() for model in scene.models])
    errors = errors[np.isfinite(errors)]
    angles = triangulation_angles(scene)
    cards = []
    if len(errors):
        share = percent(float((errors < 1.0).mean()))
        cards.append(
            figure(
                bars(errors, "reprojection error, px", "Reprojection errors of all observations"),
                "Reprojection error",
                f"Of every observation; {share} are below 1 px. The dashed line is the median.",
            )
        )
    lengths = track_lengths(scene)
    cards.append(
        figure(
            bars(lengths, "pictures", "How many pictures see each point", whole=True),
            "Track length",
            f"Pictures that see a point; {percent(float((lengths == 2).mean()))} are seen by two alone.",
        )
    )
    if len(angles):
        cards.append(
            figure(
                bars(angles, "angle, degrees", "Widest angle between the rays to each point"),
                "Triangulation angle",
                f"Widest angle between the rays to a point; {percent(float((angles < 2.0).mean()))} are below 2°, "
                "where depth is uncertain.",
            )
        )
    return section("quality", "Quality", tag("div", *cards, class_="pair"))


def _fact_section(content: Mapping[str, Any]) -> Html:
    spent = content["seconds"]
    stages = {name: seconds for name, seconds in spent.items() if name != "total"}
    longest = max(stages.values(), default=0.0)
    rows = [("", [tag("b", name), f"{seconds:.2f}", bar(seconds, longest)]) for name, seconds in stages.items()]
    if "total" in spent:
        rows.append(("chosen", [tag("b", "in all"), f"{spent['total']:.2f}", ""]))
    blocks = [tag("div", table(["stage", "seconds", ""], rows, numeric=(1,)))] if rows else []
    facts = [
        ("mapper", content["mapper"]),
        ("scale", SCALE_WORDS[ScaleSource(content["scale"])]),
        ("world", frame_words(content) or "lies as the first pictures do"),
        ("device", content["device"]),
    ]
    if content["interrupted"]:
        facts.append(("interrupted", "the run ended before its work was done"))
    blocks.append(table(["fact", "value"], [("", [tag("b", name), words]) for name, words in facts]))
    models = [
        (
            "",
            [
                str(index),
                f"{model['images']:,}",
                f"{model['points']:,}",
                f"{model['observations']:,}",
                "–" if model["mean_reprojection_px"] is None else number(model["mean_reprojection_px"]),
                "–" if model["track_length"] is None else number(model["track_length"]),
                "oriented only" if model["oriented_only"] else "",
            ],
        )
        for index, model in enumerate(content["models"][:_MOST_MODELS])
    ]
    head = ["model", "pictures", "points", "observations", "error, px", "track length", ""]
    below = [tag("div", table(head, models, numeric=(0, 1, 2, 3, 4, 5)), style="margin-top:14px")] if models else []
    return section("facts", "Facts", tag("div", *blocks, class_="pair"), *below)
