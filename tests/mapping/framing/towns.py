"""Simulated scenes of which everything is known: houses that are drawn, and models of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.geometry.cameras.camera import Camera
from cv3d.mapping.scene import IntrinsicsSource, SceneCamera, SceneImage, SceneModel
from cv3d.media.picture import Picture

Floats = NDArray[np.float64]
CAMERA = Camera("brown5", 640, 480, (520.0, 520.0, 322.0, 238.0, -0.05, 0.01, 0.0, 0.0, 0.0))
FACES = ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5))


def rotation(axis: Floats | list[float], angle: float) -> Floats:
    unit = np.asarray(axis, float) / np.linalg.norm(axis)
    return np.asarray(cv2.Rodrigues(unit * angle)[0])


def looking(centre: Floats, at: Floats, roll: float = 0.0) -> Floats:
    """cam_from_world of a camera in a world whose z is up, (4, 4)."""
    forward = (at - centre) / np.linalg.norm(at - centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = rotation([0, 0, 1], roll) @ np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose


def circle(count: int, radius: float = 9.0, *, seed: int = 0, height: float = 1.6) -> list[Floats]:
    """Cameras around the origin, held by hand."""
    rng = np.random.default_rng(seed)
    poses = []
    for turn in np.linspace(0.0, 1.6 * np.pi, count):
        centre = np.array([radius * np.cos(turn), radius * np.sin(turn), height]) + rng.normal(0.0, 0.3, 3)
        poses.append(looking(centre, np.array([0.0, 0.0, 1.5]) + rng.normal(0.0, 0.6, 3), rng.normal(0.0, 0.07)))
    return poses


def boxes(count: int = 14, seed: int = 0, *, tilted: bool = False) -> list[Floats]:
    """Corners of houses, (8, 3) each; tilted ones stand in every direction."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        size = rng.uniform(0.4, 1.4, 3) * (1.0, 1.0, 1.8)
        corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)]) * size
        turned = corners @ rotation([0, 0, 1], rng.uniform(0.0, np.pi)).T
        if tilted:
            turned = corners @ rotation(rng.normal(size=3), rng.uniform(0.5, 2.6)).T
        made.append(turned + np.array([*rng.uniform(-3.0, 3.0, 2), 0.0]))
    return made


def drawn(pose: Floats, houses: list[Floats], seed: int = 0) -> NDArray[np.uint8]:
    """The picture that the camera takes, the farther faces first."""
    rng = np.random.default_rng(seed)
    image = np.full((CAMERA.height, CAMERA.width), 200, np.uint8)
    faces = [(house[list(face)], int(rng.integers(20, 180))) for house in houses for face in FACES]
    seen = [(corners @ pose[:3, :3].T + pose[:3, 3], level) for corners, level in faces]
    for corners, level in sorted(seen, key=lambda face: -float(face[0][:, 2].mean())):
        if corners[:, 2].min() < 0.5:
            continue
        # Straight edges bend in the lens: each is drawn in parts.
        parts = np.concatenate([np.linspace(corners[i], corners[(i + 1) % 4], 12)[:-1] for i in range(4)])
        outline = np.rint(CAMERA.project(parts) * 16.0).astype(np.int32)
        cv2.fillPoly(image, [outline], level, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), np.uint8)


def held(name: str, gray: NDArray[np.uint8] | None = None, source: Path | None = None) -> Picture:
    """A picture in memory."""
    content = None if gray is None else cv2.imencode(".png", gray)[1].tobytes()
    return Picture(name, source or Path(name), held_gray=content)


def model_of(
    poses: list[Floats], pictures: list[Picture] | None = None, points: Floats | None = None, covariance: bool = False
) -> SceneModel:
    """A model in which every picture sees all points."""
    points = np.random.default_rng(1).uniform(-2.0, 2.0, (60, 3)) if points is None else points
    pictures = [held(f"{i:03d}.jpg") for i in range(len(poses))] if pictures is None else pictures
    spread = np.diag([1e-4, 2e-4, 3e-4, 1e-6, 2e-6, 3e-6]) if covariance else None
    images = tuple(
        SceneImage(
            picture,
            0,
            pose,
            spread,
            CAMERA.project(points @ pose[:3, :3].T + pose[:3, 3]),
            np.arange(len(points)),
            0.0,
        )
        for picture, pose in zip(pictures, poses, strict=True)
    )
    colors = np.zeros((len(points), 3), np.uint8)
    return SceneModel(
        (SceneCamera(CAMERA, IntrinsicsSource.GIVEN, (), (0.0,) * 9),), images, points, colors, np.zeros(len(points))
    )


def elsewhere(poses: list[Floats], scale: float = 0.37, seed: int = 3) -> tuple[list[Floats], Floats, Floats]:
    """The poses in a world of another unit, place and rotation: poses, rotation and shift of new_from_old."""
    rng = np.random.default_rng(seed)
    turn, shift = rotation(rng.normal(size=3), 1.9), rng.normal(size=3)
    moved = []
    for pose in poses:
        new = np.eye(4)
        new[:3, :3] = pose[:3, :3] @ turn.T
        new[:3, 3] = scale * pose[:3, 3] - new[:3, :3] @ shift
        moved.append(new)
    return moved, turn, shift
