"""Calibrations without a format: K in a text file, or a JSON file with the usual names.

Text: K as 3x3, 3x4 or 4x4 numbers; or `fx fy cx cy`, with OpenCV's k1 k2 p1 p2 [k3] after them, or with the pictures'
width and height before them. JSON: fx fy cx cy, a matrix `K`, `camera_matrix` or `intrinsic_matrix` (Open3D's, column
by column), or cv3d's model and params; width and height; distortion; depth_scale. The centre of the top-left pixel is
taken as (0, 0), as OpenCV has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cv3d.errors import FormatError
from cv3d.formats.content import Content
from cv3d.formats.cv3d_camera import read_camera_fields
from cv3d.formats.fields import Fields
from cv3d.geometry.cameras.camera import Camera

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_NAME = re.compile(r"(?<![\d.A-Za-z_])[A-Za-z_][A-Za-z_0-9]*\s*[:=]?")
_NAMES = frozenset(["fx", "fy", "cx", "cy", "k", "k1", "k2", "k3", "p1", "p2", "width", "height"])
_MATRICES = ("K", "k", "camera_matrix", "intrinsic_matrix", "intrinsics", "intrinsic", "cameraMatrix")
_DISTORTIONS = ("distortion", "dist_coeffs", "distortion_coefficients", "dist", "D", "distCoeffs")
_LEAST_PX = 8.0
"""Smaller numbers are no focal lengths and centres in pixels, but something else."""
_SIZES = (("width", "height"), ("w", "h"), ("image_width", "image_height"), ("W", "H"))
_CENTRES = (("cx", "cy"), ("ppx", "ppy"))
_PARTS = ("camera", "intrinsics", "color", "rgb", "params")
_DEPTH_SCALES = ("depth_scale", "depth_factor", "png_depth_scale", "depthScale", "scale")
_FOCALS = (("fx", "fy"), ("focal_x", "focal_y"))
_OF_FORMATS = frozenset(["schema", "frames", "fl_x", "camera_angle_x", "value0"])
"""Fields of formats that have conventions of their own."""


@dataclass(frozen=True)
class PlainCamera:
    """What such a file says."""

    model: str
    params: tuple[float, ...]
    size: tuple[int, int] | None
    """Width and height of the pictures, pixels, where the file says them."""
    metres_per_unit: float | None = None
    """Of stored depth, where the file says it."""

    def camera(self, size: tuple[int, int]) -> Camera:
        """The camera, of pictures of `size` where the file does not say theirs."""
        width, height = self.size or size
        return Camera(self.model, width, height, self.params)


def read_plain_camera(path: Path) -> PlainCamera | None:
    """The calibration of a file; None where it is of another kind.

    Raises:
        FormatError: it is of this kind but what it says cannot be.
        InputError: it cannot be read.
    """
    content = Content.of_file(path)
    if isinstance(content.json, dict):
        return _of_json(content.json, str(path))
    if content.text is None:
        return None
    return _of_text(content.text, str(path))


def _of_text(text: str, source: str) -> PlainCamera | None:
    plain = " ".join(line.partition("#")[0] for line in text.splitlines())
    names = [name.rstrip(" \t:=") for name in _NAME.findall(plain)]
    if any(name.lower() not in _NAMES for name in names):
        return None
    fields = re.sub(r"[,;\[\]]", " ", _NAME.sub(" ", plain)).split()
    if not fields or not all(_NUMBER.fullmatch(field) for field in fields):
        return None
    numbers = [float(field) for field in fields]
    if len(numbers) in (9, 12, 16) and _is_matrix(numbers):
        return _of_matrix(numbers, source)
    if len(numbers) in (4, 8, 9) and min(map(abs, numbers[:4])) >= _LEAST_PX:
        return _of_coefficients(numbers[:4], numbers[4:], None, source)
    if len(numbers) == 6 and all(number == int(number) and number > 16 for number in numbers[:2]):
        return _of_coefficients(numbers[2:], (), (int(numbers[0]), int(numbers[1])), source)
    return None


def _is_matrix(numbers: Sequence[float]) -> bool:
    columns = {9: 3, 12: 4, 16: 4}[len(numbers)]
    rows = np.reshape(numbers, (-1, columns))
    return bool(rows[2, :3].tolist() == [0.0, 0.0, 1.0] and rows[1, 0] == 0.0)


def _of_matrix(numbers: Sequence[float], source: str) -> PlainCamera:
    columns = {9: 3, 12: 4, 16: 4}[len(numbers)]
    rows = np.reshape(numbers, (-1, columns))
    return _of_coefficients(rows[[0, 1, 0, 1], [0, 1, 2, 2]].tolist(), (), None, source)


def _of_coefficients(
    params: Sequence[float], distortion: Sequence[float], size: tuple[int, int] | None, source: str
) -> PlainCamera:
    fx, fy, cx, cy = params
    if not all(map(math.isfinite, (*params, *distortion))) or min(fx, fy, cx, cy) <= 0.0:
        raise FormatError(f"{source}: fx fy cx cy are {fx:g} {fy:g} {cx:g} {cy:g}: of no camera")
    shape = tuple(distortion) if any(distortion) else ()
    model = {0: "pinhole", 4: "brown4", 5: "brown5"}.get(len(shape))
    if model is None:
        raise FormatError(
            f"{source}: has {len(shape)} distortion coefficients; cv3d reads 4 or 5 here: k1 k2 p1 p2 [k3]"
        )
    return PlainCamera(model, (fx, fy, cx, cy, *shape), size)


def _of_json(whole: Mapping[str, object], source: str) -> PlainCamera | None:
    if _OF_FORMATS & whole.keys():
        return None
    fields = Fields(whole, source)
    scale = _metres_per_unit(fields)
    if all(name in fields for name in ("model", "params", "width", "height")) and fields.is_part("params"):
        camera = read_camera_fields(fields)
        return PlainCamera(camera.model, camera.params, (camera.width, camera.height), scale)
    params = _params(fields)
    if params is None:
        parts = (whole.get(name) for name in _PARTS)
        inner = next((part for part in parts if isinstance(part, Mapping)), None)
        found = None if inner is None else _of_json({str(key): value for key, value in inner.items()}, source)
        return found if found is None or scale is None else replace(found, metres_per_unit=scale)
    size = next(((fields.integer(w), fields.integer(h)) for w, h in _SIZES if w in fields and h in fields), None)
    distortion = _distortion(fields)
    return replace(_of_coefficients(params, distortion, size, source), metres_per_unit=scale)


def _distortion(fields: Fields) -> tuple[float, ...]:
    """OpenCV's k1 k2 p1 p2 [k3], from a list or by their names; empty where there are none."""
    named = next((name for name in _DISTORTIONS if name in fields), None)
    if named is not None and isinstance(fields.raw(named), list):
        return fields.numbers(named)
    if "k1" not in fields:
        return ()
    if "k4" in fields:
        fields.fail("field 'k4' is of a fisheye or a rational lens, and nothing says which; write it as a camera.json")
    return tuple(fields.number(name) if name in fields else 0.0 for name in ("k1", "k2", "p1", "p2", "k3"))


def _params(fields: Fields) -> Sequence[float] | None:
    """The numbers fx fy cx cy; None where they are not there."""
    named = next((name for name in _MATRICES if name in fields and isinstance(fields.raw(name), list)), None)
    if named is not None:
        numbers = fields.numbers(named)
        if len(numbers) == 4:
            return numbers
        if len(numbers) in (9, 16):
            matrix = np.reshape(numbers, (math.isqrt(len(numbers)), -1))
            # Written column by column, the centre is where row by row the zeros are.
            matrix = matrix.T if matrix[2, 0] != 0.0 else matrix
            if not _is_matrix(matrix.ravel().tolist()):
                fields.fail(f"field '{named}' is no K: fx 0 cx, 0 fy cy, 0 0 1")
            return [float(matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2))]
        return None
    focal = next((names for names in _FOCALS if all(name in fields for name in names)), None)
    centre = next((names for names in _CENTRES if all(name in fields for name in names)), None)
    if focal is None or centre is None:
        return None
    return [fields.number(name) for name in (*focal, *centre)]


def _metres_per_unit(fields: Fields) -> float | None:
    """What the file says of depth: units a metre where it is a number of 1 or more, else metres a unit."""
    named = next((name for name in _DEPTH_SCALES if name in fields), None)
    if named is None:
        return None
    number = fields.number(named)
    if number <= 0.0:
        fields.fail(f"field '{named}' is {number:g}, which is no scale")
    return 1.0 / number if number >= 1.0 else number
