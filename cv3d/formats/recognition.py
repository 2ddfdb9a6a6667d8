"""Which format a file is in, by what is in it; its name only helps to say what it should have been."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from cv3d.errors import FormatError
from cv3d.formats.colmap_binary import looks_like as looks_like_colmap
from cv3d.formats.content import Content

_COLMAP_LINE = re.compile(r"^\s*\d+\s+[A-Z][A-Z_0-9]+\s+\d+\s+\d+(\s+\S+)*\s*$", re.MULTILINE)
_FRONT = 2000
_MAGIC = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "an archive, or a numpy .npz",
}
_PLAIN_NUMBERS = re.compile(r"[\s\d.,;eE+-]+")
_NAMED = 6


def recognise(content: Content) -> str:
    """The name of the format, a key of `cv3d.formats.FORMATS`, or "caliscope".

    Raises:
        FormatError: it is none that cv3d knows.
    """
    _refuse_other_sensors(content)
    for name, is_it in _SIGNS.items():
        if is_it(content):
            return name
    hint = _format_of_name(content)
    if hint is not None:
        return hint
    raise FormatError(
        f"{content.source}: is no camera file that cv3d knows (cv3d, OpenCV, ROS, Kalibr, COLMAP, mrcal, nerfstudio, "
        f"Basalt, EuRoC): {_description(content)}"
    )


def _description(content: Content) -> str:
    """What a file is that is in no known format, as far as it can be seen."""
    if kind := next((kind for magic, kind in _MAGIC.items() if content.data.startswith(magic)), None):
        return f"it is {kind}"
    if content.text is None:
        return "it is no text"
    parsed = content.json or content.yaml
    if isinstance(parsed, Mapping):
        names = [str(name) for name in parsed][:_NAMED]
        return f"its fields are {', '.join(names)}{', …' if len(parsed) > _NAMED else ''}"
    if _PLAIN_NUMBERS.fullmatch(content.text):
        return (
            "it holds numbers without names; write them into a file of one of these formats, e.g. a line "
            "'1 PINHOLE width height fx fy cx cy' into a cameras.txt of COLMAP, whose cx and cy are larger by 0.5"
        )
    return "it is a text of another kind"


def _refuse_other_sensors(content: Content) -> None:
    """See that a file of EuRoC's layout is not of an IMU or of ground truth."""
    fields = content.yaml or {}
    kind = fields.get("sensor_type", "camera")
    if kind != "camera" and "intrinsics" not in fields:
        raise FormatError(f"{content.source}: is of a sensor of type '{kind}', not of a camera")


def _json(content: Content) -> Mapping[str, object]:
    return content.json if isinstance(content.json, dict) else {}


def _is_cv3d(content: Content) -> bool:
    return str(_json(content).get("schema", "")).startswith("cv3d.")


def _is_basalt(content: Content) -> bool:
    value = _json(content).get("value0")
    return isinstance(value, dict) and "intrinsics" in value


def _is_nerfstudio(content: Content) -> bool:
    return any(key in _json(content) for key in ("fl_x", "camera_angle_x", "frames"))


def _is_opencv(content: Content) -> bool:
    if any(isinstance(value, dict) and value.get("type_id") == "opencv-matrix" for value in _json(content).values()):
        return True
    return "!!opencv-matrix" in (content.text or "") and not _is_euroc(content)


def _is_opencv_xml(content: Content) -> bool:
    return "<opencv_storage" in (content.text or "")[:_FRONT]


def _is_mrcal(content: Content) -> bool:
    return isinstance(content.python, dict) and bool(
        content.python.keys() & {"lensmodel", "lens_model", "distortion_model"}
    )


def _is_kalibr(content: Content) -> bool:
    values = (content.yaml or {}).values()
    return any(isinstance(value, Mapping) and "camera_model" in value and "intrinsics" in value for value in values)


def _is_euroc(content: Content) -> bool:
    fields = content.yaml or {}
    return "intrinsics" in fields and bool({"T_BS", "sensor_type", "rate_hz"} & fields.keys())


def _is_ros(content: Content) -> bool:
    fields = content.yaml or {}
    return "camera_matrix" in fields or {"K", "D"} <= fields.keys() or {"k", "d"} <= fields.keys()


def _is_colmap(content: Content) -> bool:
    lines = [line for line in (content.text or "").splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return bool(lines) and _COLMAP_LINE.match(lines[0]) is not None


def _is_colmap_binary(content: Content) -> bool:
    return content.text is None and looks_like_colmap(content.data)


def _is_caliscope(content: Content) -> bool:
    return bool(re.search(r"^\[cameras\.[^\]]+\]", content.text or "", re.MULTILINE))


_SIGNS: dict[str, Callable[[Content], bool]] = {
    "cv3d": _is_cv3d,
    "basalt": _is_basalt,
    "nerfstudio": _is_nerfstudio,
    "opencv": _is_opencv,
    "opencv-xml": _is_opencv_xml,
    "mrcal": _is_mrcal,
    "kalibr": _is_kalibr,
    "euroc": _is_euroc,
    "ros": _is_ros,
    "colmap": _is_colmap,
    "colmap-bin": _is_colmap_binary,
    "caliscope": _is_caliscope,
}
"""What tells each format, the surer ones first."""

_NAMES = {
    "camera.json": "cv3d",
    "rig.json": "cv3d",
    "transforms.json": "nerfstudio",
    "sensor.yaml": "euroc",
    "camera_info.yaml": "ros",
    "camchain.yaml": "kalibr",
    "cameras.txt": "colmap",
    "cameras.bin": "colmap-bin",
}


def _format_of_name(content: Content) -> str | None:
    """What a file of this name, which is none by its content, was meant to be: its reader says what is wrong."""
    path = Path(content.source)
    if path.suffix == ".cameramodel":
        return "mrcal"
    if path.suffix == ".xml" and (content.text or "").lstrip().startswith("<"):
        return "opencv-xml"
    if (content.text or "").startswith("%YAML"):
        return "opencv"
    return next((name for ending, name in _NAMES.items() if path.name.endswith(ending)), None)
