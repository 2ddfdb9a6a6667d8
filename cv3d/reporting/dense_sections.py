"""The surface and the depth maps in the report of a scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cv3d.reconstruction.scene import DenseScene
from cv3d.reporting.dense_files import DENSE_FOLDER, up_of
from cv3d.reporting.depth_page import picture_cards
from cv3d.reporting.page import Html, figure, number, percent, section, tag
from cv3d.reporting.report_parts import small_note, tile
from cv3d.reporting.scene_clouds import pyramid_depth, world_from_cams
from cv3d.reporting.scenes.plotly_scene import draw
from cv3d.reporting.scenes.scene import Scene, SceneCameras, SceneMesh, behind_cameras

_HEIGHT = "min(72vh,660px)"
_MOST_CAMERAS = 60
_MOST_MAPS = 6


def surface_section(scene: DenseScene) -> tuple[Html, str]:
    """The surface with its cameras, to be turned, and the script that does so."""
    assert scene.surface is not None
    model, mesh = scene.models[0], scene.surface.mesh
    poses = world_from_cams(model)
    kept = np.unique(np.linspace(0, len(poses) - 1, min(len(poses), _MOST_CAMERAS)).astype(np.intp))
    lenses = tuple(model.cameras[model.images[i].camera].camera for i in kept)
    names = tuple(model.images[i].picture.name for i in kept)
    unit = "m" if scene.posed is not None and scene.posed.is_metric else ""
    seen = Scene(
        (SceneMesh("surface", mesh), SceneCameras("cameras", poses[kept], lenses, names, pyramid_depth(model))),
        up_of(scene),
        behind_cameras(poses, scene.surface.bounds),
        unit=unit,
    )
    drawn = draw(seen, "surface", _HEIGHT)
    words = "Drag to turn, scroll to zoom. Holes are where too few pictures agree on a surface: sky, glass, mirrors."
    notes = [small_note(f"{note}.") for note in drawn.notes]
    return section("surface-view", "Surface", figure(drawn.markup, "Surface", words), *notes), drawn.script


def depth_section(scene: DenseScene) -> Html:
    """Some of the depth maps, and where the others are."""
    assert scene.depth is not None
    is_metric = scene.posed is not None and scene.posed.is_metric
    cards = picture_cards(scene.depth, is_metric=is_metric, most=_MOST_MAPS)
    link = tag("a", f"{DENSE_FOLDER}/report.html", href=f"{DENSE_FOLDER}/report.html")
    return section("depth", "Depth", cards, tag("p", "All maps, with their confidence: ", link, class_="soft"))


def dense_tiles(content: Mapping[str, Any]) -> list[Html]:
    """Figures of depth and surface."""
    tiles = []
    depth, mesh = content["depth"], content["mesh"]
    if depth is not None:
        confidence = depth["median_confidence"]
        words = f"{percent(depth['coverage'])} of the pixels"
        words += f", median confidence {number(confidence)}" if confidence is not None else ""
        tiles.append(tile("Depth maps", f"{depth['maps']:,}", words))
    if mesh is not None:
        size = " × ".join(number(high - low) for low, high in zip(*mesh["bounds"], strict=True))
        tiles.append(tile("Surface", f"{mesh['triangles']:,} triangles", f"{size}; {mesh['vertices']:,} vertices"))
    return tiles
