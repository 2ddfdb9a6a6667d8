"""mrcal's .cameramodel: a Python dict of lensmodel, intrinsics, extrinsics, imagersize (mrcal/cameramodel.py).

Its first releases called the first of them lens_model, and before that distortion_model with DISTORTION_ in front.

Pixel origin: the centre of the top-left pixel. `extrinsics` are rt_fromref, a rotation vector and a translation that
take points of the reference frame to the camera: cam_from_reference. The reference written is the rig's first camera;
zeros where the pose is not known, which mrcal insists on.

Its lens models (mrcal documentation, "lens models") have OpenCV's coefficients in OpenCV's order, and the splined one
is cv3d's in configuration and parameters. LENSMODEL_STEREOGRAPHIC, 2 tan(theta / 2), is cv3d's `ucm` with alpha = 1/2:
(x, y) / (d / 2 + z / 2). CAHVOR has no equal and is read as the closest; CAHVORE moves its centre with the angle, which
no model of a single centre can say.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import Cv3dError, FormatError
from cv3d.formats.camera_file import CameraFile, ReadOptions, StandIn
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields, exact_list
from cv3d.formats.foreign_lens import read_foreign
from cv3d.formats.foreign_projections import project_cahvor
from cv3d.formats.poses import compose, rotation_from_vector, vector_from_rotation
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera
from cv3d.geometry.cameras.splined import SplinedStereographic

_NAME_OF_MODEL = {
    "pinhole": "LENSMODEL_PINHOLE",
    "ucm": "LENSMODEL_STEREOGRAPHIC",
    "brown4": "LENSMODEL_OPENCV4",
    "brown5": "LENSMODEL_OPENCV5",
    "brown8": "LENSMODEL_OPENCV8",
    "brown12": "LENSMODEL_OPENCV12",
}
_MODEL_OF_NAME = {name: model for model, name in _NAME_OF_MODEL.items()}
_SPLINED = re.compile(r"LENSMODEL_SPLINED_STEREOGRAPHIC_order=(\d+)_Nx=(\d+)_Ny=(\d+)_fov_x_deg=(\d+)")
LENS_KEYS = ("lensmodel", "lens_model", "distortion_model")
"""What the field of the lens model has been called, the newest name first."""
_POSES = ("extrinsics", "rt_cam_ref", "rt_fromref")
_STEREOGRAPHIC = 0.5
"""alpha of the `ucm` that is the stereographic projection."""
MODELS = ("pinhole", "brown4", "brown5", "brown8", "brown12", "splined_stereographic_*", "ucm")


def encode(rig: Rig) -> bytes:
    """A .cameramodel of one camera.

    Raises:
        FormatError: it is a `ucm` other than the stereographic one.
    """
    one = rig.cameras[0]
    lens_model, intrinsics = _to_mrcal(one.camera)
    extrinsics = [0.0] * 6
    if one.cam_from_cam0 is not None:
        pose = one.cam_from_cam0
        extrinsics = [*vector_from_rotation(pose[:3, :3]).tolist(), *pose[:3, 3].tolist()]
    lines = [
        "{",
        f"    'lensmodel':  '{lens_model}',",
        "",
        "    # intrinsics are fx,fy,cx,cy,distortion0,distortion1,....",
        f"    'intrinsics': {exact_list(intrinsics)},",
        "",
        "    # extrinsics are rt_fromref",
        f"    'extrinsics': {exact_list(extrinsics)},",
        "",
        f"    'imagersize': [ {one.camera.width}, {one.camera.height} ],",
        "}",
    ]
    return ("\n".join(lines) + "\n").encode()


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The camera of a file; `cam_from_cam0` is camera_from_reference, for a reader of several such files to relate.

    Raises:
        FormatError: a field is missing or not what it should be, or cv3d does not have the model.
    """
    if content.python is None:
        raise FormatError(
            f"{content.source}: not readable as a Python dict, which a .cameramodel is".removeprefix(": ")
        )
    fields = Fields(content.python, content.source)
    key = next((key for key in LENS_KEYS if key in fields), LENS_KEYS[0])
    name = fields.text(key).replace("DISTORTION_", "LENSMODEL_")
    name = "LENSMODEL_PINHOLE" if name == "LENSMODEL_NONE" else name
    width, height = (round(number) for number in fields.numbers("imagersize", 2))
    fields.agreed_size((width, height), options.size)
    camera, stand_in = _from_mrcal(name, width, height, fields, content.source, options)
    stand_ins = {} if stand_in is None else {"camera": stand_in}
    return CameraFile(Rig((RigCamera("camera", camera, _pose(fields)),)), "mrcal", stand_ins)


def _pose(fields: Fields) -> NDArray[np.float64] | None:
    key = next((key for key in _POSES if key in fields), None)
    if key is None:
        return None
    rt = fields.numbers(key, 6)
    return compose(rotation_from_vector(rt[:3]), rt[3:])


def _to_mrcal(camera: Camera) -> tuple[str, tuple[float, ...]]:
    """The fields lensmodel and intrinsics."""
    lens = camera.lens
    if isinstance(lens, SplinedStereographic):
        configuration = f"order={lens.order}_Nx={lens.nx}_Ny={lens.ny}_fov_x_deg={lens.fov_x_deg}"
        return f"LENSMODEL_SPLINED_STEREOGRAPHIC_{configuration}", camera.params
    if camera.model == "ucm":
        if camera.shape != (_STEREOGRAPHIC,):
            raise FormatError(
                f"mrcal has no camera model for 'ucm' with alpha = {camera.shape[0]!r}; 1/2 is its stereographic one"
            )
        return _NAME_OF_MODEL["ucm"], camera.params[:4]
    return _NAME_OF_MODEL[camera.model], camera.params


def _from_mrcal(
    name: str, width: int, height: int, fields: Fields, source: str, options: ReadOptions
) -> tuple[Camera, StandIn | None]:
    if name == "LENSMODEL_CAHVOR":
        params = fields.numbers("intrinsics", 9)
        fields.camera("pinhole", width, height, params[:4])
        return read_foreign(partial(project_cahvor, params), width, height, name, source, options)
    if match := _SPLINED.fullmatch(name):
        try:
            model = SplinedStereographic.configured(*(int(group) for group in match.groups())).name
        except Cv3dError as error:
            fields.fail(f"field 'lensmodel': {error}")
        return fields.camera(model, width, height, fields.numbers("intrinsics")), None
    if name not in _MODEL_OF_NAME:
        known = ", ".join([*_MODEL_OF_NAME, "LENSMODEL_SPLINED_STEREOGRAPHIC_…", "LENSMODEL_CAHVOR"])
        reason = ": it has no single centre of projection" if name.startswith("LENSMODEL_CAHVORE") else ""
        fields.fail(f"cv3d has no equal of mrcal's {name}{reason}; it reads {known}")
    model = _MODEL_OF_NAME[name]
    own = (_STEREOGRAPHIC,) if model == "ucm" else ()
    return fields.camera(model, width, height, (*fields.numbers("intrinsics"), *own)), None
