"""EuRoC's sensor.yaml of a camera (Burri et al., "The EuRoC micro aerial vehicle datasets", IJRR 2016).

`T_BS` takes points of the sensor to the body's frame. `intrinsics` are fu fv cu cv; `distortion_coefficients` are
OpenCV's k1 k2 p1 p2 for radial-tangential, and k1..k4 for equidistant, which data sets of the same layout added. Pixel
origin: the centre of the top-left pixel. Each camera has a file in a folder of its own, cam0/sensor.yaml. cv3d knows
no body: the first camera's frame is written in its place.
"""

from __future__ import annotations

import json

import numpy as np

from cv3d.errors import FormatError
from cv3d.formats.camera_file import CameraFile, ReadOptions
from cv3d.formats.content import Content, OpenCvLoader, without_directive
from cv3d.formats.fields import exact_list, parse_yaml
from cv3d.formats.poses import read_transform
from cv3d.geometry.cameras.rig import Rig, RigCamera, inverse_rigid

_DISTORTION_OF_MODEL = {
    "pinhole": "radial-tangential",
    "brown4": "radial-tangential",
    "kannala_brandt4": "equidistant",
}
_MODEL_OF_DISTORTION = {
    "radial-tangential": "brown4",
    "radtan": "brown4",
    "equidistant": "kannala_brandt4",
    "none": "pinhole",
}
MODELS = tuple(_DISTORTION_OF_MODEL)


def encode(rig: Rig) -> bytes:
    """A sensor.yaml of one camera; its pose relative to the rig's first camera, where it is known."""
    one = rig.cameras[0]
    body_from_camera = np.eye(4) if one.cam_from_cam0 is None else inverse_rigid(one.cam_from_cam0)
    lines = [
        "%YAML:1.0",
        "sensor_type: camera",
        f"comment: {json.dumps(one.name)}",
        "T_BS:",
        "  cols: 4",
        "  rows: 4",
        f"  data: {exact_list(body_from_camera.ravel().tolist())}",
        f"resolution: [{one.camera.width}, {one.camera.height}]",
        "camera_model: pinhole",
        f"intrinsics: {exact_list(one.camera.params[:4])}",
        f"distortion_model: {_DISTORTION_OF_MODEL[one.camera.model]}",
        f"distortion_coefficients: {exact_list(one.camera.shape or (0.0,) * 4)}",
    ]
    return ("\n".join(lines) + "\n").encode()


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The camera of a file; `cam_from_cam0` is camera_from_body, for a reader of several such files to relate.

    Raises:
        FormatError: a field is missing or not what it should be, or cv3d does not have the model.
    """
    if content.text is None:
        raise FormatError(f"{content.source}: not readable as YAML: it is no text")
    fields = parse_yaml(without_directive(content.text), content.source, OpenCvLoader)
    projection = fields.text("camera_model") if "camera_model" in fields else "pinhole"
    distortion = fields.text("distortion_model")
    if projection != "pinhole" or distortion not in _MODEL_OF_DISTORTION:
        known = ", ".join(_MODEL_OF_DISTORTION)
        fields.fail(f"cv3d has no equal of {projection} with {distortion} here; it reads pinhole with {known}")
    model = _MODEL_OF_DISTORTION[distortion]
    shape = fields.numbers("distortion_coefficients", 4) if model != "pinhole" else ()
    if model == "brown4" and not any(shape):
        model, shape = "pinhole", ()
    if "resolution" in fields:
        width, height = (round(number) for number in fields.numbers("resolution", 2))
        fields.agreed_size((width, height), options.size)
    else:
        width, height = fields.missing_size(options.size)
    camera = fields.camera(model, width, height, (*fields.numbers("intrinsics", 4), *shape))
    pose = None
    if "T_BS" in fields:
        is_matrix = fields.is_part("T_BS")
        numbers = fields.part("T_BS").numbers("data", 16) if is_matrix else fields.numbers("T_BS", 16)
        pose = inverse_rigid(read_transform(fields, "T_BS", numbers))
    return CameraFile(Rig((RigCamera("camera", camera, pose),)), "euroc")
