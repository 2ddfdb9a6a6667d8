"""Neighbours by known poses: pictures whose views overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from cv3d.errors import InputError
from cv3d.features.pairs.base import Neighbours
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import inverse_rigid

Floats = NDArray[np.float64]

_GRID = 5
_DEPTHS = 4
_CANDIDATES = 8
_NEAR_OF_SPACING, _FAR_OF_SPACING = 2.0, 40.0


@dataclass(frozen=True)
class PoseOptions:
    """Which views count as overlapping."""

    top_k: int = 20
    """Most neighbours of a picture."""
    min_overlap: float = 0.15
    """Least share of one view that the other must see, both ways."""
    max_angle: float = math.radians(60.0)
    """Largest angle between the two lines of sight to a point that both see, radians."""
    depths: tuple[float, float] | None = None
    """Nearest and farthest depth of the scene, in the poses' unit. None: 2 and 40 times the median distance between a
    camera's place and the nearest other one."""

    def __post_init__(self) -> None:
        if self.top_k < 1 or not 0.0 < self.min_overlap <= 1.0 or not 0.0 < self.max_angle <= math.pi:
            raise ValueError("top_k must be positive, min_overlap in (0, 1] and max_angle in (0, pi]")
        if self.depths is not None and not 0.0 < self.depths[0] <= self.depths[1] < math.inf:
            raise ValueError(f"depths must be positive and ascending, not {self.depths}")


def pose_neighbours(
    cam_from_world: Floats, cameras: Sequence[Camera], options: PoseOptions | None = None
) -> Neighbours:
    """Rank pictures by the overlap of their views.

    Points on a grid of each picture, at several depths, are projected into the other; one is seen in common where it
    falls into the picture and the two lines of sight meet at less than the largest angle. The overlap of a pair is the
    lesser of the two shares. Only pictures that look at places near to each other are compared, so the work grows with
    the number of pictures, not of pairs.

    Args:
        cam_from_world: (n, 4, 4).
        cameras: of each picture, n of them.
        options: thresholds and depths.

    Returns:
        Up to `top_k` neighbours of each picture; similarities are overlaps.

    Raises:
        InputError: there are no cameras, poses and cameras differ in number, a pose is not finite, or all cameras are
            in one place and no depths are given.
    """
    options = options or PoseOptions()
    count = len(cameras)
    if count == 0:
        raise InputError("there are no cameras to choose pairs of")
    if cam_from_world.shape != (count, 4, 4) or not np.isfinite(cam_from_world).all():
        raise InputError(f"{count} cameras need finite poses ({count}, 4, 4), not {cam_from_world.shape}")
    world_from_cam = inverse_rigid(cam_from_world)
    depths = options.depths or _depths_of(world_from_cam[:, :3, 3])
    steps = np.geomspace(depths[0], depths[1], _DEPTHS)
    samples = {camera: _sample(camera, steps) for camera in dict.fromkeys(cameras)}
    points = np.stack([samples[camera] for camera in cameras])
    points = points @ np.swapaxes(world_from_cam[:, :3, :3], 1, 2) + world_from_cam[:, None, :3, 3]
    candidates = _candidates(world_from_cam, math.sqrt(depths[0] * depths[1]), options)
    views = _Views(world_from_cam, cam_from_world, cameras, points, options.max_angle)
    shares = [
        dict(zip(row, views.shares(picture, row).tolist(), strict=True)) for picture, row in enumerate(candidates)
    ]
    ranked: list[list[tuple[float, int]]] = [[] for _ in range(count)]
    for picture, row in enumerate(candidates):
        for other in row:
            overlap = min(shares[picture][other], shares[other][picture])
            if overlap >= options.min_overlap:
                ranked[picture].append((-overlap, other))
    indices = np.full((count, options.top_k), -1, dtype=np.int64)
    similarities = np.full((count, options.top_k), -np.inf, dtype=np.float32)
    for picture, found in enumerate(ranked):
        for rank, (negative, other) in enumerate(sorted(found)[: options.top_k]):
            indices[picture, rank], similarities[picture, rank] = other, -negative
    return Neighbours(indices, similarities)


def _depths_of(centres: Floats) -> tuple[float, float]:
    distinct = np.unique(centres, axis=0)
    if len(distinct) < 2:
        raise InputError("the poses are all in one place, which says nothing about the scene; give its depths")
    spacing = float(np.median(KDTree(distinct).query(distinct, k=2)[0][:, 1]))
    return _NEAR_OF_SPACING * spacing, _FAR_OF_SPACING * spacing


def _sample(camera: Camera, depths: Floats) -> Floats:
    """Points of a grid over the picture at each depth, in the camera's frame, (m, 3)."""
    columns = (np.arange(_GRID) + 0.5) / _GRID * camera.width - 0.5
    rows = (np.arange(_GRID) + 0.5) / _GRID * camera.height - 0.5
    pixels = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    return (depths[:, None, None] * camera.unproject(pixels)).reshape(-1, 3)


def _candidates(world_from_cam: Floats, depth: float, options: PoseOptions) -> list[list[int]]:
    """For each picture those that look at a place near to what it looks at, from a side near to its own; mutual."""
    count = len(world_from_cam)
    wanted = min(count, _CANDIDATES * options.top_k + 1)
    axes = world_from_cam[:, :3, 2]
    places = np.hstack([world_from_cam[:, :3, 3] + depth * axes, depth * axes])
    found: list[set[int]] = [set() for _ in range(count)]
    _, nearest = KDTree(places).query(places, k=range(1, wanted + 1))
    for picture, row in enumerate(nearest.tolist()):
        for other in row:
            if other != picture:
                found[picture].add(other)
                found[other].add(picture)
    return [sorted(row) for row in found]


class _Views:
    """All pictures with the points that sample their views."""

    def __init__(
        self,
        world_from_cam: Floats,
        cam_from_world: Floats,
        cameras: Sequence[Camera],
        points: Floats,
        max_angle: float,
    ) -> None:
        self._centres = world_from_cam[:, :3, 3]
        self._cam_from_world = cam_from_world
        self._points = points
        self._least_cosine = math.cos(max_angle)
        distinct = {camera: number for number, camera in enumerate(dict.fromkeys(cameras))}
        self._numbers = np.array([distinct[camera] for camera in cameras], dtype=np.int64)
        self._cameras = list(distinct)
        self._sees_behind = [camera.field_of_view()[2] > math.pi for camera in distinct]

    def shares(self, picture: int, others: list[int]) -> Floats:
        """Share of a picture's points that each of the others sees from no more than the largest angle, (k,)."""
        chosen = np.array(others, dtype=np.int64)
        points = self._points[picture]
        poses = self._cam_from_world[chosen]
        there = points @ np.swapaxes(poses[:, :3, :3], 1, 2) + poses[:, None, :3, 3]
        seen = np.zeros(there.shape[:2], dtype=bool)
        for number in np.unique(self._numbers[chosen]):
            same = self._numbers[chosen] == number
            seen[same] = self._in_picture(int(number), there[same])
        own = points - self._centres[picture]
        across = points - self._centres[chosen, None]
        lengths = np.linalg.norm(own, axis=-1) * np.linalg.norm(across, axis=-1)
        share: Floats = (seen & ((own * across).sum(axis=-1) >= self._least_cosine * lengths)).mean(axis=1)
        return share

    def _in_picture(self, number: int, points: Floats) -> NDArray[np.bool_]:
        camera = self._cameras[number]
        x, y = np.moveaxis(camera.project(points), -1, 0)
        inside = (x > -0.5) & (x < camera.width - 0.5) & (y > -0.5) & (y < camera.height - 0.5)
        visible: NDArray[np.bool_] = inside & (self._sees_behind[number] | (points[..., 2] > 0.0))
        return visible
