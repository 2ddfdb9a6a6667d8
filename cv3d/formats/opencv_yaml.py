"""OpenCV's FileStorage in YAML, and the JSON that it writes with the same structure.

`%YAML:1.0`, which OpenCV 4 and older put first and all versions read, is not YAML; the reader skips it.
"""

from __future__ import annotations

import json

import numpy as np

from cv3d.formats import opencv_fields
from cv3d.formats.camera_file import CameraFile, ReadOptions
from cv3d.formats.content import Content, OpenCvLoader, without_directive
from cv3d.formats.fields import Fields, exact, exact_list, parse_yaml
from cv3d.geometry.cameras.rig import Rig

MODELS = opencv_fields.MODELS
_INTRINSICS, _EXTRINSICS = "intrinsics", "extrinsics"


def encode(rig: Rig) -> bytes:
    """A file that cv2.FileStorage reads."""
    lines = ["%YAML:1.0", "---"]
    for name, value in opencv_fields.to_entries(rig).items():
        if isinstance(value, np.ndarray):
            rows, cols = value.shape
            lines += [f"{name}: !!opencv-matrix", f"   rows: {rows}", f"   cols: {cols}", "   dt: d"]
            lines.append(f"   data: {exact_list(value.ravel().tolist())}")
        else:
            lines.append(f"{name}: {exact(value) if isinstance(value, float) else value}")
    return ("\n".join(lines) + "\n").encode()


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The cameras of a file.

    Raises:
        FormatError: it is not readable, or as of :func:`cv3d.formats.opencv_fields.from_fields`.
    """
    fields = _fields(content)
    if content.path is not None and content.path.stem == _INTRINSICS:
        # samples/cpp/stereo_calib.cpp writes the lenses and how they stand to each other into two files.
        beside = content.beside(f"{_EXTRINSICS}{content.path.suffix}")
        pose = None if beside is None else _fields(beside)
        if pose is not None and "R" in pose and "R" not in fields:
            entries = {name: fields.raw(name) for name in fields.names()}
            fields = fields.with_entries(entries | {name: pose.raw(name) for name in ("R", "T") if name in pose})
    return CameraFile(opencv_fields.from_fields(fields, options), "opencv")


def _fields(content: Content) -> Fields:
    text = content.text
    if text is None:
        raise opencv_fields.not_parsed(content.source, "YAML", "it is no text")
    if not text.lstrip().startswith("{"):
        return parse_yaml(without_directive(text), content.source, OpenCvLoader)
    try:
        return Fields(json.loads(text), content.source)
    except (ValueError, RecursionError) as error:
        raise opencv_fields.not_parsed(content.source, "JSON", str(error)) from error
