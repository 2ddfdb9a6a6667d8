"""The calibration file of ROS's camera_calibration_parsers, which camera drivers publish as sensor_msgs/CameraInfo.

Pixel origin: the centre of the top-left pixel, as in cv3d.
"""

from __future__ import annotations

import json

from cv3d.formats.fields import Fields, cannot_say, exact_list, parse_yaml
from cv3d.geometry.cameras.camera import Camera

_DISTORTION_OF_MODEL = {
    "pinhole": "plumb_bob",
    "brown4": "plumb_bob",
    "brown5": "plumb_bob",
    "brown8": "rational_polynomial",
    "kannala_brandt4": "equidistant",
}
_COUNT_OF_DISTORTION = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}


def dumps(camera: Camera, name: str = "camera") -> str:
    """The text of a ROS calibration file for an unrectified, monocular camera.

    plumb_bob always has five coefficients: those that the camera's model lacks are zero.

    Args:
        camera: the camera.
        name: camera_name, which drivers compare with their own.

    Raises:
        FormatError: ROS has no such model.
    """
    if camera.model not in _DISTORTION_OF_MODEL:
        raise cannot_say(camera, "ROS camera_info", list(_DISTORTION_OF_MODEL))
    distortion = _DISTORTION_OF_MODEL[camera.model]
    coefficients = camera.shape + (0.0,) * (_COUNT_OF_DISTORTION[distortion] - len(camera.shape))
    fx, fy, cx, cy = camera.params[:4]
    lines = [
        f"image_width: {camera.width}",
        f"image_height: {camera.height}",
        f"camera_name: {json.dumps(name)}",
        *_matrix("camera_matrix", 3, 3, (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)),
        f"distortion_model: {distortion}",
        *_matrix("distortion_coefficients", 1, len(coefficients), coefficients),
        *_matrix("rectification_matrix", 3, 3, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)),
        *_matrix("projection_matrix", 3, 4, (fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0)),
    ]
    return "\n".join(lines) + "\n"


def loads(text: str, source: str = "") -> Camera:
    """The unrectified camera of a ROS calibration file, as the simplest model that says the same.

    plumb_bob without k3 is `brown4`, without any coefficient `pinhole`.

    Raises:
        FormatError: a field is missing, or the distortion model is unknown.
    """
    fields = parse_yaml(text, source)
    fx, skew, cx, _, fy, cy, *_ = _data(fields, "camera_matrix", 9)
    if skew != 0.0:
        fields.fail("field 'camera_matrix' holds skew, which cv3d's models do not have")
    distortion = fields.text("distortion_model")
    if distortion not in _COUNT_OF_DISTORTION:
        fields.fail(f"field 'distortion_model' is '{distortion}'; known are {', '.join(_COUNT_OF_DISTORTION)}")
    shape = _data(fields, "distortion_coefficients", _COUNT_OF_DISTORTION[distortion])
    model = {"rational_polynomial": "brown8", "equidistant": "kannala_brandt4"}.get(distortion, "brown5")
    if model == "brown5" and shape[4] == 0.0:
        model, shape = ("brown4", shape[:4]) if any(shape) else ("pinhole", ())
    return fields.camera(model, fields.integer("image_width"), fields.integer("image_height"), (fx, fy, cx, cy, *shape))


def _matrix(name: str, rows: int, cols: int, data: tuple[float, ...]) -> list[str]:
    return [f"{name}:", f"  rows: {rows}", f"  cols: {cols}", f"  data: {exact_list(data)}"]


def _data(fields: Fields, name: str, count: int) -> tuple[float, ...]:
    return fields.part(name).numbers("data", count)
