"""The camera fields of nerfstudio's and instant-ngp's transforms.json: fl_x fl_y cx cy w h k1 k2 k3 k4 p1 p2.

Pixel origin: the corner of the top-left pixel. Both take cx and cy over from COLMAP unchanged (nerfstudio's
colmap_utils.py, instant-ngp's colmap2nerf.py) and send the ray of a pixel through its index plus one half
(nerfstudio's Cameras.get_image_coords, pixel_offset 0.5): they are cv3d's plus one half.

`camera_model` is one of COLMAP's names; instant-ngp marks fisheyes by `is_fisheye`. In perspective models k1 k2 k3
multiply r^2 r^4 r^6 as in `brown5` (instant-ngp neglects k3); nerfstudio's k4 of r^8 has no equal here. In fisheyes
k1..k4 are those of `kannala_brandt4`. Frames may have intrinsics of their own. The poses of frames are those of a
moving camera, not of a rig; :mod:`cv3d.formats.nerfstudio_frames` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from cv3d.errors import FormatError
from cv3d.formats.camera_file import CameraFile, ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields
from cv3d.formats.json_text import to_json
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.rig import Rig, RigCamera

_CORNER = 0.5
_ALIKE = 0.01
"""Relative difference up to which camera_angle_x and fl_x say the same."""
_NAME_OF_MODEL = {"pinhole": "PINHOLE", "brown4": "OPENCV", "brown5": "OPENCV", "kannala_brandt4": "OPENCV_FISHEYE"}
_FIELDS = {"pinhole": "", "brown4": "k1 k2 p1 p2", "brown5": "k1 k2 p1 p2 k3", "kannala_brandt4": "k1 k2 k3 k4"}
_PERSPECTIVE = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
_FISHEYE = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
_COEFFICIENTS = ("k1", "k2", "k3", "k4", "p1", "p2")
_INTRINSICS = ("camera_model", "is_fisheye", "camera_angle_x", "fl_x", "fl_y", "cx", "cy", "w", "h", *_COEFFICIENTS)
MODELS = tuple(_NAME_OF_MODEL)


def encode(rig: Rig) -> bytes:
    """A transforms.json with the camera's fields and no frames."""
    return (to_json({**camera_fields(rig.cameras[0].camera), "frames": []}, indent=2) + "\n").encode()


def camera_fields(camera: Camera) -> dict[str, object]:
    """What a file or a frame says of a camera whose model is among `MODELS`."""
    fx, fy, cx, cy = camera.params[:4]
    fields: dict[str, object] = {
        "camera_model": _NAME_OF_MODEL[camera.model],
        "fl_x": fx,
        "fl_y": fy,
        "cx": cx + _CORNER,
        "cy": cy + _CORNER,
        "w": camera.width,
        "h": camera.height,
    }
    if camera.model == "kannala_brandt4":
        fields["is_fisheye"] = True
    return fields | dict(zip(_FIELDS[camera.model].split(), camera.shape, strict=True))


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The camera of the file; where frames have intrinsics of their own, every different one: camera0, camera1.

    Raises:
        FormatError: a field is missing or not what it should be, or the camera is of a model that cv3d lacks.
    """
    if not isinstance(content.json, dict):
        raise FormatError(f"{content.source}: not readable as JSON".removeprefix(": "))
    whole = content.json
    frames = whole.get("frames", [])
    if not isinstance(frames, list):
        raise FormatError(f"{content.source}: field 'frames' should be a list")
    different = dict.fromkeys(
        camera_of_frame(whole, frame, index, content.source, options)
        for index, frame in enumerate(frames)
        if _own_intrinsics(frame)
    )
    cameras = list(different) or [_camera(Fields(_own_intrinsics(whole), content.source), options)]
    names = ["camera"] if len(cameras) == 1 else [f"camera{index}" for index in range(len(cameras))]
    rig = Rig(tuple(RigCamera(name, camera) for name, camera in zip(names, cameras, strict=True)))
    return CameraFile(rig, "nerfstudio")


def camera_of_frame(
    whole: Mapping[str, object], frame: object, index: int, source: str, options: ReadOptions
) -> Camera:
    """The camera of one frame: the whole file's, but for what the frame says itself.

    Raises:
        FormatError: as of :func:`decode`.
    """
    own, shared = _own_intrinsics(frame), _own_intrinsics(whole)
    # A frame's own focal length makes the angle of the whole file no longer its own.
    above = {key: value for key, value in shared.items() if key != "camera_angle_x" or "fl_x" not in own}
    return _camera(Fields(above | own, source, f"frames[{index}]." if own else ""), options)


def _own_intrinsics(part: object) -> dict[str, object]:
    return {key: part[key] for key in _INTRINSICS if key in part} if isinstance(part, Mapping) else {}


def _camera(fields: Fields, options: ReadOptions) -> Camera:
    width, height = fields.size("w", "h", options.size)
    fx = _focal(fields, width)
    fy = fields.number("fl_y") if "fl_y" in fields else fx
    cx = fields.number("cx") if "cx" in fields else 0.5 * width
    cy = fields.number("cy") if "cy" in fields else 0.5 * height
    model, shape = _lens(fields)
    return fields.camera(model, width, height, (fx, fy, cx - _CORNER, cy - _CORNER, *shape))


def _focal(fields: Fields, width: int) -> float:
    """fl_x, or what camera_angle_x says it is."""
    if "camera_angle_x" not in fields:
        return fields.number("fl_x")
    angle = fields.number("camera_angle_x")
    if not 0.0 < angle < math.pi:
        fields.fail(f"field 'camera_angle_x' is {angle!r}, which is no angle of view in radians")
    of_angle = 0.5 * width / math.tan(0.5 * angle)
    if "fl_x" not in fields:
        return of_angle
    focal = fields.number("fl_x")
    if abs(focal - of_angle) > _ALIKE * abs(focal):
        fields.fail(
            f"contradicts itself: camera_angle_x over a width of {width} makes fl_x {of_angle:.6g}, not {focal:.6g}; "
            "is the size that of other pictures?"
        )
    return focal


def _lens(fields: Fields) -> tuple[str, tuple[float, ...]]:
    """The model and its shape parameters; those that are not there are zero."""
    marked = "is_fisheye" in fields and fields.raw("is_fisheye") is True
    name = fields.text("camera_model") if "camera_model" in fields else "OPENCV_FISHEYE" if marked else "OPENCV"
    if name not in _PERSPECTIVE + _FISHEYE:
        known = ", ".join(_PERSPECTIVE + _FISHEYE)
        fields.fail(f"cv3d has no equal of camera_model {name}; it reads {known}")
    k1, k2, k3, k4, p1, p2 = (fields.number(key) if key in fields else 0.0 for key in _COEFFICIENTS)
    if name in _FISHEYE:
        if p1 or p2:
            fields.fail("a fisheye with tangential p1, p2 has no equal in cv3d")
        return "kannala_brandt4", (k1, k2, k3, k4)
    if k4:
        fields.fail("field 'k4', of r^8, has no equal in cv3d's perspective models")
    if k3:
        return "brown5", (k1, k2, p1, p2, k3)
    return ("brown4", (k1, k2, p1, p2)) if any((k1, k2, p1, p2)) else ("pinhole", ())
