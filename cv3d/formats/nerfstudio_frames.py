"""The frames of nerfstudio's and instant-ngp's transforms.json: their pictures, cameras and poses.

`transform_matrix` is world_from_cam for a camera whose axes are x right, y up, z backward (OpenGL); cv3d's are y down,
z forward. `file_path` is relative to the file's folder; synthetic sets leave its suffix out, which is then .png. The
cameras are those of :mod:`cv3d.formats.nerfstudio`. Where all pictures have one camera it stands at the top, else in
each frame; the kind of camera (perspective or fisheye) always stands at the top, as nerfstudio has it nowhere else.
`ply_file_path`, relative too, names the points that nerfstudio starts Gaussians from; they are in the same world.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cv3d.errors import FormatError
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.camera_file import ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields
from cv3d.formats.json_text import to_json
from cv3d.formats.nerfstudio import camera_fields, camera_of_frame
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


def write_set(path: Path, pictures: Sequence[PosedPicture], points: str | None = None) -> None:
    """Write the frames of a transforms.json.

    Args:
        path: the file.
        pictures: their files, cameras and poses; the cameras of one of the models of `nerfstudio.MODELS`.
        points: a PLY file of points in the same world, relative to the file's folder.

    Raises:
        FormatError: some cameras are fisheyes and others not, which the file cannot say.
        OutputError: the file cannot be written.
    """
    cameras = list(dict.fromkeys(picture.camera for picture in pictures))
    said = {camera: camera_fields(camera) for camera in cameras}
    kinds = {"is_fisheye" in fields for fields in said.values()}
    if len(kinds) > 1:
        raise FormatError(f"{path.name} cannot say it: some cameras are fisheyes, others are not")
    whole: dict[str, object] = {}
    if len(cameras) == 1:
        whole |= said[cameras[0]]
    elif cameras:
        # Without a distortion at the top, each frame's own is read; the name alone does not make one.
        names = {str(fields["camera_model"]) for fields in said.values()}
        whole["camera_model"] = names.pop() if len(names) == 1 else "OPENCV"
        whole |= {"is_fisheye": True} if True in kinds else {}
    if points is not None:
        whole["ply_file_path"] = points
    frames = []
    for picture in pictures:
        frame: dict[str, object] = {"file_path": _relative(picture.file, path.parent)}
        frame |= said[picture.camera] if len(cameras) > 1 else {}
        frames.append(frame | {"transform_matrix": inverse_rigid(picture.cam_from_world) @ _OPENGL})
    atomic_write_text(path, to_json(whole | {"frames": frames}, indent=2) + "\n")


def _relative(file: Path, folder: Path) -> str:
    """A file as seen from a folder, with slashes; both may be relative to where the program runs."""
    return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
