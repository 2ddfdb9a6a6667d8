"""OpenCV's calibration files: the fields, whichever notation its FileStorage wrote them in.

OpenCV prescribes the notation, not the names. Written here are those of its samples: `camera_matrix` and
`distortion_coefficients` for one camera (samples/cpp/calibration.cpp); M1 D1 M2 D2 R T for two
(samples/cpp/stereo_calib.cpp). Read are these and what else is common. It has no field for the kind of lens;
`distortion_model` says it here, and files without it are read by the number of their coefficients, as
cv::projectPoints does. Pixel origin: the centre of the top-left pixel. R and T of a pair take points of the first
camera to the second (cv::stereoCalibrate): they are cam1_from_cam0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.camera_file import ReadOptions, alone
from cv3d.formats.fields import Fields
from cv3d.formats.poses import compose, read_rotation, rotation_from_vector
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

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
_ROS_NAMES = {"plumb_bob": "", "radtan": "", "rational_polynomial": "", "equidistant": "kannala_brandt4"}
"""Names that ROS programs give to lenses in files of this notation; "": the number of coefficients tells the model."""
_MODEL_OF_COUNT = {0: "pinhole", 4: "brown4", 5: "brown5", 8: "brown8", 12: "brown12", 14: "brown12"}
MODELS = tuple(_NAME_OF_MODEL)

Entry: TypeAlias = int | float | str | NDArray[np.float64]
"""What a field holds."""


@dataclass(frozen=True)
class _Names:
    """What the fields of one camera are called in a file."""

    matrix: str
    coefficients: str
    suffix: str
    """Stands after the names of the other fields."""


_SINGLE = (
    ("camera_matrix", "distortion_coefficients"),
    ("cameraMatrix", "distCoeffs"),
    ("Camera_Matrix", "Distortion_Coefficients"),
    ("camera_matrix", "dist_coeffs"),
    ("camera_matrix", "distortion"),
    ("intrinsic_matrix", "distortion_coefficients"),
    ("K", "D"),
    ("M", "D"),
    ("mtx", "dist"),
)
_PAIRED = (("M", "D"), ("K", "D"), *_SINGLE)
_SUFFIXES = (("1", "2"), ("_1", "_2"), ("_left", "_right"), ("_l", "_r"), ("Left", "Right"), ("L", "R"), ("0", "1"))
_WIDTH_HEIGHT = (("image_width", "image_height"), ("image_Width", "image_Height"), ("width", "height"))
_SIZES = ("image_size", "imageSize", "img_size", "size", "resolution")


def to_entries(rig: Rig) -> dict[str, Entry]:
    """The fields of a file of one camera or of two."""
    cameras = [one.camera for one in rig.cameras]
    if len(cameras) == 1:
        return _size_entries(cameras[0], "") | _camera_entries(
            cameras[0], _Names("camera_matrix", "distortion_coefficients", "")
        )
    sizes = {(camera.width, camera.height) for camera in cameras}
    entries: dict[str, Entry] = _size_entries(cameras[0], "") if len(sizes) == 1 else {}
    for number, camera in zip("12", cameras, strict=True):
        if len(sizes) > 1:
            entries |= _size_entries(camera, number)
        entries |= _camera_entries(camera, _Names(f"M{number}", f"D{number}", number))
    if rig.is_posed:
        cam1_from_cam0 = rig.cam_from_cam(1, 0)
        entries |= {"R": cam1_from_cam0[:3, :3], "T": cam1_from_cam0[:3, 3:]}
    return entries


def from_fields(fields: Fields, options: ReadOptions) -> Rig:
    """The camera of a file of one, or the two of a stereo file.

    Files of OpenCV's own samples are read as well: without `distortion_model`, the coefficients' number tells the
    model, or `fisheye_model: 1`.

    Raises:
        FormatError: a field is missing, or there is skew or sensor tilt, which cv3d's models do not have.
    """
    pair = _find_pair(fields)
    single = _find(fields, _SINGLE, "")
    if pair is None or single is not None:
        if single is None:
            fields.fail("field 'camera_matrix' is missing: this is no calibration of OpenCV")
        return alone(_camera(fields, single, options))
    cameras = [_camera(fields, names, options) for names in pair]
    pose = _pair_pose(fields)
    return Rig(
        (
            RigCamera("cam0", cameras[0], None if pose is None else np.eye(4)),
            RigCamera("cam1", cameras[1], pose),
        )
    )


def matrix_data(fields: Fields, name: str, *counts: int) -> tuple[float, ...]:
    """The numbers of a matrix, row by row: of OpenCV's own kind, or of nested lists.

    Raises:
        FormatError: there are none, or not as many as in `counts`, or rows and columns say otherwise.
    """
    if not fields.is_part(name):
        return fields.numbers(name, *counts)
    part = fields.part(name)
    data = part.numbers("data", *counts)
    if part.integer("rows") * part.integer("cols") != len(data):
        fields.fail(
            f"field '{name}' says {part.integer('rows')} x {part.integer('cols')}, but holds {len(data)} numbers"
        )
    return data


def _size_entries(camera: Camera, suffix: str) -> dict[str, Entry]:
    return {f"image_width{suffix}": camera.width, f"image_height{suffix}": camera.height}


def _camera_entries(camera: Camera, names: _Names) -> dict[str, Entry]:
    """The coefficients are a column in OpenCV's order; for `omni` they are k1 k2 p1 p2, and `xi` stands beside them."""
    is_omni = camera.model == "omni"
    coefficients = camera.shape[1:] if is_omni else camera.shape
    entries: dict[str, Entry] = {
        f"distortion_model{names.suffix}": _NAME_OF_MODEL[camera.model],
        names.matrix: camera.matrix,
        names.coefficients: np.array(coefficients or (0.0,) * 5)[:, None],
    }
    return entries | ({f"xi{names.suffix}": camera.shape[0]} if is_omni else {})


def _find(fields: Fields, candidates: Iterable[tuple[str, str]], suffix: str) -> _Names | None:
    for matrix, coefficients in candidates:
        if f"{matrix}{suffix}" in fields and f"{coefficients}{suffix}" in fields:
            return _Names(f"{matrix}{suffix}", f"{coefficients}{suffix}", suffix)
    only = [matrix for matrix, _ in candidates if f"{matrix}{suffix}" in fields and len(matrix) > 1]
    return _Names(f"{only[0]}{suffix}", f"{dict(candidates)[only[0]]}{suffix}", suffix) if only else None


def _find_pair(fields: Fields) -> tuple[_Names, _Names] | None:
    for first, second in _SUFFIXES:
        left, right = _find(fields, _PAIRED, first), _find(fields, _PAIRED, second)
        if left is not None and right is not None:
            return left, right
    return None


def _camera(fields: Fields, names: _Names, options: ReadOptions) -> Camera:
    fx, skew, cx, _, fy, cy, *last = matrix_data(fields, names.matrix, 9)
    if skew != 0.0 or last != [0.0, 0.0, 1.0]:
        fields.fail(f"field '{names.matrix}' holds skew or is not a calibration matrix")
    coefficients = matrix_data(fields, names.coefficients, *_MODEL_OF_COUNT)
    model = _model(fields, names, len(coefficients))
    if model.startswith("brown") and not _says_model(fields, names):
        model, coefficients = _simplest(coefficients)
    shape = coefficients
    if model == "pinhole":
        if any(coefficients):
            fields.fail("field 'distortion_model' is 'none', but there are distortion coefficients")
        shape = ()
    elif model == "omni":
        shape = (fields.number(f"xi{names.suffix}"), *coefficients)
    elif len(coefficients) == 14:
        if any(coefficients[12:]):
            fields.fail(f"field '{names.coefficients}' holds a sensor tilt (taux, tauy), which cv3d has no model for")
        shape = coefficients[:12]
    width, height = _size(fields, names.suffix, options)
    return fields.camera(model, width, height, (fx, fy, cx, cy, *shape))


def _size(fields: Fields, suffix: str, options: ReadOptions) -> tuple[int, int]:
    """The size, said in one place or alike in several."""
    said: dict[str, tuple[int, int]] = {}
    for end in dict.fromkeys((suffix, "")):
        for width, height in _WIDTH_HEIGHT:
            if f"{width}{end}" in fields and f"{height}{end}" in fields:
                said[f"{width}{end}"] = (fields.integer(f"{width}{end}"), fields.integer(f"{height}{end}"))
        for name in _SIZES:
            if f"{name}{end}" in fields:
                width_height = matrix_data(fields, f"{name}{end}", 2)
                said[f"{name}{end}"] = (round(width_height[0]), round(width_height[1]))
    if len(set(said.values())) > 1:
        places = ", ".join(f"{width}x{height} in '{name}'" for name, (width, height) in said.items())
        fields.fail(f"contradicts itself about the size of the pictures: {places}")
    if not said:
        return fields.missing_size(options.size)
    return fields.agreed_size(next(iter(said.values())), options.size)


def _model(fields: Fields, names: _Names, count: int) -> str:
    marker = next((f for f in (f"distortion_model{names.suffix}", "distortion_model") if f in fields), None)
    if marker is not None:
        name = fields.text(marker)
        known = _MODEL_OF_NAME | _ROS_NAMES
        if name not in known:
            fields.fail(f"field '{marker}' is '{name}'; known are {', '.join(known)}")
        model = known[name] or _MODEL_OF_COUNT[count]
        _check_count(fields, names, model, count)
        return model
    if "fisheye_model" in fields and fields.integer("fisheye_model") == 1:
        _check_count(fields, names, "kannala_brandt4", count)
        return "kannala_brandt4"
    return "omni" if f"xi{names.suffix}" in fields else _MODEL_OF_COUNT[count]


def _says_model(fields: Fields, names: _Names) -> bool:
    return "distortion_model" in fields or f"distortion_model{names.suffix}" in fields


def _simplest(coefficients: tuple[float, ...]) -> tuple[str, tuple[float, ...]]:
    """The smallest Brown model that says the same: OpenCV pads with zeros, stereo_calib up to 14 coefficients."""
    counts = [
        count for count in sorted(_MODEL_OF_COUNT) if count <= len(coefficients) and not any(coefficients[count:])
    ]
    return _MODEL_OF_COUNT[counts[0]], coefficients[: counts[0]]


def _check_count(fields: Fields, names: _Names, model: str, count: int) -> None:
    """See that a named model has as many coefficients as there are; sample programs pad the Brown models to 14."""
    wanted = {"pinhole": (0, 4, 5, 8, 12, 14), "kannala_brandt4": (4,), "omni": (4,), "brown12": (12, 14)}.get(
        model, (int(model.removeprefix("brown")),) if model.startswith("brown") else ()
    )
    if count not in wanted:
        fields.fail(
            f"field '{names.coefficients}' holds {count} numbers, but '{_NAME_OF_MODEL[model]}' has "
            f"{' or '.join(map(str, wanted))}"
        )


def _pair_pose(fields: Fields) -> NDArray[np.float64] | None:
    """cam1_from_cam0; None where the file holds no pose."""
    if ("R" in fields) != ("T" in fields):
        fields.fail("holds only one of the fields 'R' and 'T', which are one pose together")
    if "R" not in fields:
        return None
    values: Sequence[float] = matrix_data(fields, "R", 9, 3)
    rotation = (
        rotation_from_vector(values) if len(values) == 3 else read_rotation(fields, "R", np.reshape(values, (3, 3)))
    )
    return compose(rotation, matrix_data(fields, "T", 3))


def not_parsed(source: str, notation: str, problem: str) -> FormatError:
    """The error for a text that is not in the notation it should be in."""
    return FormatError(f"{source}: not readable as {notation}: {problem}".removeprefix(": "))
