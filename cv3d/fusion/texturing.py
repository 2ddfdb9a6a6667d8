"""Pictures laid over a surface: each triangle has a place of its own in one picture, filled from the best views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.fused_engine import Workers
from cv3d.fusion.texture_kernel import MARGIN, fill_cells, score_vertices, weigh_views
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.rasterizing import render
from cv3d.geometry.texture import Texture
from cv3d.progress import SILENT, Progress

Floats = NDArray[np.float32]

_STAGE = "texture"
_LEAST_COSINE = 0.15
_ABOUT_BEST = 0.6
"""Views that see a place less than so well as its best one do not colour it."""
_FADE = 0.08
"""Share of the picture's width over which its border fades."""
_GREY = 128
_STEP = 4096
"""Triangles that a thread takes at a time."""


@dataclass(frozen=True)
class TextureOptions:
    """How large and how fine the picture is."""

    max_side: int = 8192
    """Of the picture, pixels."""
    max_views: int = 64
    """Pictures that are laid over the surface."""


class ViewKeeper:
    """Keeps some of the frames that go by: those that see something new, and not too many."""

    def __init__(self, options: TextureOptions | None = None) -> None:
        self.options = options or TextureOptions()
        self.views: list[DepthFrame] = []
        self._least = 0.05

    def offer(self, frame: DepthFrame) -> None:
        """Keep a frame if its view is far enough from the last one kept."""
        if frame.color is None:
            return
        if self.views and _difference(self.views[-1], frame) < self._least:
            return
        self.views.append(frame)
        if len(self.views) > self.options.max_views:
            self.views = self.views[::2]
            self._least *= 2.0


def bake(
    mesh: Mesh,
    views: Sequence[DepthFrame],
    tolerance_m: float,
    options: TextureOptions | None = None,
    progress: Progress = SILENT,
) -> Texture:
    """Lay pictures over a mesh.

    A place takes the colours of the few views that see it nearly as well as the best one: near, head on, and not at
    the picture's border. Weights are those of the vertices, interpolated, so that no seams arise where the best view
    changes. What no view sees has the vertices' colours.

    Args:
        mesh: with normals; its colours are for what no view sees.
        views: frames with colours.
        tolerance_m: how far behind the surface that a view shows a vertex may lie and still be seen, metres.
        options: how large the picture may be.
        progress: told how far it is.
    """
    options = options or TextureOptions()
    progress.start(_STAGE, len(views) + 1)
    ideal = [view.undistorted() for view in views]
    weights = _weights(mesh, ideal, tolerance_m, progress)
    across = int(np.ceil(np.sqrt(0.5 * len(mesh.triangles))))
    down = -(-len(mesh.triangles) // (2 * across))
    cell = int(np.clip(options.max_side // across, MARGIN + 1, _finest(mesh, ideal)))
    picture = np.full((down * cell, across * cell, 3), _GREY, np.uint8)
    colors = np.full((len(mesh.vertices), 3), _GREY, np.uint8) if mesh.colors is None else mesh.colors
    shown = (
        weights,
        _of_one_size([view.color for view in ideal if view.color is not None]),
        np.stack([view.cam_from_world[:3] for view in ideal]).astype(np.float32),
        np.array([view.camera.params[:4] for view in ideal], np.float32),
    )
    # Each triangle has pixels of its own, so threads do not meet.
    Workers(None).over(
        len(mesh.triangles),
        _STEP,
        lambda first, end: fill_cells(first, end, picture, cell, across, mesh.vertices, mesh.triangles, colors, *shown),
    )
    progress.finish(_STAGE)
    return Texture(picture, _corners(len(mesh.triangles), cell, across, picture.shape))


def _difference(first: DepthFrame, second: DepthFrame) -> float:
    """How different two views are: the way between them in metres and the turn in radians, together."""
    motion = second.cam_from_world @ inverse_rigid(first.cam_from_world)
    cosine = np.clip(0.5 * (np.trace(motion[:3, :3]) - 1.0), -1.0, 1.0)
    return float(np.linalg.norm(motion[:3, 3])) + float(np.arccos(cosine))


def _weights(mesh: Mesh, views: Sequence[DepthFrame], tolerance_m: float, progress: Progress) -> Floats:
    """How much each pinhole view colours each vertex, (n, k)."""
    workers = Workers(None)
    vertices = np.ascontiguousarray(mesh.vertices, np.float32)
    normals = np.zeros((0, 3), np.float32) if mesh.normals is None else np.ascontiguousarray(mesh.normals, np.float32)
    scores = np.zeros((len(views), len(vertices)), np.float32)

    def score(k: int) -> None:
        camera, pose = views[k].camera, views[k].cam_from_world
        shown = render(mesh, camera, pose).depth
        motion, affine = pose[:3].astype(np.float32), np.array(camera.params[:4], np.float32)
        limits = np.array([tolerance_m, _LEAST_COSINE, _FADE * camera.width], np.float32)
        score_vertices(vertices, normals, motion, affine, shown, limits, scores[k])
        progress.advance(_STAGE)

    workers.map(score, range(len(views)))
    weights = np.empty((len(vertices), len(views)), np.float32)
    workers.over(len(vertices), _STEP, lambda first, end: weigh_views(first, end, scores, _ABOUT_BEST, weights))
    return weights


def _of_one_size(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The pictures (k, h, w, 3); smaller ones go on as their last row and column do, where nothing lies."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    return np.stack(
        [np.pad(one, ((0, height - one.shape[0]), (0, width - one.shape[1]), (0, 0)), "edge") for one in pictures]
    )


def _finest(mesh: Mesh, views: Sequence[DepthFrame]) -> int:
    """The cell beyond which the views have nothing more to show, pixels."""
    corners = mesh.vertices[mesh.triangles[:: max(1, len(mesh.triangles) // 20_000)]]
    edge = float(np.median(np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)))
    depth = np.concatenate([view.depth[::8, ::8][view.depth[::8, ::8] > 0.0] for view in views])
    pixel = float(np.quantile(depth, 0.25)) / views[0].camera.params[0]
    return MARGIN + int(np.clip(np.ceil(1.5 * edge / pixel), 2, 64))


def _corners(count: int, cell: int, across: int, shape: tuple[int, ...]) -> Floats:
    """Where the triangles' corners lie in the picture, (m, 3, 2), as shares of it from its upper left corner."""
    last = cell - 1
    first = np.array([(1, 1), (last - 3, 1), (1, last - 3)], np.float64)
    second = np.array([(last - 1, last - 1), (3, last - 1), (last - 1, 3)], np.float64)
    number = np.arange(count)
    place = np.stack([number // 2 % across, number // 2 // across], axis=1) * cell
    within = np.where((number % 2 == 0)[:, None, None], first, second)
    # The middle of a pixel is half a pixel from its corner.
    corners: Floats = ((place[:, None] + within + 0.5) / np.array([shape[1], shape[0]])).astype(np.float32)
    return corners
