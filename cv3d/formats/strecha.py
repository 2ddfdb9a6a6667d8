"""The `.camera` files of the multi-view sets of Strecha et al. 2008 ("On benchmarking camera calibration …").

A file belongs to the picture of its name without `.camera`. Its numbers are K row by row (9), three that are zero (they
are meant for distortion, and the pictures have none), the rotation world_from_cam row by row (9), the camera's centre
in the world (3), width and height. Axes are x right, y down, z forward; its readers use K as it is for pixels whose
centre is whole-numbered.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cv3d.errors import FormatError, InputError
from cv3d.formats.fields import Fields
from cv3d.formats.posed_pictures import PosedPicture
from cv3d.formats.poses import compose, read_rotation

_SUFFIX = ".camera"
_FOLDERS = ("", "gt_dense_cameras")
"""Where the files lie below a set's folder; the set has them beside the pictures or in a folder of their own."""
_PICTURES = "images"
_NUMBERS = 9 + 3 + 9 + 3 + 2


def is_set(folder: Path) -> bool:
    """Whether a folder holds such files."""
    return bool(_files(folder))


def read_set(folder: Path) -> list[PosedPicture]:
    """Every picture that a folder has a file for, in the order of the names, whether the picture is there or not.

    Raises:
        FormatError: a file holds something else.
        InputError: it cannot be read.
    """
    return [_read(path, folder) for path in _files(folder)]


def _files(folder: Path) -> list[Path]:
    for name in _FOLDERS:
        files = sorted((folder / name).glob(f"*{_SUFFIX}"))
        if files:
            return files
    return []


def _read(path: Path, folder: Path) -> PosedPicture:
    try:
        words = path.read_text(encoding="ascii").split()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is no camera file of Strecha's sets: it is no text") from error
    fields = Fields({"numbers": words}, str(path))
    numbers = np.array(fields.numbers("numbers", _NUMBERS))
    matrix, distortion, rotation = numbers[:9].reshape(3, 3), numbers[9:12], numbers[12:21].reshape(3, 3)
    centre, (width, height) = numbers[21:24], numbers[24:]
    if distortion.any():
        fields.fail("has distortion, whose meaning the format does not define")
    if matrix[[0, 1, 2, 2], [1, 0, 0, 1]].any() or matrix[2, 2] != 1.0:
        fields.fail("its K is not fx 0 cx, 0 fy cy, 0 0 1")
    cam_from_world = read_rotation(fields, "the rotation", rotation).T
    params = tuple(float(matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    name = path.name.removesuffix(_SUFFIX)
    candidates = [place / name for place in (path.parent, folder, folder / _PICTURES, folder.parent / _PICTURES)]
    return PosedPicture(
        name,
        next((candidate for candidate in candidates if candidate.is_file()), candidates[0]),
        fields.camera("pinhole", int(width), int(height), params),
        compose(cam_from_world, -cam_from_world @ centre),
    )
