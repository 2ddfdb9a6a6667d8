"""The frames of nerfstudio's and instant-ngp's transforms.json: their pictures, cameras and poses.

`transform_matrix` is world_from_cam for a camera whose axes are x right, y up, z backward (OpenGL); cv3d's are y down,
z forward. `file_path` is relative to the file's folder; synthetic sets leave its suffix out, which is then .png. The
cameras are those of :mod:`cv3d.formats.nerfstudio`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cv3d.errors import FormatError
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields
from cv3d.formats.nerfstudio import camera_of_frame
from cv3d.formats.posed_pictures import PosedPicture
from cv3d.formats.poses import read_transform
from cv3d.geometry.cameras.rig import inverse_rigid

_FILE = "transforms.json"
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def is_set(folder: Path) -> bool:
    """Whether a folder holds a transforms.json."""
    return (folder / _FILE).is_file()


def read_set(folder: Path) -> list[PosedPicture]:
    """Every frame of a folder's transforms.json, in its order, whether the picture is there or not.

    Raises:
        FormatError: the file is not what it should be, or holds no frame.
        InputError: it cannot be read.
    """
    path = folder / _FILE
    whole = Content.of_file(path).json
    if not isinstance(whole, dict):
        raise FormatError(f"{path}: not readable as JSON")
    fields = Fields(whole, str(path))
    frames = fields.parts("frames") if "frames" in fields else []
    if not frames:
        fields.fail("holds no frames")
    posed = []
    for index, (frame, raw) in enumerate(zip(frames, whole["frames"], strict=True)):
        name = frame.text("file_path")
        matrix = read_transform(frame, f"frames[{index}].transform_matrix", frame.numbers("transform_matrix", 12, 16))
        camera = camera_of_frame(whole, raw, index, str(path), ReadOptions())
        file = folder / name
        if not file.suffix:
            file = file.with_suffix(".png")
        posed.append(PosedPicture(name, file, camera, inverse_rigid(matrix @ _OPENGL)))
    return posed
