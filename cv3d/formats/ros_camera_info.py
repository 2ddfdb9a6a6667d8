"""ROS: the calibration file of camera_calibration_parsers, and sensor_msgs/CameraInfo as `rostopic echo` prints it.

K and D describe the pictures as the driver publishes them, before rectification; R and P describe the rectified ones
that image_proc makes of them, and hold nothing that the camera itself lacks. They are not read. K is of the full
sensor: where binning or a region of interest is set, the pictures are others (REP 104), and image_geometry's rule for
them neglects the half pixel by which binning moves centres; such messages are refused. K[0] = 0 marks an uncalibrated
camera. Pixel origin: the centre of the top-left pixel.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.camera_file import CameraFile, ReadOptions, alone
from cv3d.formats.content import Content, first_document
from cv3d.formats.fields import Fields, exact_list, parse_yaml
from cv3d.geometry.cameras.rig import Rig, RigCamera

_DISTORTION_OF_MODEL = {
    "pinhole": "plumb_bob",
    "brown4": "plumb_bob",
    "brown5": "plumb_bob",
    "brown8": "rational_polynomial",
    "kannala_brandt4": "equidistant",
}
_COUNTS = {"plumb_bob": (5, 4, 0), "rational_polynomial": (8,), "equidistant": (4,)}
"""Numbers of coefficients, the first of them being written."""
MODELS = tuple(_DISTORTION_OF_MODEL)


def encode(rig: Rig) -> bytes:
    """A calibration file for an unrectified, monocular camera.

    plumb_bob always has five coefficients: those that the camera's model lacks are zero. `camera_name`, which drivers
    compare with their own, is the camera's name.
    """
    fx, fy, cx, cy = rig.cameras[0].camera.params[:4]
    return encode_rectified(
        rig.cameras[0], np.eye(3), np.array([[fx, 0.0, cx, 0.0], [0.0, fy, cy, 0.0], [0.0, 0.0, 1.0, 0.0]])
    )


def encode_rectified(one: RigCamera, rotation: NDArray[np.float64], projection: NDArray[np.float64]) -> bytes:
    """A calibration file for a camera of a stereo pair.

    Args:
        one: the camera, of a model that ROS has.
        rotation: from the camera to its rectified view, (3, 3): R.
        projection: from points in the first rectified view to pixels of this camera's, (3, 4): P. That of the second
            camera holds the baseline, in metres.
    """
    camera = one.camera
    distortion = _DISTORTION_OF_MODEL[camera.model]
    coefficients = camera.shape + (0.0,) * (_COUNTS[distortion][0] - len(camera.shape))
    fx, fy, cx, cy = camera.params[:4]
    lines = [
        f"image_width: {camera.width}",
        f"image_height: {camera.height}",
        f"camera_name: {json.dumps(one.name)}",
        *_matrix("camera_matrix", 3, 3, (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)),
        f"distortion_model: {distortion}",
        *_matrix("distortion_coefficients", 1, len(coefficients), coefficients),
        *_matrix("rectification_matrix", 3, 3, tuple(rotation.ravel().tolist())),
        *_matrix("projection_matrix", 3, 4, tuple(projection.ravel().tolist())),
    ]
    return ("\n".join(lines) + "\n").encode()


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The unrectified camera of a calibration file or a message, as the simplest model that says the same.

    plumb_bob without k3 is `brown4`, without any coefficient `pinhole`.

    Raises:
        FormatError: a field is missing, the camera is not calibrated, the pictures are binned or cut, or the
            distortion model is unknown.
    """
    if content.text is None:
        raise FormatError(f"{content.source}: not readable as YAML: it is no text")
    fields = parse_yaml(first_document(content.text), content.source)
    _refuse_partial_pictures(fields)
    name = fields.text("camera_name") if "camera_name" in fields else "camera"
    matrix = _data(fields, _present(fields, "camera_matrix", "K", "k"), 9)
    fx, skew, cx, _, fy, cy, *_ = matrix
    if not any(matrix[:2]):
        fields.fail("is of a camera that is not calibrated: its K is zero")
    if skew != 0.0:
        fields.fail("field 'camera_matrix' holds skew, which cv3d's models do not have")
    model, shape = _lens(fields)
    width, height = fields.size(
        _present(fields, "image_width", "width"), _present(fields, "image_height", "height"), options.size
    )
    return CameraFile(alone(fields.camera(model, width, height, (fx, fy, cx, cy, *shape)), name or "camera"), "ros")


def _lens(fields: Fields) -> tuple[str, tuple[float, ...]]:
    """The model and its shape parameters."""
    distortion = fields.text("distortion_model")
    if distortion == "fisheye":
        distortion = "equidistant"
    if distortion not in _COUNTS:
        fields.fail(f"field 'distortion_model' is '{distortion}'; known are {', '.join(_COUNTS)}")
    shape = _data(fields, _present(fields, "distortion_coefficients", "D", "d"), *_COUNTS[distortion])
    if distortion != "plumb_bob":
        return {"rational_polynomial": "brown8", "equidistant": "kannala_brandt4"}[distortion], shape
    if any(shape[4:]):
        return "brown5", shape
    return ("brown4", shape[:4]) if any(shape) else ("pinhole", ())


def _refuse_partial_pictures(fields: Fields) -> None:
    for name in ("binning_x", "binning_y"):
        if name in fields and fields.integer(name) > 1:
            fields.fail(
                f"its pictures are binned ('{name}' is {fields.integer(name)}) while its parameters are of the full "
                "sensor; give the camera_info of unbinned pictures"
            )
    if "roi" in fields:
        roi = fields.part("roi")
        if any(name in roi and roi.integer(name) for name in ("x_offset", "y_offset", "width", "height")):
            fields.fail(
                "its pictures are a region of the sensor ('roi' is set) while its parameters are of the full one; "
                "give the camera_info of whole pictures"
            )


def _present(fields: Fields, *names: str) -> str:
    """The first of the names that the file has, else the first at all."""
    return next((name for name in names if name in fields), names[0])


def _matrix(name: str, rows: int, cols: int, data: tuple[float, ...]) -> list[str]:
    return [f"{name}:", f"  rows: {rows}", f"  cols: {cols}", f"  data: {exact_list(data)}"]


def _data(fields: Fields, name: str, *counts: int) -> tuple[float, ...]:
    if name in fields and not fields.is_part(name):
        return fields.numbers(name, *counts)
    return fields.part(name).numbers("data", *counts)
