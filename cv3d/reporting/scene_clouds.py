"""Points and cameras of a scene's model as meshes: for files, and for the page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.mapping.scene import SceneModel
from cv3d.reporting.scenes.pyramids import pyramid

Floats = NDArray[np.float64]

_ORANGE = (217, 72, 15)
_SIDES = np.array([[0, 2, 1], [0, 3, 2], [0, 4, 3], [0, 1, 4]])
"""Triangles of a pyramid: its apex is 0, its base goes round from 1 to 4; seen from outside, counter-clockwise."""
_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]])
_OF_SPACING, _LEAST, _MOST = 0.4, 0.004, 0.05
"""Depth of a pyramid: a share of the distance to the next camera, within shares of the scene's size."""


def world_from_cams(model: SceneModel) -> Floats:
    """Where the pictures were taken, (n, 4, 4)."""
    poses = [image.cam_from_world for image in model.images]
    return inverse_rigid(np.stack(poses)) if poses else np.zeros((0, 4, 4))


def cloud(model: SceneModel) -> Mesh:
    """The points with their colours."""
    return Mesh(model.points.astype(np.float32), np.zeros((0, 3), np.int32), None, model.colors)


def camera_pyramids(model: SceneModel) -> tuple[Mesh, NDArray[np.int32]]:
    """A pyramid for every picture, its apex where the picture was taken: its sides, and its edges (k, 2)."""
    depth = pyramid_depth(model)
    corners = []
    for image, world_from_cam in zip(model.images, world_from_cams(model), strict=True):
        own = np.concatenate([np.zeros((1, 3)), pyramid(model.cameras[image.camera].camera, depth)])
        corners.append(own @ world_from_cam[:3, :3].T + world_from_cam[:3, 3])
    vertices = np.concatenate([np.zeros((0, 3)), *corners]).astype(np.float32)
    first = 5 * np.arange(len(model.images))[:, None, None]
    colors = np.tile(np.array(_ORANGE, np.uint8), (len(vertices), 1))
    mesh = Mesh(vertices, (first + _SIDES).reshape(-1, 3).astype(np.int32), None, colors)
    return mesh, (first + _EDGES).reshape(-1, 2).astype(np.int32)


def pyramid_depth(model: SceneModel) -> float:
    """How deep pyramids are that neither vanish in the scene nor cover each other."""
    from scipy.spatial import cKDTree

    centres = world_from_cams(model)[:, :3, 3]
    low, high = core_bounds(model)
    size = float(np.linalg.norm(high - low))
    if model.is_oriented_only or size == 0.0:
        return 1.0
    spacing = float(np.median(cKDTree(centres).query(centres, 2)[0][:, 1])) if len(centres) > 1 else size
    return float(np.clip(_OF_SPACING * spacing, _LEAST * size, _MOST * size))


def core_bounds(model: SceneModel) -> tuple[Floats, Floats]:
    """Least and greatest coordinates, (3,) each, of the cameras and of all points but those far outside the others."""
    centres = world_from_cams(model)[:, :3, 3]
    points = model.points[np.isfinite(model.points).all(axis=1)]
    if not len(points):
        points = centres if len(centres) else np.zeros((1, 3))
    low, high = np.quantile(points, 0.05, axis=0), np.quantile(points, 0.95, axis=0)
    low, high = low - 0.25 * (high - low), high + 0.25 * (high - low)
    inside = np.concatenate([points[((points >= low) & (points <= high)).all(axis=1)], centres])
    if not len(inside):
        return low, high
    return inside.min(axis=0), inside.max(axis=0)
