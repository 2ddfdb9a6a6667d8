"""Scenes of known geometry for bundle adjustment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.geometry.bundle import BundleProblem, Observations, Views
from cv3d.geometry.cameras import Camera
from cv3d.geometry.transforms import SE3

Floats = NDArray[np.float64]

LENSES = {
    "pinhole": Camera("pinhole", 640, 480, (520.0, 515.0, 322.0, 241.0)),
    "brown4": Camera("brown4", 640, 480, (430.0, 433.0, 318.0, 243.0, -0.28, 0.07, 2e-4, -3e-4)),
    "brown5": Camera("brown5", 640, 480, (430.0, 431.0, 322.0, 238.0, -0.31, 0.12, 1e-3, -8e-4, -0.02)),
    "brown8": Camera("brown8", 640, 480, (400.0, 402.0, 320.0, 239.0, 0.9, 0.25, 2e-4, -3e-4, 0.01, 1.25, 0.45, 0.05)),
    "brown12": Camera(
        "brown12",
        640,
        480,
        (400.0, 402.0, 320.0, 239.0, 0.9, 0.25, 2e-4, -3e-4, 0.01, 1.25, 0.45, 0.05, 1e-3, -2e-4, -8e-4, 3e-4),
    ),
    "kannala_brandt4": Camera("kannala_brandt4", 640, 480, (285.0, 286.0, 321.0, 240.0, 0.03, -0.01, 0.002, -1e-4)),
    "ucm": Camera("ucm", 640, 480, (350.0, 351.0, 321.0, 240.0, 0.55)),
    "omni": Camera("omni", 640, 480, (560.0, 562.0, 321.0, 240.0, 0.9, -0.2, 0.05, -5e-4, 1e-3)),
    "eucm": Camera("eucm", 640, 480, (300.0, 301.0, 321.0, 240.0, 0.45, 0.9)),
    "double_sphere": Camera("double_sphere", 640, 480, (250.0, 251.0, 321.0, 240.0, 0.25, 0.45)),
    "division": Camera("division", 640, 480, (400.0, 401.0, 321.0, 240.0, -0.2)),
    "splined": Camera(
        "splined_stereographic_o3_6x5_fov90",
        640,
        480,
        (400.0, 401.0, 321.0, 240.0, *np.random.default_rng(5).normal(0.0, 0.01, 60).tolist()),
    ),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """Cameras on an arc that look at a cloud of points, and what they see of it."""

    truth: BundleProblem

    def noisy(self, sigma_px: float, seed: int = 0) -> BundleProblem:
        rng = np.random.default_rng(seed)
        seen = self.truth.observations
        return replace(
            self.truth, observations=replace(seen, pixels=seen.pixels + rng.normal(0.0, sigma_px, seen.pixels.shape))
        )


def disturbed(problem: BundleProblem, rotation: float, place: float, seed: int = 1) -> BundleProblem:
    """Free poses and points moved by so many radians and units (deviations)."""
    rng = np.random.default_rng(seed)
    free = np.ones(len(problem.poses), bool) if problem.held_poses is None else ~problem.held_poses
    steps = rng.normal(size=(len(problem.poses), 6)) * np.array([place] * 3 + [rotation] * 3) * free[:, None]
    poses = SE3.exp(torch.from_numpy(steps)).as_matrix().numpy() @ problem.poses
    moved = rng.normal(0.0, place, problem.points.shape)
    if problem.held_points is not None:
        moved[problem.held_points] = 0.0
    # Held poses stay as they are to the bit.
    poses[~free] = problem.poses[~free]
    return replace(problem, poses=poses, points=problem.points + moved)


def arc_poses(count: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    poses = np.empty((count, 4, 4))
    for i, angle in enumerate(np.linspace(-0.5, 0.5, count)):
        centre = 5.0 * np.array([np.sin(angle), 0.0, -np.cos(angle)]) + rng.normal(0.0, 0.3, 3)
        forward = -centre / np.linalg.norm(centre)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        roll = SE3.exp(torch.tensor([0.0, 0.0, 0.0, *rng.normal(0.0, 0.05, 3)])).as_matrix().double().numpy()
        poses[i] = np.eye(4)
        poses[i, :3, :3], poses[i, :3, 3] = rotation, -rotation @ centre
        poses[i] = roll @ poses[i]
    # Exact rotations, so that what is recovered exactly can be.
    u, _, vt = np.linalg.svd(poses[:, :3, :3])
    poses[:, :3, :3] = u @ vt
    return poses


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    """Builds a :class:`Scene`."""

    def make(
        cameras: tuple[Camera, ...] | Camera = LENSES["pinhole"],
        poses: int = 5,
        points: int = 40,
        share: float = 1.0,
        rig: Floats | None = None,
        seed: int = 0,
    ) -> Scene:
        cameras = cameras if isinstance(cameras, tuple) else (cameras,)
        rng = np.random.default_rng(seed)
        cloud = rng.uniform(-1.2, 1.2, (points, 3))
        places = arc_poses(poses, seed)
        if rig is None:
            views = Views.one_per_pose(poses, np.arange(poses) % len(cameras))
        else:
            views = Views.of_rig(poses, len(cameras), rig)
        view, point = np.meshgrid(np.arange(len(views.pose)), np.arange(points), indexing="ij")
        view, point = view.ravel(), point.ravel()
        kept = rng.uniform(size=len(view)) < share
        # Every point keeps its first two views.
        kept |= view < 2
        view, point = view[kept], point[kept]
        in_rig = (
            np.einsum("nij,nj->ni", places[views.pose[view], :3, :3], cloud[point]) + places[views.pose[view], :3, 3]
        )
        if views.cam_from_rig is not None:
            offset = views.cam_from_rig[view]
            in_rig = np.einsum("nij,nj->ni", offset[:, :3, :3], in_rig) + offset[:, :3, 3]
        pixels = np.empty((len(view), 2))
        for index, camera in enumerate(cameras):
            mine = views.camera[view] == index
            pixels[mine] = camera.project(in_rig[mine])
        return Scene(BundleProblem(cameras, places, cloud, views, Observations(pixels, view, point)))

    return make


@pytest.fixture(scope="session")
def lenses() -> dict[str, Camera]:
    """One camera of every model."""
    return LENSES


@pytest.fixture(scope="session")
def disturb() -> Callable[..., BundleProblem]:
    """Moves free poses and points by so many radians and units (deviations): `disturb(problem, 0.01, 0.05)`."""
    return disturbed
