"""Where each pixel of a view comes from in the picture, and which pixels have come from there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import torch_threads
from cv3d.errors import EstimationError
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.views.framing import EDGE_TOLERANCE, Seen
from cv3d.geometry.views.view import View

_BLOCK = 1 << 16
"""Pixels per block: what a block needs stays in a core's cache."""
_OUTSIDE = 64.0
"""Coordinates beyond the picture are kept within this margin of it, pixels: far enough from any interpolation."""
_GRID = 96


@dataclass(frozen=True, eq=False)
class PixelMap:
    """The resampling from a picture to a view."""

    source: NDArray[np.float32]
    """Column and row in the picture of each pixel of the view, (H, W, 2), pixels."""
    valid: NDArray[np.bool_]
    """Whether the camera saw that pixel's direction, (H, W)."""
    source_size: tuple[int, int]
    """Width and height of the picture, pixels."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the view, pixels."""
        height, width = self.valid.shape
        return width, height

    @property
    def valid_share(self) -> float:
        """The share of the view's pixels that the camera saw."""
        return float(self.valid.mean())

    def cropped(self, window: Window) -> PixelMap:
        """The map of a part of the view."""
        rows, columns = window.slices
        return PixelMap(
            np.ascontiguousarray(self.source[rows, columns]),
            np.ascontiguousarray(self.valid[rows, columns]),
            self.source_size,
        )


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels."""

    left: int
    """First column."""
    top: int
    """First row."""
    width: int
    """Pixels across."""
    height: int
    """Pixels down."""

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns, to index an array with."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def even(self) -> Window:
        """Without its last column or row where their number is odd: video at half colour resolution has pairs."""
        return Window(self.left, self.top, self.width & ~1, self.height & ~1)


def pixel_map(camera: Camera, view: View, view_from_cam: NDArray[np.float64] | None = None) -> PixelMap:
    """Where each pixel of a view comes from in the pictures of a camera.

    A direction that the view's projection does not have, that lies outside the lens model's domain (where the formula
    would fold back into the picture) or outside the picture is not valid.

    Args:
        camera: what the pictures were taken with.
        view: what they are to become.
        view_from_cam: rotation, (3, 3); None: the view looks along the camera's axes.

    Returns:
        The map. Pixels that are not valid point outside the picture or to its outermost half pixel.
    """
    rotation = torch.eye(3, dtype=torch.float64) if view_from_cam is None else torch.tensor(view_from_cam)
    params = torch.tensor(camera.params, dtype=torch.float64)
    source = np.empty((view.height, view.width, 2), np.float32)
    valid = np.empty((view.height, view.width), np.bool_)
    last = torch.tensor([camera.width - 1.0, camera.height - 1.0], dtype=torch.float64)
    columns = torch.arange(view.width, dtype=torch.float64)
    rows_per_block = max(1, _BLOCK // view.width)
    with torch_threads(1):
        for top in range(0, view.height, rows_per_block):
            bottom = min(top + rows_per_block, view.height)
            rows = torch.arange(top, bottom, dtype=torch.float64)
            pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).reshape(-1, 2)
            rays, exists = view.unproject(pixels)
            rays = rays @ rotation
            in_domain = exists & camera.lens.valid_points(params, rays)
            found = torch.where(in_domain[:, None], camera.project(rays), -_OUTSIDE)
            inside = in_domain & ((found >= -EDGE_TOLERANCE) & (found <= last + EDGE_TOLERANCE)).all(-1)
            found = torch.minimum(found.clamp(min=-_OUTSIDE), last + _OUTSIDE)
            source[top:bottom] = found.reshape(bottom - top, view.width, 2).numpy()
            valid[top:bottom] = inside.reshape(bottom - top, view.width).numpy()
    return PixelMap(source, valid, (camera.width, camera.height))


def seen_share(camera: Camera, view: View, view_from_cam: NDArray[np.float64] | None = None) -> float:
    """The share of a camera's pixels, of those that its lens model has a direction for, that a view shows."""
    seen = Seen(camera, np.eye(3) if view_from_cam is None else view_from_cam)
    x, y = np.linspace(0.0, camera.width - 1.0, _GRID), np.linspace(0.0, camera.height - 1.0, _GRID)
    pixels = torch.from_numpy(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))
    params = torch.tensor(camera.params, dtype=torch.float64)
    has_ray = camera.lens.valid_pixels(params, pixels)
    shown, exists = view.project(camera.unproject(pixels) @ torch.tensor(seen.view_from_cam).T)
    size = torch.tensor([view.width, view.height], dtype=torch.float64)
    inside = exists & ((shown >= -0.5 - EDGE_TOLERANCE) & (shown <= size - 0.5 + EDGE_TOLERANCE)).all(-1)
    count = int(has_ray.sum())
    return int((inside & has_ray).sum()) / count if count else math.nan


def largest_window(valid: NDArray[np.bool_]) -> Window:
    """The largest axis-aligned rectangle of valid pixels, by area; the topmost of equal ones.

    Row by row: how far each column is valid upwards, and how far to both sides that height holds.

    Args:
        valid: (H, W).

    Raises:
        EstimationError: no pixel is valid.
    """
    if not valid.any():
        raise EstimationError("no pixel of the view is seen by the camera")
    width = valid.shape[1]
    index = np.arange(width)
    heights = np.zeros(width, np.int64)
    lefts, rights = np.zeros(width, np.int64), np.full(width, width)
    best_area, best = 0, Window(0, 0, 0, 0)
    for row, is_valid in enumerate(valid):
        heights = np.where(is_valid, heights + 1, 0)
        run_left = np.maximum.accumulate(np.where(is_valid, 0, index + 1))
        run_right = np.minimum.accumulate(np.where(is_valid, width, index)[::-1])[::-1]
        lefts = np.where(is_valid, np.maximum(lefts, run_left), 0)
        rights = np.where(is_valid, np.minimum(rights, run_right), width)
        areas = heights * (rights - lefts)
        at = int(areas.argmax())
        if areas[at] > best_area:
            best_area = int(areas[at])
            left, height = int(lefts[at]), int(heights[at])
            best = Window(left, row - height + 1, int(rights[at]) - left, height)
    return best
