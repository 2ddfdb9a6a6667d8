"""Depth maps as one cloud in space, as far as a page can take it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cv3d.depth.result import DepthMap
from cv3d.formats.meshes import up_of_cameras
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.reporting.scenes.plotly_scene import Drawn, draw
from cv3d.reporting.scenes.scene import Scene, SceneCameras, SceneMesh, behind_cameras

_MOST_POINTS = 120_000
_SURE = 0.5
_FAR = 0.995
"""Quantile of the distances from the middle up to which points are drawn."""
_HEIGHT = "min(72vh,660px)"

Floats = NDArray[np.float32]
Colors = NDArray[np.uint8]


def depth_in_space(maps: Sequence[DepthMap], unit: str, least_confidence: float = _SURE) -> Drawn | None:
    """The points of all maps, thinned, and the cameras; None where no point is sure.

    Args:
        maps: one at least.
        unit: of lengths; empty where they have none.
        least_confidence: of the points that are drawn.
    """
    room = max(1, _MOST_POINTS // len(maps))
    parts = [points_of(one, least_confidence, room) for one in maps]
    points, colors = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(points):
        return None
    distances = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    near = distances <= np.quantile(distances, _FAR)
    mesh = Mesh(points[near], np.zeros((0, 3), np.int32), colors=colors[near])
    world_from_cam = inverse_rigid(np.stack([one.cam_from_world for one in maps]))
    cameras = SceneCameras(
        "cameras", world_from_cam, tuple(one.camera for one in maps), tuple(one.name for one in maps)
    )
    bounds = np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)]).astype(np.float64)
    eye = behind_cameras(world_from_cam, bounds)
    scene = Scene((SceneMesh("depth", mesh), cameras), up_of_cameras(world_from_cam), eye, unit=unit)
    return draw(scene, "depth-in-space", _HEIGHT)


def points_of(one: DepthMap, least_confidence: float = 0.0, most: int | None = None) -> tuple[Floats, Colors]:
    """Points of a map in the world and their colours, (n, 3) each.

    Args:
        one: the map.
        least_confidence: of the points.
        most: of more, so many are picked evenly; None: all.
    """
    rows, columns = np.nonzero((one.depth > 0.0) & (one.confidence >= least_confidence))
    if most is not None and len(rows) > most:
        picked = np.linspace(0, len(rows) - 1, most).astype(np.intp)
        rows, columns = rows[picked], columns[picked]
    rays = one.camera.unproject(np.stack([columns, rows], axis=1).astype(np.float64))
    seen = rays / rays[:, 2:] * one.depth[rows, columns, None]
    world_from_cam = inverse_rigid(one.cam_from_world)
    points = seen @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    return points.astype(np.float32), one.color[rows, columns]
