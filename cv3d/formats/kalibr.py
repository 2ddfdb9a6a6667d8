"""Kalibr's camchain.yaml. Pixel origin: the centre of the top-left pixel, as in cv3d.

Kalibr names a projection (`camera_model`) and a distortion on top of it, and puts the projection's own parameters
before the focal lengths: omni xi fu fv pu pv; ds xi alpha fu fv pu pv; eucm alpha beta fu fv pu pv.

Its omni divides by z + xi d, where cv3d's `ucm` divides by alpha d + (1 - alpha) z, which is (1 - alpha) (z + xi d)
with xi = alpha / (1 - alpha). So its focal lengths are cv3d's divided by 1 - alpha.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from cv3d.errors import FormatError
from cv3d.formats.fields import Fields, cannot_say, exact_list, parse_yaml
from cv3d.geometry.cameras.camera import Camera

_NAMES_OF_MODEL = {
    "pinhole": ("pinhole", "none"),
    "brown4": ("pinhole", "radtan"),
    "kannala_brandt4": ("pinhole", "equidistant"),
    "ucm": ("omni", "none"),
    "omni": ("omni", "radtan"),
    "eucm": ("eucm", "none"),
    "double_sphere": ("ds", "none"),
}
"""camera_model and distortion_model of each of cv3d's models that Kalibr has."""
_MODEL_OF_NAMES = {names: model for model, names in _NAMES_OF_MODEL.items()}
_OWN_COUNT = {"pinhole": 0, "omni": 1, "eucm": 2, "ds": 2}
_COEFFICIENT_COUNT = {"none": 0, "radtan": 4, "equidistant": 4}


def dumps(camera: Camera, topic: str = "/cam0/image_raw") -> str:
    """The text of a camchain of one camera.

    Args:
        camera: the camera.
        topic: its `rostopic`.

    Raises:
        FormatError: Kalibr has no such model.
    """
    return dumps_chain({"cam0": camera}, {"cam0": topic})


def dumps_chain(cameras: Mapping[str, Camera], topics: Mapping[str, str]) -> str:
    """The text of a camchain of several cameras, without their relative poses.

    Args:
        cameras: by their names in the file, "cam0", "cam1"…
        topics: the `rostopic` of each.

    Raises:
        FormatError: Kalibr has no model for one of them.
    """
    lines = []
    for name, camera in cameras.items():
        camera_model, distortion_model, intrinsics, coefficients = _to_kalibr(camera)
        lines += [
            f"{name}:",
            f"  camera_model: {camera_model}",
            f"  intrinsics: {exact_list(intrinsics)}",
            f"  distortion_model: {distortion_model}",
            f"  distortion_coeffs: {exact_list(coefficients)}",
            f"  resolution: [{camera.width}, {camera.height}]",
            f"  rostopic: {json.dumps(topics[name])}",
        ]
    return "\n".join(lines) + "\n"


def loads(text: str, source: str = "") -> Camera:
    """The camera of a camchain of one camera.

    Raises:
        FormatError: it holds several cameras, a field is missing, or cv3d has no model for its pair of models.
    """
    cameras = loads_chain(text, source)
    if len(cameras) != 1:
        where = f"{source}: " if source else ""
        raise FormatError(f"{where}holds {len(cameras)} cameras ({', '.join(cameras)}) where one is expected")
    return next(iter(cameras.values()))


def loads_chain(text: str, source: str = "") -> dict[str, Camera]:
    """All cameras of a camchain by their names, in the file's order; their relative poses are not read.

    Raises:
        FormatError: a field is missing, or cv3d has no model for a pair of models.
    """
    fields = parse_yaml(text, source)
    return {name: _from_kalibr(fields.part(name)) for name in fields.names()}


def _to_kalibr(camera: Camera) -> tuple[str, str, Sequence[float], Sequence[float]]:
    """camera_model, distortion_model, intrinsics and distortion_coeffs."""
    if camera.model not in _NAMES_OF_MODEL:
        raise cannot_say(camera, "Kalibr", list(_NAMES_OF_MODEL))
    camera_model, distortion_model = _NAMES_OF_MODEL[camera.model]
    affine, shape = camera.params[:4], camera.shape
    own_count = _OWN_COUNT[camera_model]
    if camera.model == "ucm":
        (alpha,) = shape
        if alpha >= 1.0:
            raise FormatError(f"Kalibr's omni model has no equal of 'ucm' with alpha = {alpha!r}: it needs alpha < 1")
        fx, fy, cx, cy = affine
        return (
            camera_model,
            distortion_model,
            (alpha / (1.0 - alpha), fx / (1.0 - alpha), fy / (1.0 - alpha), cx, cy),
            (),
        )
    return camera_model, distortion_model, (*shape[:own_count], *affine), shape[own_count:]


def _from_kalibr(fields: Fields) -> Camera:
    camera_model, distortion_model = fields.text("camera_model"), fields.text("distortion_model")
    if (camera_model, distortion_model) not in _MODEL_OF_NAMES:
        known = ", ".join(f"{a}-{b}" for a, b in _MODEL_OF_NAMES)
        fields.fail(f"cv3d has no model for Kalibr's {camera_model}-{distortion_model}; it reads {known}")
    model = _MODEL_OF_NAMES[camera_model, distortion_model]
    own_count = _OWN_COUNT[camera_model]
    intrinsics = fields.numbers("intrinsics", own_count + 4)
    own, affine = intrinsics[:own_count], intrinsics[own_count:]
    count = _COEFFICIENT_COUNT[distortion_model]
    coefficients = fields.numbers("distortion_coeffs", count) if count else ()
    width, height = fields.numbers("resolution", 2)
    if width != int(width) or height != int(height):
        fields.fail("field 'resolution' should hold whole numbers")
    if model == "ucm":
        (xi,) = own
        if xi <= -0.5:
            fields.fail(f"an omni camera with xi = {xi!r} has no equal in cv3d: it needs xi > -0.5")
        fx, fy, cx, cy = affine
        return fields.camera(
            model, int(width), int(height), (fx / (1.0 + xi), fy / (1.0 + xi), cx, cy, xi / (1.0 + xi))
        )
    return fields.camera(model, int(width), int(height), (*affine, *own, *coefficients))
