"""Depth pictures of bodies whose surface is known exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.fusion import DepthFrame
from cv3d.geometry.cameras import Camera

CAMERA = Camera("pinhole", 160, 120, (140.0, 141.0, 79.3, 60.1))
RADIUS = 0.4
COLOR = (200, 90, 30)


def looking_at(centre: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """cam_from_world of a camera at `centre` that looks at `target`."""
    forward = (target - centre) / np.linalg.norm(target - centre)
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotation, -rotation @ centre
    return result


def rays(camera: Camera) -> NDArray[np.float64]:
    v, u = np.mgrid[: camera.height, : camera.width]
    found = camera.unproject(np.stack([u, v], -1).astype(np.float64))
    return found / found[..., 2:]


def sphere_depth(
    cam_from_world: NDArray[np.float64], centre: NDArray[np.float64], radius: float = RADIUS, camera: Camera = CAMERA
) -> NDArray[np.float32]:
    """0 beside the sphere."""
    way = rays(camera)
    middle = cam_from_world[:3, :3] @ centre + cam_from_world[:3, 3]
    a, b = (way * way).sum(-1), way @ middle
    square = b * b - a * (middle @ middle - radius * radius)
    depth = (b - np.sqrt(np.maximum(square, 0.0))) / a
    return np.where((square > 0) & (depth > 0), depth, 0.0).astype(np.float32)


def plane_depth(
    cam_from_world: NDArray[np.float64], normal: NDArray[np.float64], offset: float, camera: Camera = CAMERA
) -> NDArray[np.float32]:
    """Of the points with normal · x = offset."""
    n = cam_from_world[:3, :3] @ normal
    distance = offset + n @ cam_from_world[:3, 3]
    slope = rays(camera) @ n
    depth = distance / np.where(np.abs(slope) > 1e-6, slope, 1e-6)
    return np.where((depth > 0) & (depth < 20.0), depth, 0.0).astype(np.float32)


def frame_of(depth: NDArray[np.float32], cam_from_world: NDArray[np.float64], camera: Camera = CAMERA) -> DepthFrame:
    color = np.empty((*depth.shape, 3), np.uint8)
    color[:] = COLOR
    return DepthFrame(depth, color, camera, cam_from_world)


def around_sphere(count: int = 14, centre: tuple[float, float, float] = (0.3, -0.2, 0.1)) -> list[DepthFrame]:
    """From all sides (a Fibonacci sphere of cameras)."""
    middle = np.array(centre)
    frames = []
    for i in range(count):
        z = 1.0 - (2.0 * i + 1.0) / count
        angle = i * np.pi * (3.0 - np.sqrt(5.0))
        side = np.sqrt(1.0 - z * z)
        pose = looking_at(middle + 1.3 * np.array([side * np.cos(angle), side * np.sin(angle), z]), middle)
        frames.append(frame_of(sphere_depth(pose, middle), pose))
    return frames


def noisy_wall(count: int = 6, seed: int = 0) -> list[DepthFrame]:
    """A wall with noise and holes, past which the camera moves."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(count):
        centre = np.array([0.15 * i, 0.05 * i, 0.0])
        pose = looking_at(centre, centre + np.array([0.1, 0.2, 1.5]))
        depth = plane_depth(pose, np.array([0.1, 0.0, 1.0]), 1.5)
        depth += rng.normal(0.0, 0.004, depth.shape).astype(np.float32) * (depth > 0)
        depth[rng.random(depth.shape) < 0.03] = 0.0
        frame = frame_of(depth, pose)
        frame.color[:] = rng.integers(0, 255, frame.color.shape)
        frames.append(frame)
    return frames
