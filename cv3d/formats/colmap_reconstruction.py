"""COLMAP's sparse model: a folder with cameras.bin, images.bin and points3D.bin.

Little-endian (src/colmap/scene/reconstruction_io_binary.cc). images.bin is a uint64 count, and of each picture uint32
id, float64 quaternion wxyz and translation of cam_from_world, uint32 camera id, the name with a zero byte after it,
uint64 number of keypoints and of each float64 x, y and uint64 point id, all ones where it belongs to no point.
points3D.bin is a uint64 count, and of each point uint64 id, float64 x, y, z, uint8 RGB, float64 mean reprojection
error, uint64 length of its track and of each element uint32 picture id and uint32 keypoint index. The pixel origin is
the corner of the top-left pixel: cv3d's coordinates plus one half.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats import FORMATS, colmap_binary
from cv3d.formats.atomic import atomic_write_bytes
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields
from cv3d.formats.poses import compose, rotation_from_wxyz, wxyz_from_rotation
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

CAMERAS_FILE, IMAGES_FILE, POINTS_FILE = "cameras.bin", "images.bin", "points3D.bin"
_CORNER = 0.5
_COUNT = struct.Struct("<Q")
_IMAGE = struct.Struct("<I7dI")
_KEYPOINT = np.dtype([("x", "<f8"), ("y", "<f8"), ("point", "<u8")])
_NO_POINT = np.uint64(0xFFFFFFFFFFFFFFFF)
_POINT = struct.Struct("<Q3d3Bd")
_SEEN = np.dtype([("image", "<u4"), ("keypoint", "<u4")])
UNKNOWN_ERROR = -1.0
"""What stands for the error of a point where it is not known."""


@dataclass(frozen=True, eq=False)
class ReconstructedImage:
    """A picture with its place among the points."""

    name: str
    camera: int
    """Index into the cameras."""
    cam_from_world: NDArray[np.float64]
    """(4, 4)"""
    pixels: NDArray[np.float64]
    """Keypoints, (n, 2)."""
    points: NDArray[np.intp]
    """(n,) index of the point that each shows; -1: none."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Cameras, pictures and points of one scene."""

    cameras: tuple[Camera, ...]
    images: tuple[ReconstructedImage, ...]
    points: NDArray[np.float64]
    """(m, 3), the scene's unit of length."""
    colors: NDArray[np.uint8]
    """(m, 3) RGB."""
    errors: NDArray[np.float64]
    """(m,) mean reprojection error, pixels; NaN where it is not known."""


def write_reconstruction(folder: str | os.PathLike[str], scene: Reconstruction) -> tuple[str, ...]:
    """Write a scene; ids count from 1 in the order of cameras, pictures and points.

    Args:
        folder: created where absent.
        scene: cameras of a model that COLMAP has; see :func:`cv3d.formats.approximation.say` for others.

    Returns:
        The names of the files.

    Raises:
        FormatError: COLMAP has no such camera model, or a picture's name holds a zero byte.
        OutputError: a file cannot be written.
    """
    contents = {
        CAMERAS_FILE: encode_cameras(scene, "colmap-bin"),
        IMAGES_FILE: _encode_images(scene),
        POINTS_FILE: _encode_points(scene),
    }
    return write_files(folder, contents)


def encode_cameras(scene: Reconstruction, form: str) -> bytes:
    """The cameras of a scene in a form of :data:`cv3d.formats.FORMATS`; ids count from 1.

    Raises:
        FormatError: the form has no such camera model.
    """
    rig = Rig(tuple(RigCamera(str(number), camera) for number, camera in enumerate(scene.cameras, 1)))
    return FORMATS[form].encode(rig)


def write_files(folder: str | os.PathLike[str], contents: Mapping[str, bytes]) -> tuple[str, ...]:
    """Write the files of a model, each whole; their names.

    Raises:
        OutputError: a file cannot be written.
    """
    for name, data in contents.items():
        atomic_write_bytes(Path(folder) / name, data)
    return tuple(contents)


def read_reconstruction(folder: str | os.PathLike[str]) -> Reconstruction:
    """The scene of a folder.

    Raises:
        InputError: a file is missing or cannot be read.
        FormatError: a file is cut off, or names a camera, picture or point that the others do not have.
    """
    place = Path(folder)
    cameras = colmap_binary.decode(Content(_read(place / CAMERAS_FILE), str(place / CAMERAS_FILE)), ReadOptions()).rig
    camera_index = {int(one.name): index for index, one in enumerate(cameras.cameras)}
    points = _Bytes(_read(place / POINTS_FILE), str(place / POINTS_FILE))
    point_ids, positions, colors, errors = _decode_points(points)
    images = _Bytes(_read(place / IMAGES_FILE), str(place / IMAGES_FILE))
    found = _decode_images(images, camera_index, point_ids)
    return Reconstruction(tuple(one.camera for one in cameras.cameras), found, positions, colors, errors)


def _encode_images(scene: Reconstruction) -> bytes:
    parts = [_COUNT.pack(len(scene.images))]
    for number, image in enumerate(scene.images, 1):
        name = os.fsencode(image.name)
        if b"\0" in name:
            raise FormatError(f"COLMAP cannot say the picture's name {image.name!r}: it holds a zero byte")
        pose = image.cam_from_world
        quat_wxyz = wxyz_from_rotation(pose[:3, :3])
        parts += [_IMAGE.pack(number, *quat_wxyz, *pose[:3, 3].tolist(), image.camera + 1), name + b"\0"]
        keypoints = np.empty(len(image.pixels), _KEYPOINT)
        keypoints["x"], keypoints["y"] = image.pixels[:, 0] + _CORNER, image.pixels[:, 1] + _CORNER
        keypoints["point"] = np.where(image.points < 0, _NO_POINT, (image.points + 1).astype(np.uint64))
        parts += [_COUNT.pack(len(keypoints)), keypoints.tobytes()]
    return b"".join(parts)


def tracks(scene: Reconstruction) -> Iterator[tuple[list[float], list[int], float, NDArray[np.void]]]:
    """Position, colour, error and track of every point; a track has the fields `image`, an id, and `keypoint`."""
    counts = [len(image.points) for image in scene.images]
    seen = np.empty(sum(counts), _SEEN)
    seen["image"] = np.repeat(np.arange(1, len(counts) + 1), counts)
    seen["keypoint"] = np.concatenate([np.arange(count) for count in counts]) if counts else 0
    points = np.concatenate([image.points for image in scene.images]) if counts else np.zeros(0, np.intp)
    order = np.argsort(points, kind="stable")
    starts = np.searchsorted(points[order], np.arange(len(scene.points) + 1))
    errors = np.where(np.isfinite(scene.errors), scene.errors, UNKNOWN_ERROR)
    rows = zip(scene.points.tolist(), scene.colors.tolist(), errors.tolist(), starts, starts[1:], strict=False)
    for position, color, error, start, end in rows:
        yield position, color, error, seen[order[start:end]]


def _encode_points(scene: Reconstruction) -> bytes:
    parts = [_COUNT.pack(len(scene.points))]
    for number, (position, color, error, track) in enumerate(tracks(scene), 1):
        parts += [_POINT.pack(number, *position, *color, error), _COUNT.pack(len(track)), track.tobytes()]
    return b"".join(parts)


def _decode_images(
    data: _Bytes, camera_index: dict[int, int], point_ids: NDArray[np.uint64]
) -> tuple[ReconstructedImage, ...]:
    order = np.argsort(point_ids)
    images = []
    for _ in range(data.count()):
        _, *pose, camera_number = data.take(_IMAGE)
        camera_id = int(camera_number)
        name = data.text()
        if camera_id not in camera_index:
            data.fail(f"{name} is of camera {camera_id}, which {CAMERAS_FILE} does not have")
        keypoints = data.rows(_KEYPOINT, data.count())
        ids = keypoints["point"]
        place = np.searchsorted(point_ids, ids, sorter=order).clip(max=max(len(order) - 1, 0))
        points = order[place] if len(order) else np.full(len(ids), -1)
        has_point = ids != _NO_POINT
        if has_point.any() and not (len(order) and (point_ids[points] == ids)[has_point].all()):
            data.fail(f"{name} shows a point that {POINTS_FILE} does not have")
        rotation = rotation_from_wxyz(Fields({}, data.source), name, pose[:4])
        pixels = np.stack([keypoints["x"], keypoints["y"]], axis=1) - _CORNER
        images.append(
            ReconstructedImage(
                name, camera_index[camera_id], compose(rotation, pose[4:]), pixels, np.where(has_point, points, -1)
            )
        )
    data.end()
    return tuple(images)


def _decode_points(
    data: _Bytes,
) -> tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]]:
    rows = []
    for _ in range(data.count()):
        rows.append(data.take(_POINT))
        data.rows(_SEEN, data.count())
    data.end()
    numbers = np.array([row[1:] for row in rows], np.float64).reshape(-1, 7)
    errors = np.where(numbers[:, 6] < 0.0, np.nan, numbers[:, 6])
    ids = np.array([row[0] for row in rows], np.uint64)
    return ids, numbers[:, :3].copy(), numbers[:, 3:6].astype(np.uint8), errors


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


class _Bytes:
    """A file's content, taken piece by piece."""

    def __init__(self, data: bytes, source: str) -> None:
        self._data, self._offset, self.source = data, 0, source

    def take(self, layout: struct.Struct) -> tuple[float, ...]:
        """The next numbers."""
        self._offset += layout.size
        if self._offset > len(self._data):
            self.fail("is cut off")
        return layout.unpack_from(self._data, self._offset - layout.size)

    def count(self) -> int:
        """The next number of things."""
        return int(self.take(_COUNT)[0])

    def text(self) -> str:
        """The next text up to a zero byte."""
        end = self._data.find(b"\0", self._offset)
        if end < 0:
            self.fail("is cut off")
        start, self._offset = self._offset, end + 1
        return os.fsdecode(self._data[start:end])

    def rows(self, layout: np.dtype[np.void], count: int) -> NDArray[np.void]:
        """The next rows of a table."""
        start = self._offset
        self._offset += count * layout.itemsize
        if self._offset > len(self._data):
            self.fail("is cut off")
        return np.frombuffer(self._data, layout, count, start)

    def end(self) -> None:
        """See that nothing follows."""
        if self._offset != len(self._data):
            self.fail(f"holds {len(self._data) - self._offset} bytes more than it should")

    def fail(self, what: str) -> NoReturn:
        """Raise the error that says so."""
        raise FormatError(f"{self.source}: {what}")
