"""Viewing rays of pixels by table, for any camera: all that the per-frame path needs of the inverse of the lens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.geometry.fused import fused
from cv3d.geometry.pixel_rays import pixels_per_radian

Floats = NDArray[np.float64]

_STRIDE = 2
"""Pixels between the table's entries. Linear interpolation between them errs by stride^2 / (8 f^2) radians, which is a
thousandth of a pixel at f = 500."""


class RayTable:
    """Unit rays of a camera's pixels."""

    def __init__(self, camera: Camera) -> None:
        """Tabulate the inverse of the lens, some 20 ms for VGA.

        Args:
            camera: any central camera.
        """
        self.camera = camera
        self.pixels_per_radian = pixels_per_radian(camera)
        """Of the middle of the picture."""
        xs = np.arange(0, camera.width + _STRIDE, _STRIDE, dtype=np.float64)
        ys = np.arange(0, camera.height + _STRIDE, _STRIDE, dtype=np.float64)
        grid = np.stack(np.meshgrid(xs, ys), axis=-1)
        self._table = np.ascontiguousarray(camera.unproject(grid))

    def rays(self, pixels: NDArray[np.floating]) -> Floats:
        """Unit rays (n, 3) of pixels (n, 2); NaN beyond the lens's domain or outside the picture."""
        out = np.empty((len(pixels), 3))
        _look_up(self._table, np.ascontiguousarray(pixels, np.float64), out)
        return out

    def tangents(self, pixels: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Unit rays (n, 3), and by what a change of the direction moves the pixel, (n, 2, 3), pixels per radian."""
        at = np.ascontiguousarray(pixels, np.float64)
        rays, moves = np.empty((len(at), 3)), np.empty((len(at), 2, 3))
        _look_up_tangents(self._table, at, rays, moves)
        return rays, moves


@fused
def _look_up_tangents(table: Floats, pixels: Floats, rays: Floats, moves: Floats) -> None:
    """Where the table ends, the ray and all that goes with it is NaN."""
    rows, columns = table.shape[0], table.shape[1]
    _look_up(table, pixels, rays)
    right, down = np.empty(3), np.empty(3)
    for i in range(len(pixels)):
        if not np.isfinite(rays[i, 0]):
            moves[i, :, :] = np.nan
            continue
        ix = min(max(int(pixels[i, 0] / _STRIDE), 0), columns - 2)
        iy = min(max(int(pixels[i, 1] / _STRIDE), 0), rows - 2)
        xx, xy, yy = 0.0, 0.0, 0.0
        for k in range(3):
            right[k] = (table[iy, ix + 1, k] - table[iy, ix, k]) / _STRIDE
            down[k] = (table[iy + 1, ix, k] - table[iy, ix, k]) / _STRIDE
        # A chord between two unit rays is not quite across the ray.
        out_right, out_down = 0.0, 0.0
        for k in range(3):
            out_right += right[k] * rays[i, k]
            out_down += down[k] * rays[i, k]
        for k in range(3):
            right[k] -= out_right * rays[i, k]
            down[k] -= out_down * rays[i, k]
            xx += right[k] * right[k]
            xy += right[k] * down[k]
            yy += down[k] * down[k]
        det = xx * yy - xy * xy
        for k in range(3):
            moves[i, 0, k] = (yy * right[k] - xy * down[k]) / det
            moves[i, 1, k] = (xx * down[k] - xy * right[k]) / det


@fused
def _look_up(table: Floats, pixels: Floats, out: Floats) -> None:
    rows, columns = table.shape[0], table.shape[1]
    for i in range(len(pixels)):
        x, y = pixels[i, 0] / _STRIDE, pixels[i, 1] / _STRIDE
        if not (x >= -0.5 and y >= -0.5 and x < columns - 1 and y < rows - 1):
            out[i, :] = np.nan
            continue
        ix, iy = max(int(x), 0), max(int(y), 0)
        wx, wy = x - ix, y - iy
        total = 0.0
        for k in range(3):
            top = table[iy, ix, k] * (1.0 - wx) + table[iy, ix + 1, k] * wx
            low = table[iy + 1, ix, k] * (1.0 - wx) + table[iy + 1, ix + 1, k] * wx
            out[i, k] = top * (1.0 - wy) + low * wy
            total += out[i, k] ** 2
        length = np.sqrt(total)
        for k in range(3):
            out[i, k] /= length
