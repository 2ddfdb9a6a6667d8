"""caliscope's camera_array.toml, read only.

One table `[cameras.N]` a camera: size, matrix, distortions (OpenCV's, five, or four with `fisheye = true`), rotation
(3x3, or a rotation vector) and translation. Its `CameraData.transformation` is [R t; 0 1] and its projection matrix
K [R t] (caliscope, cameras/camera_array.py): camera_from_world. Pixel origin: the centre of the top-left pixel.
"""

from __future__ import annotations

import tomllib

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.camera_file import CameraFile, ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields
from cv3d.formats.poses import compose, read_rotation, relative_to_first, rotation_from_vector
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The calibrated cameras, with their relative poses where all have one.

    Raises:
        FormatError: a field is missing or not what it should be, or no camera is calibrated.
    """
    try:
        fields = Fields(tomllib.loads(content.text or ""), content.source).part("cameras")
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{content.source}: not readable as TOML: {error}") from error
    names = [name for name in fields.names() if "matrix" in fields.part(name)]
    if not names:
        fields.fail("holds no calibrated camera")
    cameras = [_camera(fields.part(name), options) for name in names]
    poses = [pose for name in names if (pose := _pose(fields.part(name))) is not None]
    if len(names) < 2 or len(poses) < len(names):
        return CameraFile(Rig(tuple(map(RigCamera, names, cameras))), "caliscope")
    return CameraFile(Rig(tuple(map(RigCamera, names, cameras, relative_to_first(poses)))), "caliscope")


def _camera(fields: Fields, options: ReadOptions) -> Camera:
    width, height = (round(number) for number in fields.numbers("size", 2))
    fields.agreed_size((width, height), options.size)
    if "rotation_count" in fields and fields.integer("rotation_count"):
        fields.fail("its pictures were turned by quarters ('rotation_count'), and which way its size lies is not said")
    fx, skew, cx, _, fy, cy, *_ = fields.numbers("matrix", 9)
    if skew != 0.0:
        fields.fail("field 'matrix' holds skew, which cv3d's models do not have")
    is_fisheye = "fisheye" in fields and fields.raw("fisheye") is True
    shape = fields.numbers("distortions", 4 if is_fisheye else 5)
    return fields.camera("kannala_brandt4" if is_fisheye else "brown5", width, height, (fx, fy, cx, cy, *shape))


def _pose(fields: Fields) -> NDArray[np.float64] | None:
    if "rotation" not in fields or "translation" not in fields:
        return None
    values = fields.numbers("rotation", 9, 3)
    rotation = (
        rotation_from_vector(values)
        if len(values) == 3
        else read_rotation(fields, "rotation", np.reshape(values, (3, 3)))
    )
    return compose(rotation, fields.numbers("translation", 3))
