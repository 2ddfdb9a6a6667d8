"""COLMAP's cameras.txt: one line a camera, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS…".

COLMAP's pixel origin is the corner of the top-left pixel: its principal point is cv3d's plus one half.
"""

from __future__ import annotations

from collections.abc import Mapping

from cv3d.errors import FormatError
from cv3d.formats.fields import Fields, cannot_say, exact
from cv3d.geometry.cameras.camera import Camera

_NAME_OF_MODEL = {
    "pinhole": "PINHOLE",
    "brown4": "OPENCV",
    "brown5": "FULL_OPENCV",
    "brown8": "FULL_OPENCV",
    "kannala_brandt4": "OPENCV_FISHEYE",
}
_SHAPES = {
    "SIMPLE_PINHOLE": ("pinhole", 1, 0),
    "PINHOLE": ("pinhole", 2, 0),
    "SIMPLE_RADIAL": ("brown4", 1, 1),
    "RADIAL": ("brown4", 1, 2),
    "OPENCV": ("brown4", 2, 4),
    "FULL_OPENCV": ("brown8", 2, 8),
    "SIMPLE_RADIAL_FISHEYE": ("kannala_brandt4", 1, 1),
    "RADIAL_FISHEYE": ("kannala_brandt4", 1, 2),
    "OPENCV_FISHEYE": ("kannala_brandt4", 2, 4),
}
"""cv3d's model, and how many focal lengths and coefficients there are; those that are not there are zero."""
_COEFFICIENT_COUNT = {"pinhole": 0, "brown4": 4, "brown8": 8, "kannala_brandt4": 4}
_CORNER = 0.5


def dumps(camera: Camera, camera_id: int = 1) -> str:
    """The text of a cameras.txt of one camera.

    Raises:
        FormatError: COLMAP has no such model.
    """
    return dumps_all({camera_id: camera})


def dumps_all(cameras: Mapping[int, Camera]) -> str:
    """The text of a cameras.txt, cameras by their ids.

    Raises:
        FormatError: COLMAP has no model for one of them.
    """
    lines = [
        "# Camera list with one line of data per camera:",
        "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]",
        f"# Number of cameras: {len(cameras)}",
    ]
    for camera_id, camera in cameras.items():
        if camera.model not in _NAME_OF_MODEL:
            raise cannot_say(camera, "COLMAP", list(_NAME_OF_MODEL))
        fx, fy, cx, cy = camera.params[:4]
        shape = camera.shape + (0.0,) * 3 if camera.model == "brown5" else camera.shape
        params = " ".join(exact(value) for value in (fx, fy, cx + _CORNER, cy + _CORNER, *shape))
        lines.append(f"{camera_id} {_NAME_OF_MODEL[camera.model]} {camera.width} {camera.height} {params}")
    return "\n".join(lines) + "\n"


def loads(text: str, source: str = "") -> Camera:
    """The camera of a cameras.txt of one camera.

    Raises:
        FormatError: it holds several cameras, a line is not understood, or cv3d does not have its model.
    """
    cameras = loads_all(text, source)
    if len(cameras) != 1:
        where = f"{source}: " if source else ""
        raise FormatError(f"{where}holds {len(cameras)} cameras where one is expected")
    return next(iter(cameras.values()))


def loads_all(text: str, source: str = "") -> dict[int, Camera]:
    """All cameras of a cameras.txt by their ids.

    FULL_OPENCV without k4, k5, k6 is `brown5`.

    Raises:
        FormatError: a line is not understood, or cv3d does not have its model.
    """
    cameras: dict[int, Camera] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{source}, line {number}" if source else f"line {number}"
        if len(words) < 5:
            raise FormatError(f"{where}: should be CAMERA_ID MODEL WIDTH HEIGHT PARAMS, but is '{line.strip()}'")
        fields = Fields({"CAMERA_ID": words[0], "WIDTH": words[2], "HEIGHT": words[3], "PARAMS": words[4:]}, where)
        camera_id = fields.integer("CAMERA_ID")
        if camera_id in cameras:
            fields.fail(f"camera {camera_id} is there twice")
        cameras[camera_id] = _camera(words[1], fields)
    return cameras


def _camera(name: str, fields: Fields) -> Camera:
    if name not in _SHAPES:
        fields.fail(f"cv3d has no equal of COLMAP's camera model {name}; it reads {', '.join(_SHAPES)}")
    model, focal_count, coefficient_count = _SHAPES[name]
    values = fields.numbers("PARAMS", focal_count + 2 + coefficient_count)
    fx, fy = values[0], values[focal_count - 1]
    cx, cy, *given = values[focal_count:]
    shape = (*given, *(0.0,) * (_COEFFICIENT_COUNT[model] - len(given)))
    if model == "brown8" and not any(shape[5:]):
        model, shape = "brown5", shape[:5]
    return fields.camera(
        model, fields.integer("WIDTH"), fields.integer("HEIGHT"), (fx, fy, cx - _CORNER, cy - _CORNER, *shape)
    )
