"""Places to know again: points before two cameras, with descriptors; and frames of the rendered sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.transforms import SE3
from cv3d.odometry.places import Describer, Description, Place

Floats = NDArray[np.float64]
CAMERA = Camera("pinhole", 640, 480, (500.0, 500.0, 319.5, 239.5))


@dataclass(frozen=True, eq=False)
class Scene:
    """The same points in two key frames."""

    camera: Camera
    query: Description
    query_place: Place
    """The query's key frame as a place, in its own unit."""
    place: Place
    query_from_place: Floats
    """(4, 4) rigid, in the place's unit."""
    is_right: NDArray[np.bool_]
    """Which rows of the place have their true points."""


def make_scene(
    seed: int,
    count: int = 200,
    camera: Camera = CAMERA,
    pixel_noise: float = 0.5,
    depth_noise: float = 0.0,
    wrong: float = 0.3,
    baseline: float = 0.5,
    turn: float = 0.1,
    query_scale: float = 1.0,
) -> Scene:
    """Points 2.5 to 6 units away; `wrong` of the place's rows hold another row's point."""
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.uniform(-2, 2, count), rng.uniform(-1.5, 1.5, count), rng.uniform(2.5, 6, count)])
    tangent = np.concatenate([rng.normal(0, 1, 3), rng.normal(0, turn, 3)])
    tangent[:3] *= baseline / np.linalg.norm(tangent[:3])
    query_from_place = SE3.exp(torch.from_numpy(tangent)).as_matrix().numpy()
    seen = points @ query_from_place[:3, :3].T + query_from_place[:3, 3]
    own = _unit(rng.normal(size=(count, 64)))

    def half(points: Floats, scale: float) -> tuple[Floats, Floats, Floats]:
        pixels = camera.project(points) + rng.normal(0, pixel_noise, (count, 2))
        rays = camera.unproject(pixels)
        lengths = np.linalg.norm(points, axis=1) * np.exp(rng.normal(0, depth_noise, count)) * scale
        return pixels, rays * lengths[:, None], _unit(own + 0.03 * rng.normal(size=own.shape))

    place_pixels, place_points, place_descriptors = half(points, 1.0)
    query_pixels, query_points, query_descriptors = half(seen, query_scale)
    if depth_noise == 0.0:
        place_points = points.copy()
    bad = rng.permutation(count)[: int(wrong * count)]
    place_points[bad] = place_points[np.roll(bad, 1)]
    order = rng.permutation(count)
    is_right = np.ones(count, dtype=bool)
    is_right[bad] = False
    query = describe_points(query_pixels[order], query_descriptors[order], camera)
    place = describe_points(place_pixels, place_descriptors, camera)
    return Scene(
        camera,
        query,
        Place.of(1, 1, query, query_points[order]),
        Place.of(0, 0, place, place_points),
        query_from_place,
        is_right,
    )


def describe_points(pixels: Floats, descriptors: Floats, camera: Camera = CAMERA) -> Description:
    whole = np.zeros(2080, np.float32)
    whole[0] = 1.0
    return Description(
        pixels.astype(np.float32),
        descriptors.astype(np.float32),
        np.ones(len(pixels), np.float32),
        len(pixels),
        whole,
        (camera.width, camera.height),
        1.0,
    )


def _unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def scene() -> Callable[..., Scene]:
    return make_scene


@pytest.fixture
def described() -> Callable[..., Description]:
    return describe_points


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def compute() -> Compute:
    return Compute.choose("cpu")


@pytest.fixture(scope="session")
def describer(compute: Compute) -> Describer:
    return Describer(compute, 512, 640)


@pytest.fixture(scope="session")
def frames(project_root: Path) -> list[NDArray[np.uint8]]:
    """Two grey frames of the room, half a second apart, (480, 640)."""
    video = cv2.VideoCapture(str(project_root / "data" / "samples" / "room.mp4"))
    read = [video.read()[1] for _ in range(16)]
    video.release()
    return [cv2.cvtColor(read[i], cv2.COLOR_BGR2GRAY) for i in (0, 15)]
