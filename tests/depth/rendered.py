"""A small rendered scene with exact depth: a slanted wall and a board in front of it, both textured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.depth.posed import PosedSet, PosedView
from cv3d.geometry.cameras.camera import Camera
from cv3d.media.picture import Picture

Floats = NDArray[np.float64]

WIDTH, HEIGHT, FOCAL = 200, 150, 190.0
CAMERA = Camera("pinhole", WIDTH, HEIGHT, (FOCAL, FOCAL, 0.5 * WIDTH - 0.5, 0.5 * HEIGHT - 0.5))
_OVER = 3
"""Rays along a pixel's side."""
_WALL = (np.array([0.35, -0.2, -1.0]), -3.0)
"""Normal n and n . x of the wall's points: some 3 from the cameras, slanted."""
_BOARD = 1.9
"""Depth of the board."""
_BOARD_HALF = (0.35, 0.3)


@dataclass(frozen=True, eq=False)
class Rendered:
    """Pictures, and what is true of them."""

    posed: PosedSet
    depths: tuple[NDArray[np.float32], ...]
    """(h, w) of each view."""


def texture(x: Floats, y: Floats, seed: int) -> NDArray[np.float32]:
    """Grey values 0 to 1 that vary at every scale, smoothly."""
    rng = np.random.default_rng(seed)
    x, y = x.astype(np.float32), y.astype(np.float32)
    value = np.zeros(x.shape, np.float32)
    for octave in range(1, 6):
        for _ in range(6):
            across, along, phase = *rng.normal(0.0, 2.2**octave, 2), rng.uniform(0.0, 6.28)
            wave = np.sin(np.float32(across) * x + np.float32(along) * y + np.float32(phase))
            value += wave / np.float32(6.0 * octave)
    shade: NDArray[np.float32] = np.float32(0.5) + np.float32(0.32) * value
    return shade.clip(0.0, 1.0)


def render(cam_from_world: Floats, *, has_board: bool = True) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A picture, RGB (h, w, 3), and its depth."""
    world_from_cam = np.linalg.inv(cam_from_world)
    u = (np.arange(WIDTH * _OVER) + 0.5) / _OVER - 0.5
    v = (np.arange(HEIGHT * _OVER) + 0.5) / _OVER - 0.5
    grid = np.stack(
        np.broadcast_arrays((u - 0.5 * WIDTH + 0.5)[None] / FOCAL, (v - 0.5 * HEIGHT + 0.5)[:, None] / FOCAL), 2
    )
    rays = np.concatenate([grid, np.ones((*grid.shape[:2], 1))], axis=2) @ world_from_cam[:3, :3].T
    centre = world_from_cam[:3, 3]
    normal, distance = _WALL
    depth = (distance - normal @ centre) / (rays @ normal)
    at = centre + depth[..., None] * rays
    shade = texture(at[..., 0], at[..., 1], 1)
    if has_board:
        near = (_BOARD - centre[2]) / rays[..., 2]
        there = centre + near[..., None] * rays
        hit = (np.abs(there[..., 0]) < _BOARD_HALF[0]) & (np.abs(there[..., 1]) < _BOARD_HALF[1]) & (near < depth)
        shade[hit] = texture(there[hit][:, 0], there[hit][:, 1], 2)
        depth = np.where(hit, near, depth)
    gray = cv2.resize(np.rint(255.0 * shade).astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    middle = _OVER // 2
    return np.repeat(gray[..., None], 3, axis=2), depth[middle::_OVER, middle::_OVER].astype(np.float32)


def pose(x: float, y: float, turn: float = 0.0) -> Floats:
    """A camera at (x, y, 0), turned by some radians about its y axis."""
    cosine, sine = np.cos(turn), np.sin(turn)
    rotation = np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]])
    cam_from_world = np.eye(4)
    cam_from_world[:3, :3] = rotation
    cam_from_world[:3, 3] = -rotation @ np.array([x, y, 0.0])
    return cam_from_world


POSES = tuple(pose(0.22 * i, 0.06 * (-1) ** i, -0.05 * i) for i in (-2, -1, 0, 1, 2))


def rendered(folder: Path, poses: tuple[Floats, ...] = POSES, *, has_board: bool = True) -> Rendered:
    """The scene from some places, with a few of its points."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [render(one, has_board=has_board) for one in poses]
    rng = np.random.default_rng(0)
    points = []
    for cam_from_world, (_, depth) in zip(poses, pictures, strict=True):
        u, v = rng.integers(8, WIDTH - 8, 40), rng.integers(8, HEIGHT - 8, 40)
        z = depth[v, u].astype(np.float64)
        seen = np.stack([(u - CAMERA.params[2]) / FOCAL * z, (v - CAMERA.params[3]) / FOCAL * z, z], 1)
        points.append((seen - cam_from_world[:3, 3]) @ cam_from_world[:3, :3])
    world = np.concatenate(points)
    views = []
    for number, (cam_from_world, (color, depth)) in enumerate(zip(poses, pictures, strict=True)):
        file = folder / f"{number}.png"
        assert cv2.imwrite(str(file), color)
        there = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        pixel = np.rint(CAMERA.project(there)).astype(int)
        inside = (pixel >= 0).all(axis=1) & (pixel[:, 0] < WIDTH) & (pixel[:, 1] < HEIGHT)
        shown = depth[pixel[:, 1] * inside, pixel[:, 0] * inside]
        visible = np.flatnonzero(inside & (np.abs(shown - there[:, 2]) < 0.02 * there[:, 2]))
        views.append(PosedView(Picture(file.name, file), CAMERA, cam_from_world, visible))
    return Rendered(PosedSet(tuple(views), world, is_metric=True), tuple(depth for _, depth in pictures))
