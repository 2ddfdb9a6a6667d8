"""COLMAP's sparse model as text: a folder with cameras.txt, images.txt and points3D.txt.

What it says is that of :mod:`cv3d.formats.colmap_reconstruction`, line by line
(src/colmap/scene/reconstruction_io_text.cc). images.txt has two lines a picture: "IMAGE_ID QW QX QY QZ TX TY TZ
CAMERA_ID NAME", then "X Y POINT3D_ID" of all its keypoints, which may be an empty line. points3D.txt has a line a
point: "POINT3D_ID X Y Z R G B ERROR", then "IMAGE_ID POINT2D_IDX" of its track. Lines that begin with # say nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError, InputError
from cv3d.formats import colmap
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.colmap_reconstruction import (
    ReconstructedImage,
    Reconstruction,
    encode_cameras,
    tracks,
    write_files,
)
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields, exact
from cv3d.formats.poses import compose, rotation_from_wxyz, wxyz_from_rotation

CAMERAS_FILE, IMAGES_FILE, POINTS_FILE = "cameras.txt", "images.txt", "points3D.txt"
_CORNER = 0.5
_IMAGES_HEAD = (
    "# Image list with two lines of data per image:",
    "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
    "#   POINTS2D[] as (X, Y, POINT3D_ID)",
)
_POINTS_HEAD = (
    "# 3D point list with one line of data per point:",
    "#   POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)",
)


def write_text(folder: str | os.PathLike[str], scene: Reconstruction) -> tuple[str, ...]:
    """Write a scene; ids count from 1 in the order of cameras, pictures and points.

    Args:
        folder: created where absent.
        scene: cameras of a model that COLMAP has; see :func:`cv3d.formats.approximation.say` for others.

    Returns:
        The names of the files.

    Raises:
        FormatError: COLMAP has no such camera model, or a picture's name is not one word of a line.
        OutputError: a file cannot be written.
    """
    contents = {
        CAMERAS_FILE: encode_cameras(scene, "colmap"),
        IMAGES_FILE: _encode_images(scene),
        POINTS_FILE: _encode_points(scene),
    }
    return write_files(folder, contents)


def read_text(folder: str | os.PathLike[str]) -> Reconstruction:
    """The scene of a folder.

    Raises:
        InputError: a file is missing or cannot be read.
        FormatError: a line is not what it should be, or names a camera or point that the others do not have.
    """
    place = Path(folder)
    cameras = colmap.decode(Content.of_file(place / CAMERAS_FILE), ReadOptions()).rig.cameras
    camera_index = {int(one.name): index for index, one in enumerate(cameras)}
    point_index, positions, colors, errors = _read_points(place / POINTS_FILE)
    images = _read_images(place / IMAGES_FILE, camera_index, point_index)
    return Reconstruction(tuple(one.camera for one in cameras), images, positions, colors, errors)


def _encode_images(scene: Reconstruction) -> bytes:
    lines = [*_IMAGES_HEAD, f"# Number of images: {len(scene.images)}"]
    for number, image in enumerate(scene.images, 1):
        if image.name.split() != [image.name]:
            raise FormatError(f"COLMAP's text cannot say the picture's name {image.name!r}: it is not one word")
        pose = image.cam_from_world
        numbers = [*wxyz_from_rotation(pose[:3, :3]), *pose[:3, 3].tolist()]
        lines.append(" ".join([str(number), *map(exact, numbers), str(image.camera + 1), image.name]))
        ids = np.where(image.points < 0, -1, image.points + 1).tolist()
        rows = zip((image.pixels + _CORNER).tolist(), ids, strict=True)
        lines.append(" ".join(f"{x!r} {y!r} {point}" for (x, y), point in rows))
    return os.fsencode("\n".join(lines) + "\n")


def _encode_points(scene: Reconstruction) -> bytes:
    lines = [*_POINTS_HEAD, f"# Number of points: {len(scene.points)}"]
    for number, (position, color, error, track) in enumerate(tracks(scene), 1):
        words = [str(number), *map(exact, position), *map(str, color), exact(error)]
        lines.append(" ".join([*words, *(f"{image} {keypoint}" for image, keypoint in track.tolist())]))
    return ("\n".join(lines) + "\n").encode()


def _read_images(
    path: Path, camera_index: dict[int, int], point_index: dict[int, int]
) -> tuple[ReconstructedImage, ...]:
    lines = _lines(path)
    # A picture without keypoints has an empty line, and of the last one that may be missing.
    lines += [(0, "")] if len(lines) % 2 else []
    images = []
    for (row, head), (_, body) in zip(lines[::2], lines[1::2], strict=True):
        fields = Fields({}, f"{path}, line {row}")
        words = head.split(maxsplit=9)
        if len(words) != 10:
            fields.fail("should be IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
        numbers, name = _numbers(words[1:9], fields), words[9].strip()
        if int(numbers[7]) not in camera_index:
            fields.fail(f"{name} is of camera {int(numbers[7])}, which {CAMERAS_FILE} does not have")
        keypoints = _numbers(body.split(), fields)
        if len(keypoints) % 3:
            fields.fail(f"the keypoints of {name} should be X Y POINT3D_ID each")
        table = keypoints.reshape(-1, 3)
        try:
            points = np.array([-1 if one < 0 else point_index[int(one)] for one in table[:, 2].tolist()], np.intp)
        except KeyError as error:
            raise FormatError(f"{path}: {name} shows point {error}, which {POINTS_FILE} does not have") from None
        pose = compose(rotation_from_wxyz(fields, name, numbers[:4].tolist()), numbers[4:7])
        images.append(ReconstructedImage(name, camera_index[int(numbers[7])], pose, table[:, :2] - _CORNER, points))
    return tuple(images)


def _read_points(
    path: Path,
) -> tuple[dict[int, int], NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]]:
    ids: dict[int, int] = {}
    rows = []
    for row, line in _lines(path):
        words = line.split()
        if not words:
            continue
        fields = Fields({}, f"{path}, line {row}")
        if len(words) < 8:
            fields.fail("should be POINT3D_ID X Y Z R G B ERROR TRACK")
        numbers = _numbers(words[:8], fields)
        ids[int(numbers[0])] = len(ids)
        rows.append(numbers[1:])
    table = np.array(rows, np.float64).reshape(-1, 7)
    errors = np.where(table[:, 6] < 0.0, np.nan, table[:, 6])
    return ids, table[:, :3].copy(), table[:, 3:6].astype(np.uint8), errors


def _lines(path: Path) -> list[tuple[int, str]]:
    """Number and content of every line that says something; empty ones too."""
    try:
        text = os.fsdecode(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    return [(row, line) for row, line in enumerate(text.splitlines(), 1) if not line.startswith("#")]


def _numbers(words: list[str], fields: Fields) -> NDArray[np.float64]:
    try:
        return np.array(words, np.float64)
    except ValueError:
        fields.fail("holds something that is no number")
