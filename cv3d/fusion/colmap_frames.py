"""A COLMAP workspace as frames: its undistorted pictures, its sparse model and its depth maps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import PictureError
from cv3d.formats.colmap_depth import read_colmap_depth
from cv3d.formats.colmap_reconstruction import IMAGES_FILE, ReconstructedImage, read_reconstruction
from cv3d.fusion.frames import DepthFrame
from cv3d.fusion.sources import Dropped, PosedDepth
from cv3d.geometry.cameras import Camera
from cv3d.media.sequences.gray import read_color

_DEPTH_FOLDER = Path("stereo") / "depth_maps"
_KINDS = ("geometric", "photometric")
"""The checked maps go before the others."""


def is_workspace(folder: Path) -> bool:
    """Whether a folder is a dense workspace with depth maps."""
    return (folder / "sparse" / IMAGES_FILE).is_file() and (folder / _DEPTH_FOLDER).is_dir()


def count(folder: Path) -> int:
    """How many depth maps there are, at most one a picture."""
    names = {path.name.rsplit(".", 2)[0] for kind in _KINDS for path in (folder / _DEPTH_FOLDER).rglob(f"*.{kind}.bin")}
    return len(names)


def posed_depth(folder: Path, every: int = 1) -> Iterator[PosedDepth | Dropped]:
    """The pictures of the model that have a depth map, in the order of their names; their unit is taken for metres.

    Raises:
        InputError: a file of the model is missing.
        FormatError: a file is not what it should be.
    """
    model = read_reconstruction(folder / "sparse")
    for index, image in enumerate(sorted(model.images, key=lambda one: one.name)):
        if index % every == 0:
            yield _frame(folder, index, image, model.cameras[image.camera])


def _frame(folder: Path, index: int, image: ReconstructedImage, camera: Camera) -> PosedDepth | Dropped:
    found = [folder / _DEPTH_FOLDER / f"{image.name}.{kind}.bin" for kind in _KINDS]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        return Dropped(index, image.name, "no depth map")
    depth = read_colmap_depth(path)
    height, width = depth.shape
    if (camera.width, camera.height) != (width, height):
        camera = camera.scaled(width / camera.width)
        if (camera.width, camera.height) != (width, height):
            return Dropped(index, image.name, f"a depth map of another shape than its picture, {width}x{height}")
    try:
        color = _color(folder / "images" / image.name, width, height)
    except PictureError:
        return Dropped(index, image.name, "a picture that cannot be decoded")
    return PosedDepth(index, float(index), image.name, DepthFrame(depth, color, camera, image.cam_from_world))


def _color(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    import cv2

    color = read_color(path)
    if color.shape[:2] != (height, width):
        color = np.asarray(cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return color
