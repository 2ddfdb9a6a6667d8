"""Pictures laid over a surface: each triangle has a place of its own in one picture, filled from the best views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.fused_engine import Workers
from cv3d.fusion.texture_kernel import MARGIN, fill_cells
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

    A place takes the colours of the views that see it nearly as well as the best one: near, head on, and not at the
    picture's border. Weights are those of the vertices, interpolated, so that no seams arise where the best view
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
    scores = np.zeros((len(ideal), len(mesh.vertices)), np.float32)
    for i, view in enumerate(ideal):
        scores[i] = _scores(mesh, view, tolerance_m)
        progress.advance(_STAGE)
    best = scores.max(axis=0, initial=0.0)
    weights = np.maximum(scores / np.where(best > 0.0, best, 1.0) - _ABOUT_BEST, 0.0) ** 2
    across = int(np.ceil(np.sqrt(0.5 * len(mesh.triangles))))
    down = -(-len(mesh.triangles) // (2 * across))
    cell = int(np.clip(options.max_side // across, MARGIN + 1, _finest(mesh, ideal)))
    picture = np.full((down * cell, across * cell, 3), _GREY, np.uint8)
    colors = np.full((len(mesh.vertices), 3), _GREY, np.uint8) if mesh.colors is None else mesh.colors
    shown = (
        np.ascontiguousarray(weights.T),
        np.stack([view.color for view in ideal if view.color is not None]),
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


def _scores(mesh: Mesh, view: DepthFrame, tolerance_m: float) -> Floats:
    """How well a view sees each vertex, (n,); 0 for those that it does not see."""
    camera = view.camera
    local = mesh.vertices @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    z = local[:, 2]
    fx, fy, cx, cy = camera.params[:4]
    safe = np.where(z > 0.0, z, 1.0)
    u, v = fx * local[:, 0] / safe + cx, fy * local[:, 1] / safe + cy
    column, row = np.rint(np.stack([u, v]).clip(-1, 1 << 20)).astype(np.int64)
    inside = (z > 0.0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    seen = render(mesh, camera, view.cam_from_world).depth
    shown = np.where(inside, seen[np.where(inside, row, 0), np.where(inside, column, 0)], 0.0)
    cosine = np.ones(len(z))
    if mesh.normals is not None:
        normals = mesh.normals @ view.cam_from_world[:3, :3].T
        cosine = -(normals * local).sum(axis=1) / np.maximum(np.linalg.norm(local, axis=1), 1e-9)
    visible = inside & (shown > 0.0) & (z <= shown + tolerance_m) & (cosine > _LEAST_COSINE)
    border = np.minimum(np.minimum(u, camera.width - 1 - u), np.minimum(v, camera.height - 1 - v))
    fade = np.clip(border / (_FADE * camera.width), 0.0, 1.0)
    scores: Floats = np.where(visible, cosine * fade / safe**2, 0.0).astype(np.float32)
    return scores


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
