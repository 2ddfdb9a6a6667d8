"""The page of `cv3d view`: everything in one space, in one file."""

from __future__ import annotations

from cv3d.reporting.page import Html, joined, page, table, tag
from cv3d.reporting.scenes.plotly_scene import draw, plotly_library
from cv3d.reporting.scenes.scene import Scene, SceneItem, SceneMesh, ScenePath


def view_page(scene: Scene, title: str) -> tuple[str, tuple[str, ...]]:
    """The page, and what was left out for it, one line each.

    Args:
        scene: what is seen.
        title: of the page.

    Raises:
        DependencyError: plotly is missing.
    """
    drawn = draw(scene, "space", "calc(100vh - 190px)")
    rows = [("", [tag("b", item.name, class_="file"), *_words(item)]) for item in scene.items]
    notes = [*scene.notes, *(f"{note}." for note in drawn.notes)]
    said = [tag("p", joined([" ".join(notes)]), class_="soft", style="margin-top:10px")] if notes else []
    body = [
        tag("style", Html("main{max-width:none;padding-top:16px}.space{margin:8px 0}")),
        tag("h1", title),
        drawn.markup,
        table(("", "what", "how much", "extent"), rows),
        *said,
    ]
    return page(title, body, scripts=[plotly_library(), drawn.script]), drawn.notes


def _words(item: SceneItem) -> tuple[str, str, str]:
    """What an item is, how much of it there is, and how large it is."""
    if isinstance(item, SceneMesh):
        points = f"{len(item.mesh.vertices):,} {'vertices' if len(item.mesh.triangles) else 'points'}"
        size = _extent(item.mesh.vertices)
        if not len(item.mesh.triangles):
            return "point cloud", points, size
        return "mesh", f"{points}, {len(item.mesh.triangles):,} triangles", size
    if isinstance(item, ScenePath):
        unit = "s" if item.is_timed else "frames"
        spent = float(item.times[-1] - item.times[0]) if len(item.times) else 0.0
        return "path", f"{len(item.positions):,} poses, {spent:.4g} {unit}", _extent(item.positions)
    return "cameras", f"{len(item.world_from_cam):,}", _extent(item.world_from_cam[:, :3, 3])


def _extent(points: object) -> str:
    import numpy as np

    values = np.asarray(points, np.float64)
    if not len(values):
        return "–"
    return " × ".join(f"{side:.3g}" for side in np.ptp(values, axis=0)) + " m"
