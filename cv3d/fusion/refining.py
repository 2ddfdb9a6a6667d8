"""A frame's pose fitted to the model: point to plane and brightness, against the view that the model has there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.grid import VoxelGrid
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid

Floats = NDArray[np.float64]

_ROUNDS = 15
_LEAST_POINTS = 300
_STILL = 2e-6
"""Motion, metres and radians, below which the fit stands."""
_LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class RefineOptions:
    """How a pose is fitted to the model."""

    max_shift_m: float = 0.1
    """A pose that would move farther stays as it was: the fit slid along a wall, or there is another mistake."""
    max_turn_deg: float = 5.0
    """Likewise, degrees."""
    width: int = 160
    """About so many points across the picture."""
    color_m: float = 0.05
    """Metres off the surface that weigh as much as a brightness that is off by the whole range."""
    min_condition: float = 1e-4
    """Ratio of the least to the greatest certainty below which the model leaves a motion open."""


@dataclass(frozen=True, eq=False)
class _Model:
    """The view of the model from where the frame was thought to be."""

    points: Floats
    """(h, w, 3) in the world; NaN where there is nothing."""
    normals: Floats
    """(h, w, 3)."""
    brightness: Floats | None
    """(h, w), 0 to 1; NaN where there is nothing."""
    slopes: Floats | None
    """(h, w, 2) of the brightness along the row and the column, per pixel."""


def refined(frame: DepthFrame, grid: VoxelGrid, options: RefineOptions | None = None) -> DepthFrame:
    """A frame with its pose fitted to the model; as it was where the model does not determine it.

    Projective association, point-to-plane and photometric residuals under Tukey's weights (Newcombe et al.,
    KinectFusion, 2011; Whelan et al., ElasticFusion, 2015), in float64 on the CPU.

    Args:
        frame: with a pose that is a few centimetres off at most.
        grid: the model.
        options: how.
    """
    options = options or RefineOptions()
    ideal = _shrunk(frame.undistorted(), options.width)
    points, brightness = _points(ideal, grid)
    if len(points) < _LEAST_POINTS:
        return frame
    start = inverse_rigid(ideal.cam_from_world)
    found = _fitted(points, brightness, _model(grid, ideal), ideal, start, grid, options)
    if found is None:
        return frame
    change = inverse_rigid(start) @ found
    turn = np.degrees(np.arccos(np.clip(0.5 * (np.trace(change[:3, :3]) - 1.0), -1.0, 1.0)))
    if float(np.linalg.norm(change[:3, 3])) > options.max_shift_m or turn > options.max_turn_deg:
        return frame
    return frame.moved(inverse_rigid(found))


def _shrunk(frame: DepthFrame, width: int) -> DepthFrame:
    """Every n-th pixel of a frame, and the camera that has just these pixels; colours are means around them."""
    step = max(1, frame.camera.width // width)
    if step == 1:
        return frame
    depth = np.ascontiguousarray(frame.depth[::step, ::step])
    fx, fy, cx, cy = frame.camera.params[:4]
    camera = Camera("pinhole", depth.shape[1], depth.shape[0], (fx / step, fy / step, cx / step, cy / step))
    color = None
    if frame.color is not None:
        import cv2

        color = np.array(cv2.blur(frame.color, (step, step))[::step, ::step], np.uint8)
    return DepthFrame(depth, color, camera, frame.cam_from_world)


def _points(frame: DepthFrame, grid: VoxelGrid) -> tuple[Floats, Floats | None]:
    """The measured points in the camera's frame, (n, 3), and their brightness, (n,)."""
    depth = np.nan_to_num(frame.depth, nan=0.0, posinf=0.0)
    rows, columns = np.nonzero((depth > grid.options.min_depth_m) & (depth <= grid.options.max_depth_m))
    fx, fy, cx, cy = frame.camera.params[:4]
    z = depth[rows, columns].astype(np.float64)
    points = np.stack([(columns - cx) / fx * z, (rows - cy) / fy * z, z], axis=1)
    if frame.color is None:
        return points, None
    return points, frame.color[rows, columns] @ _LUMINANCE / 255.0


def _model(grid: VoxelGrid, frame: DepthFrame) -> _Model:
    seen = grid.ray_cast(frame.camera, frame.cam_from_world, 1)
    fx, fy, cx, cy = frame.camera.params[:4]
    rows, columns = np.mgrid[: frame.camera.height, : frame.camera.width]
    z = np.where(seen.depth > 0.0, seen.depth, np.nan).astype(np.float64)
    local = np.stack([(columns - cx) / fx * z, (rows - cy) / fy * z, z], axis=-1)
    world_from_cam = inverse_rigid(frame.cam_from_world)
    points = local @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    if seen.color is None or frame.color is None:
        return _Model(points, seen.normals.astype(np.float64), None, None)
    brightness = np.where(np.isfinite(z), seen.color @ _LUMINANCE / 255.0, np.nan)
    slopes = np.stack([np.gradient(brightness, axis=1), np.gradient(brightness, axis=0)], axis=-1)
    return _Model(points, seen.normals.astype(np.float64), brightness, slopes)


def _fitted(
    points: Floats,
    brightness: Floats | None,
    model: _Model,
    frame: DepthFrame,
    start: Floats,
    grid: VoxelGrid,
    options: RefineOptions,
) -> Floats | None:
    """`world_from_cam` that lays the points onto the model; None where it is not determined."""
    world_from_cam = start.copy()
    fx, fy, cx, cy = frame.camera.params[:4]
    height, width = model.points.shape[:2]
    widest = max(3.0 * grid.truncation_m, 0.5 * options.max_shift_m)
    for step in range(_ROUNDS):
        reach = max(widest * 0.7**step, grid.truncation_m)
        moved = points @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
        local = moved @ frame.cam_from_world[:3, :3].T + frame.cam_from_world[:3, 3]
        ahead = local[:, 2] > 0.0
        depth = np.where(ahead, local[:, 2], 1.0)
        column = np.rint(fx * local[:, 0] / depth + cx).astype(np.int64)
        row = np.rint(fy * local[:, 1] / depth + cy).astype(np.int64)
        inside = ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        at = row[inside], column[inside]
        gap = model.points[at] - moved[inside]
        normal = model.normals[at]
        off = (gap * normal).sum(axis=1)
        used = np.isfinite(off) & (np.abs(off) < reach) & ((gap**2).sum(axis=1) < (2.0 * reach) ** 2)
        if int(used.sum()) < _LEAST_POINTS:
            return None
        arm = moved[inside][used] - world_from_cam[:3, 3]
        weight = (1.0 - (off[used] / reach) ** 2) ** 2
        rows = np.concatenate([np.cross(arm, normal[used]), normal[used]], axis=1)
        matrix, vector = rows.T @ (weight[:, None] * rows), rows.T @ (weight * off[used])
        if brightness is not None and model.brightness is not None and model.slopes is not None:
            lit = brightness[inside][used] - model.brightness[at][used]
            slope = model.slopes[at][used]
            z = local[inside][used, 2:]
            ahead_of = slope * np.array([fx, fy]) / z
            along = (
                np.concatenate([ahead_of, -(ahead_of * local[inside][used, :2]).sum(axis=1, keepdims=True) / z], axis=1)
                @ frame.cam_from_world[:3, :3]
            )
            both = np.isfinite(lit) & np.isfinite(along).all(axis=1) & (np.abs(lit) < 0.2)
            rows = options.color_m * np.concatenate([np.cross(arm, along), along], axis=1)[both]
            weight = weight[both] * (1.0 - (lit[both] / 0.2) ** 2) ** 2
            matrix += rows.T @ (weight[:, None] * rows)
            vector += options.color_m * (rows.T @ (weight * lit[both]))
        values, vectors = np.linalg.eigh(matrix)
        if not values[0] > options.min_condition * values[-1]:
            return None
        update = vectors @ ((vectors.T @ vector) / values)
        world_from_cam = _moved(world_from_cam, update)
        if float(np.abs(update).max()) < _STILL and reach <= grid.truncation_m:
            break
    return world_from_cam


def _moved(world_from_cam: Floats, update: Floats) -> Floats:
    """A pose turned about its own centre and shifted, by a rotation vector and a shift in the world, (6,)."""
    from scipy.spatial.transform import Rotation

    result = world_from_cam.copy()
    turned = Rotation.from_rotvec(update[:3]) * Rotation.from_matrix(world_from_cam[:3, :3])
    result[:3, :3] = turned.as_matrix()
    result[:3, 3] += update[3:]
    return result
