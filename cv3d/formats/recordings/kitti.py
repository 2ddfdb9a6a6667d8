"""KITTI's odometry recordings (Geiger et al., "Are we ready for autonomous driving?", CVPR 2012).

`calib.txt` holds the 3x4 projections P0 … P3 of rectified cameras, row by row, with a label or without: P = K [R | t]
with R the identity takes points of camera 0 to pixels of the camera. 0 and 1 are grey, 2 and 3 colour, even ones left.
The centre of the top-left pixel is (0, 0). Poses are world_from_cam of camera 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.recordings.text import read_text
from cv3d.geometry.cameras.camera import Camera

LEFT_FOLDERS = {"image_0": 0, "image_l": 0, "image_2": 2, "image_left": 0}
"""Folders of left cameras, with the number of their projection."""
RIGHT_FOLDERS = {"image_0": "image_1", "image_l": "image_r", "image_2": "image_3", "image_left": "image_right"}
"""The right camera's folder beside each of those."""
FPS = 10.0
_LABEL = re.compile(r"P(?:_rect_)?(\d+)")
_LEAST_PX = 8.0
"""Less is no focal length in pixels."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Projection:
    """One rectified camera."""

    params: tuple[float, float, float, float]
    """fx fy cx cy, pixels."""
    cam_from_cam0: Floats
    """(4, 4), metres."""

    def camera(self, width: int, height: int) -> Camera:
        """The camera, of pictures of this size."""
        return Camera("pinhole", width, height, self.params)


def read_projections(path: Path) -> dict[int, Projection]:
    """The projections of a calibration file by the cameras' numbers.

    Raises:
        FormatError: there is none, or one is no projection of a rectified camera.
        InputError: the file cannot be read.
    """
    found: dict[int, Projection] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        label, separator, numbers = line.partition(":")
        named = _LABEL.fullmatch(label.strip()) if separator else None
        fields = (numbers if separator else line).split()
        if len(fields) != 12 or (separator and named is None):
            continue
        camera = len(found) if named is None else int(named[1])
        try:
            matrix = np.array([float(field) for field in fields]).reshape(3, 4)
        except ValueError:
            raise FormatError(f"{path}:{number}: holds something that is no number") from None
        found[camera] = _projection(matrix, path, number)
    if not found:
        raise FormatError(f"{path}: holds no projection: lines of 12 numbers, as 'P0: …' of KITTI")
    return found


def looks_like_projections(path: Path) -> bool:
    """Whether a file has a line of a projection."""
    try:
        return bool(read_projections(path))
    except FormatError:
        return False


def _projection(matrix: Floats, path: Path, number: int) -> Projection:
    intrinsic = matrix[:, :3]
    is_upper = not intrinsic[[1, 2, 2], [0, 0, 1]].any() and intrinsic[2, 2] == 1.0 and intrinsic[0, 1] == 0.0
    if not is_upper or min(intrinsic[0, 0], intrinsic[1, 1]) < _LEAST_PX:
        raise FormatError(f"{path}:{number}: is no projection of a rectified camera: its left part is no K")
    cam_from_cam0 = np.eye(4)
    cam_from_cam0[:3, 3] = np.linalg.solve(intrinsic, matrix[:, 3])
    fx, fy, cx, cy = intrinsic[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    return Projection((fx, fy, cx, cy), cam_from_cam0)
