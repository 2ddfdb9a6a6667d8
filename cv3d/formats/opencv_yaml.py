"""OpenCV's FileStorage YAML, with the field names of its calibration sample.

OpenCV has no field for the kind of lens; `distortion_model` says it here, and files without it are read by the number
of their coefficients, as cv::projectPoints does. Pixel origin: the centre of the top-left pixel, as in cv3d.
"""

from __future__ import annotations

import yaml

from cv3d.formats.fields import Fields, cannot_say, exact, exact_list, parse_yaml
from cv3d.geometry.cameras.camera import Camera

_MODEL_OF_NAME = {
    "none": "pinhole",
    "brown4": "brown4",
    "brown5": "brown5",
    "brown8": "brown8",
    "brown12": "brown12",
    "fisheye": "kannala_brandt4",
    "omnidir": "omni",
}
_NAME_OF_MODEL = {model: name for name, model in _MODEL_OF_NAME.items()}
_MODEL_OF_COUNT = {0: "pinhole", 4: "brown4", 5: "brown5", 8: "brown8", 12: "brown12", 14: "brown12"}


def dumps(camera: Camera) -> str:
    """The text of a file that cv2.FileStorage reads: image_width, image_height, camera_matrix, distortion_coefficients.

    The coefficients are a column in OpenCV's order. For `omni` they are k1 k2 p1 p2, and `xi` stands beside them.

    Raises:
        FormatError: OpenCV has no such model.
    """
    if camera.model not in _NAME_OF_MODEL:
        raise cannot_say(camera, "OpenCV", list(_NAME_OF_MODEL))
    fx, fy, cx, cy = camera.params[:4]
    is_omni = camera.model == "omni"
    coefficients = camera.shape[1:] if is_omni else camera.shape
    lines = [
        "%YAML:1.0",
        "---",
        f"image_width: {camera.width}",
        f"image_height: {camera.height}",
        f"distortion_model: {_NAME_OF_MODEL[camera.model]}",
        *_matrix("camera_matrix", 3, 3, (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)),
        *_matrix("distortion_coefficients", len(coefficients) or 5, 1, coefficients or (0.0,) * 5),
    ]
    if is_omni:
        lines.append(f"xi: {exact(camera.shape[0])}")
    return "\n".join(lines) + "\n"


def loads(text: str, source: str = "") -> Camera:
    """The camera of an OpenCV calibration file.

    Files of OpenCV's own samples are read as well: without `distortion_model`, the coefficients' number tells the
    model, or `fisheye_model: 1`.

    Raises:
        FormatError: a field is missing, or there is skew or sensor tilt, which cv3d's models do not have.
    """
    first, _, rest = text.partition("\n")
    fields = parse_yaml(rest if first.startswith("%YAML") else text, source, _Loader)
    fx, skew, cx, _, fy, cy, *last = _data(fields, "camera_matrix", 9)
    if skew != 0.0 or last != [0.0, 0.0, 1.0]:
        fields.fail("field 'camera_matrix' holds skew or is not a calibration matrix")
    coefficients = _data(fields, "distortion_coefficients", *_MODEL_OF_COUNT)
    model = _model(fields, len(coefficients))
    shape = coefficients
    if model == "pinhole":
        if any(coefficients):
            fields.fail("field 'distortion_model' is 'none', but there are distortion coefficients")
        shape = ()
    elif model == "omni":
        shape = (fields.number("xi"), *coefficients)
    elif len(coefficients) == 14:
        if any(coefficients[12:]):
            fields.fail("field 'distortion_coefficients' holds a sensor tilt (taux, tauy), which cv3d has no model for")
        shape = coefficients[:12]
    return fields.camera(model, fields.integer("image_width"), fields.integer("image_height"), (fx, fy, cx, cy, *shape))


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with OpenCV's matrices."""


def _construct_matrix(loader: _Loader, node: yaml.MappingNode) -> object:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", _construct_matrix)


def _matrix(name: str, rows: int, cols: int, data: tuple[float, ...]) -> list[str]:
    return [
        f"{name}: !!opencv-matrix",
        f"   rows: {rows}",
        f"   cols: {cols}",
        "   dt: d",
        f"   data: {exact_list(data)}",
    ]


def _data(fields: Fields, name: str, *counts: int) -> tuple[float, ...]:
    part = fields.part(name)
    data = part.numbers("data", *counts)
    if part.integer("rows") * part.integer("cols") != len(data):
        fields.fail(
            f"field '{name}' says {part.integer('rows')} x {part.integer('cols')}, but holds {len(data)} numbers"
        )
    return data


def _model(fields: Fields, count: int) -> str:
    if "distortion_model" in fields:
        name = fields.text("distortion_model")
        if name not in _MODEL_OF_NAME:
            fields.fail(f"field 'distortion_model' is '{name}'; known are {', '.join(_MODEL_OF_NAME)}")
        return _MODEL_OF_NAME[name]
    if "fisheye_model" in fields and fields.integer("fisheye_model") == 1:
        return "kannala_brandt4"
    if "xi" in fields:
        return "omni"
    return _MODEL_OF_COUNT[count]
