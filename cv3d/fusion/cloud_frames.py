"""Point clouds, one a frame, as depth: each is projected into cameras at the scanner's place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, UsageError
from cv3d.formats.meshes import read_mesh
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.sources import Dropped, PosedDepth, pose_at
from cv3d.geometry.cameras import Camera
from cv3d.geometry.cameras.rig import inverse_rigid
from cv3d.geometry.mesh import Mesh
from cv3d.geometry.trajectory import Trajectory
from cv3d.media.inputs import PICTURE_SUFFIXES

Floats = NDArray[np.float64]

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(?!.*\d)")
_LEAST_FILES = 2
_POINTS_PER_PIXEL = 2.0
_SIDES = (48, 1024)
"""Least and greatest width of a cube's face, pixels."""


def is_folder(folder: Path) -> bool:
    """Whether a folder holds point clouds and no pictures."""
    if not folder.is_dir() or len(list(folder.glob("*.ply"))) < _LEAST_FILES:
        return False
    return not any(path.suffix.lower() in PICTURE_SUFFIXES for path in folder.iterdir())


def count(folder: Path) -> int:
    """How many clouds there are."""
    return len(list(folder.glob("*.ply")))


def posed_depth(
    folder: Path, trajectory: Trajectory, camera: Camera | None, every: int = 1
) -> Iterator[PosedDepth | Dropped]:
    """The clouds of a folder as depth pictures.

    Args:
        folder: of PLY files in the scanner's own frame, metres, whose names end with their stamps or numbers.
        trajectory: poses of the scanner by these.
        camera: how the points are projected, its axes being the clouds'; None: onto the six faces of a cube around the
            scanner, as wide as the points fill.
        every: takes every n-th cloud.

    Raises:
        FormatError: a name has no number, or a file is no cloud.
    """
    named = sorted(((_stamp(path), path) for path in folder.glob("*.ply")), key=lambda one: one[0])
    for index, (stamp, path) in enumerate(named):
        if index % every:
            continue
        world_from_scanner = pose_at(trajectory, stamp)
        if world_from_scanner is None:
            yield Dropped(index, path.name, "no pose")
            continue
        cloud = read_mesh(path)
        faces = [(np.eye(4), camera)] if camera is not None else _cube(len(cloud.vertices))
        shown = 0
        for face_from_scanner, face in faces:
            depth, color = project_cloud(cloud, face, face_from_scanner)
            if not depth.any():
                continue
            shown += 1
            face_from_world = face_from_scanner @ inverse_rigid(world_from_scanner)
            yield PosedDepth(index, stamp, path.name, DepthFrame(depth, color, face, face_from_world))
        if not shown:
            yield Dropped(index, path.name, "no point in view")


def the_camera(camera: object) -> Camera | None:
    """The camera that clouds are projected into, from what the user named."""
    if camera is None or isinstance(camera, Camera):
        return camera
    from cv3d.formats.reading import read_camera

    if isinstance(camera, str | Path):
        return read_camera(camera)
    raise UsageError("point clouds are projected into one camera, not into a rig")


def project_cloud(
    cloud: Mesh, camera: Camera, cam_from_cloud: Floats
) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Depth and colour of the nearest point of each pixel, (h, w) metres and (h, w, 3).

    A pixel without a point between pixels with one takes the nearest of theirs: a scanner's lines leave gaps.
    """
    points = cloud.vertices @ cam_from_cloud[:3, :3].T + cam_from_cloud[:3, 3]
    ahead = np.flatnonzero(points[:, 2] > 0.0)
    pixels = np.nan_to_num(camera.project(points[ahead].astype(np.float64)), nan=-9.0, posinf=-9.0, neginf=-9.0)
    column, row = np.rint(pixels.clip(-9.0, camera.width + camera.height)).astype(np.int64).T
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    ahead, at = ahead[inside], row[inside] * camera.width + column[inside]
    # The nearest point comes last and stays.
    order = np.argsort(-points[ahead, 2], kind="stable")
    nearest = np.full(camera.width * camera.height, -1, np.int64)
    nearest[at[order]] = ahead[order]
    picture = _filled(nearest.reshape(camera.height, camera.width), points[:, 2])
    depth = np.where(picture >= 0, points[picture, 2], 0.0).astype(np.float32)
    color = None if cloud.colors is None else np.where((picture >= 0)[..., None], cloud.colors[picture], np.uint8(0))
    return depth, color


def _filled(nearest: NDArray[np.int64], z: NDArray[np.floating]) -> NDArray[np.int64]:
    """Point of each pixel; that of an empty one is the nearest of two opposite neighbours that have one."""
    padded = np.pad(nearest, 1, constant_values=-1)
    middle, out = padded[1:-1, 1:-1], nearest.copy()
    for down, across in ((0, 1), (1, 0)):
        first = padded[1 - down : padded.shape[0] - 1 - down, 1 - across : padded.shape[1] - 1 - across]
        second = padded[1 + down : padded.shape[0] - 1 + down, 1 + across : padded.shape[1] - 1 + across]
        gap = (middle < 0) & (out < 0) & (first >= 0) & (second >= 0)
        out[gap] = np.where(z[first[gap]] <= z[second[gap]], first[gap], second[gap])
    return out


def _cube(points: int) -> list[tuple[Floats, Camera]]:
    """The six faces of a cube around a scanner, and the turn into each."""
    side = int(np.clip(np.sqrt(points / _POINTS_PER_PIXEL / 6.0), *_SIDES))
    face = Camera("pinhole", side, side, (0.5 * side, 0.5 * side, 0.5 * side - 0.5, 0.5 * side - 0.5))
    ahead = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    turns = []
    for direction in ahead:
        z = np.array(direction, np.float64)
        x = np.array((0.0, 0.0, 1.0) if direction[2] == 0 else (1.0, 0.0, 0.0))
        turn = np.eye(4)
        turn[:3, :3] = np.stack([x, np.cross(z, x), z])
        turns.append((turn, face))
    return turns


def _stamp(path: Path) -> float:
    found = _NUMBER.search(path.stem)
    if found is None:
        raise FormatError(f"{path}: its name has neither a number nor a time stamp, as in 000012.ply")
    return float(found[1])
