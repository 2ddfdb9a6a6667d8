"""The models of a scene in space, one shown at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv3d.formats.meshes.up import Up
from cv3d.geometry.mesh import Mesh
from cv3d.mapping.scene import ScaleSource, Scene, SceneModel
from cv3d.reporting.page import Html, tag
from cv3d.reporting.scene_clouds import Floats, camera_pyramids, cloud, core_bounds, pyramid_depth, world_from_cams
from cv3d.reporting.scenes import scene as drawn
from cv3d.reporting.scenes.plotly_scene import draw, plotly_library

MOST_MODELS = 6
_MOST_POINTS = 100_000
"""Of all models of a page together."""
_MOST_CAMERAS = 600
_HEIGHT = "min(72vh,660px)"
_ONE_WAY = 0.3
"""Length of the mean viewing direction from which on cameras look the same way."""
_SWITCH = """(() => {
const panes = [...document.querySelectorAll("[data-model]")];
for (const button of document.querySelectorAll("input[name=shown-model]"))
  button.addEventListener("change", () => {
    for (const pane of panes) {
      pane.hidden = pane.dataset.model !== button.value;
      if (!pane.hidden) Plotly.Plots.resize(pane.querySelector(".space"));
    }
  });
})();"""


@dataclass(frozen=True)
class SceneView:
    """What is seen, ready for a page."""

    markup: Html
    scripts: tuple[str, ...]
    notes: tuple[str, ...]
    """What was left out of it."""


def scene_view(scene: Scene) -> SceneView:
    """Points and cameras of every model, with a switch where there are several."""
    shown = scene.models[:MOST_MODELS]
    room = _MOST_POINTS // max(len(shown), 1)
    unit = "" if scene.scale is ScaleSource.ARBITRARY else "m"
    panes, scripts, notes = [], [plotly_library()], []
    for number, model in enumerate(shown):
        seen, far = _model(model, room, is_upright=scene.is_upright, unit=unit)
        space = draw(seen, f"space{number}", _HEIGHT)
        panes.append(tag("div", space.markup, data_model=str(number), hidden=number > 0))
        scripts.append(space.script)
        where = f"Model {number}: " if len(shown) > 1 else ""
        notes += [f"{where}{note}." for note in space.notes]
        if far:
            notes.append(f"{where}{far:,} points far outside the others are not drawn here; points.ply has them.")
    if len(scene.models) > len(shown):
        notes.append(f"The {len(shown)} largest of {len(scene.models)} models are drawn.")
    if len(shown) < 2:
        return SceneView(Html("".join(panes)), tuple(scripts), tuple(notes))
    switch = tag("div", *(_button(number, model) for number, model in enumerate(shown)), class_="legend")
    return SceneView(Html("".join([switch, *panes])), (*scripts, _SWITCH), tuple(notes))


def _button(number: int, model: SceneModel) -> Html:
    words = f" model {number}: {len(model.images):,} pictures"
    knob = tag("input", type="radio", name_="shown-model", value=str(number), checked=number == 0)
    return tag("label", knob, words)


def _model(model: SceneModel, room: int, *, is_upright: bool, unit: str) -> tuple[drawn.Scene, int]:
    """A model as it is drawn, and how many of its points are too far away for that."""
    poses = world_from_cams(model)
    names = tuple(image.picture.name for image in model.images)
    lenses = tuple(model.cameras[image.camera].camera for image in model.images)
    cameras = drawn.SceneCameras("cameras", poses, lenses, names, pyramid_depth(model), _MOST_CAMERAS)
    up = Up.PLUS_Z if is_upright else _up(poses)
    if model.is_oriented_only:
        # All pyramids have one apex: their corners tell how much room they take.
        corners = Mesh(camera_pyramids(model)[0].vertices, np.zeros((0, 3), np.int32))
        return drawn.Scene((drawn.SceneMesh("corners", corners), cameras), up, None, unit=unit), 0
    low, high = core_bounds(model)
    inside = ((model.points >= low) & (model.points <= high)).all(axis=1)
    # Thinned here already: what is drawn is bounded over all models, not for each.
    kept = np.flatnonzero(inside)
    if len(kept) > room:
        kept = kept[np.linspace(0, len(kept) - 1, room).astype(np.int64)]
    whole = cloud(model)
    points = Mesh(whole.vertices[kept], whole.triangles, None, model.colors[kept])
    items = (drawn.SceneMesh("points", points), cameras) if len(kept) else (cameras,)
    ahead = poses[:, :3, 2].mean(axis=0) if len(poses) else np.zeros(3)
    eye = drawn.behind_cameras(poses, np.stack([low, high])) if np.linalg.norm(ahead) > _ONE_WAY else None
    return drawn.Scene(items, up, eye, unit=unit), int((~inside).sum())


def _up(world_from_cam: Floats) -> Up:
    """The axis that is nearest to upwards in the pictures."""
    above = -world_from_cam[:, :3, 1].mean(axis=0) if len(world_from_cam) else np.array([0.0, -1.0, 0.0])
    likeness = {Up.MINUS_Y: -above[1], Up.PLUS_Z: above[2], Up.PLUS_Y: above[1]}
    return max(likeness, key=lambda axis: float(likeness[axis]))
