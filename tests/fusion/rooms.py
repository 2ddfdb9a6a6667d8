"""A small recording of a box-shaped corner, with exact depth, for tests of fusion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.rasterizing import render

CAMERA = Camera("pinhole", 96, 72, (80.0, 80.0, 47.5, 35.5))


def corner() -> Mesh:
    """Three walls that meet at the origin, 2 m each, with a box of 0.5 m before them; z forward, y down."""

    def quad(origin: tuple[float, ...], u: tuple[float, ...], v: tuple[float, ...]) -> np.ndarray:
        o, a, b = np.array(origin), np.array(u), np.array(v)
        return np.array([o, o + a, o + a + b, o + b])

    faces = [
        quad((-1, -1, 2), (2, 0, 0), (0, 2, 0)),
        quad((-1, -1, 2), (0, 2, 0), (0, 0, -2)),
        quad((-1, 1, 2), (2, 0, 0), (0, 0, -2)),
        quad((-0.1, 0.5, 1.3), (0.5, 0, 0), (0, 0.5, 0)),
        quad((-0.1, 0.5, 1.3), (0, 0.5, 0), (0, 0, 0.5)),
        quad((0.4, 0.5, 1.3), (0, 0, 0.5), (0, 0.5, 0)),
        quad((-0.1, 0.5, 1.3), (0, 0, 0.5), (0.5, 0, 0)),
    ]
    vertices = np.concatenate(faces).astype(np.float32)
    first = 4 * np.arange(len(faces))[:, None]
    triangles = np.concatenate([first + np.array([0, 1, 2]), first + np.array([0, 2, 3])]).astype(np.int32)
    return Mesh(vertices, triangles)


def poses(count: int) -> np.ndarray:
    """(n, 4, 4) world_from_cam along a small arc before the corner."""
    result = np.tile(np.eye(4), (count, 1, 1))
    for i, share in enumerate(np.linspace(-1.0, 1.0, count)):
        result[i, :3, :3] = Rotation.from_euler("yx", (-12.0 * share, 4.0 * share), degrees=True).as_matrix()
        result[i, :3, 3] = (0.35 * share, -0.1 * abs(share), -0.1)
    return result


def pictures(world_from_cam: np.ndarray, camera: Camera = CAMERA) -> tuple[np.ndarray, np.ndarray]:
    """Depth (h, w), metres, and colour (h, w, 3) that varies over the surface."""
    seen = render(corner(), camera, inverse_rigid(world_from_cam))
    rows, columns = np.mgrid[: camera.height, : camera.width]
    rays = camera.unproject(np.stack([columns, rows], -1).astype(np.float64))
    points = rays / rays[..., 2:] * seen.depth[..., None] @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    waves = 0.5 + 0.25 * np.sin(9.0 * points) + 0.25 * np.sin(23.0 * points[..., [1, 2, 0]])
    color = np.round(255.0 * np.clip(waves, 0, 1)).astype(np.uint8)
    color[seen.depth == 0.0] = 0
    return seen.depth, color


def write_recording(folder: Path, world_from_cam: np.ndarray, *, with_poses: bool = True) -> Path:
    """A recording in 7-Scenes' layout, depth in millimetres."""
    folder.mkdir(parents=True)
    np.savetxt(folder / "camera-intrinsics.txt", CAMERA.matrix)
    for i, pose in enumerate(world_from_cam):
        depth, color = pictures(pose)
        Image.fromarray(color).save(folder / f"frame-{i:06d}.color.png")
        Image.fromarray(np.round(1000.0 * depth).astype(np.uint16)).save(folder / f"frame-{i:06d}.depth.png")
        if with_poses:
            np.savetxt(folder / f"frame-{i:06d}.pose.txt", pose)
    return folder
