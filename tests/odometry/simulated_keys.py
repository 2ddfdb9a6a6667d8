"""Key frames of a simulated camera that moves through a cloud of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras import Camera
from cv3d.odometry.keys import Key, inverse
from cv3d.odometry.points import MAPPED, PointTable

Floats = NDArray[np.float64]


def camera_of(focal: float, k1: float = 0.0) -> Camera:
    """640x480, the principal point in the middle."""
    if k1 == 0.0:
        return Camera("pinhole", 640, 480, (focal, focal, 319.5, 239.5))
    return Camera("brown4", 640, 480, (focal, focal, 319.5, 239.5, k1, 0.0, 0.0, 0.0))


def looking(centre: Floats, at: Floats) -> Floats:
    """world_from_cam of a camera in one place that looks at another, its x axis level."""
    z = (at - centre) / np.linalg.norm(at - centre)
    x = np.cross(np.array([0.0, 1.0, 0.0]), z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = centre
    return pose


def around(count: int = 10) -> list[Floats]:
    """Places on an arc about a scene four metres away."""
    angles = np.linspace(-0.35, 0.35, count)
    middle = np.array([0.0, 0.0, 4.0])
    return [looking(np.array([4.0 * np.sin(a), 0.8 * np.sin(5.0 * a), 4.0 - 4.0 * np.cos(a)]), middle) for a in angles]


def ahead(count: int = 10) -> list[Floats]:
    """Places on a straight line along the optical axis."""
    poses = [np.eye(4) for _ in range(count)]
    for i, pose in enumerate(poses):
        pose[2, 3] = 0.1 * i
    return poses


def key_frames(
    camera: Camera, world_from_cam: list[Floats], *, noise: float = 0.3, points: int = 300, seed: int = 1
) -> tuple[list[Key], PointTable]:
    """What a camera sees of points between two and six metres, with noise of so many pixels."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform((-2.0, -1.5, 2.5), (2.0, 1.5, 6.0), (points, 3))
    table = PointTable()
    rows = table.take(points)
    table.kind[rows] = MAPPED
    table.xyz[rows] = xyz + rng.normal(0.0, 0.02, xyz.shape)
    keys = []
    for number, pose in enumerate(world_from_cam):
        cam_from_world = inverse(pose)
        local = xyz @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        pixels = camera.project(local) + rng.normal(0.0, noise, (points, 2))
        seen = (local[:, 2] > 0.1) & (pixels >= 0.0).all(axis=1) & (pixels < (camera.width, camera.height)).all(axis=1)
        count = int(seen.sum())
        keys.append(
            Key(
                number=number,
                frame=10 * number,
                time=0.3 * number,
                name=str(number),
                segment=0,
                cam_from_world=cam_from_world,
                rows=rows[seen],
                pixels=pixels[seen].astype(np.float32),
                covariance=np.tile(np.array([noise**2, 0.0, noise**2], np.float32), (count, 1)),
                depth=np.zeros(count),
                depth_sigma=np.ones(count),
            )
        )
    return keys, table
