"""OpenCV's FileStorage in XML: `<opencv_storage>`, one element a field, matrices with `type_id="opencv-matrix"`."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np

from cv3d.formats import opencv_fields
from cv3d.formats.camera_file import CameraFile, ReadOptions
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields, exact
from cv3d.geometry.cameras.rig import Rig

MODELS = opencv_fields.MODELS


def encode(rig: Rig) -> bytes:
    """A file that cv2.FileStorage reads."""
    lines = ['<?xml version="1.0"?>', "<opencv_storage>"]
    for name, value in opencv_fields.to_entries(rig).items():
        if isinstance(value, np.ndarray):
            rows, cols = value.shape
            data = " ".join(exact(number) for number in value.ravel().tolist())
            lines += [f'<{name} type_id="opencv-matrix">', f"  <rows>{rows}</rows>", f"  <cols>{cols}</cols>"]
            lines += ["  <dt>d</dt>", f"  <data>{data}</data></{name}>"]
        else:
            lines.append(f"<{name}>{exact(value) if isinstance(value, float) else escape(str(value))}</{name}>")
    return ("\n".join([*lines, "</opencv_storage>"]) + "\n").encode()


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The cameras of a file.

    Raises:
        FormatError: it is not readable, or as of :func:`cv3d.formats.opencv_fields.from_fields`.
    """
    try:
        root = ElementTree.fromstring(content.data)
    except ElementTree.ParseError as error:
        raise opencv_fields.not_parsed(content.source, "XML", str(error)) from error
    if root.tag != "opencv_storage":
        raise opencv_fields.not_parsed(content.source, "OpenCV's XML", f"its root is <{root.tag}>")
    fields = Fields({child.tag: _value(child) for child in root}, content.source)
    return CameraFile(opencv_fields.from_fields(fields, options), "opencv-xml")


def _value(element: ElementTree.Element) -> object:
    """A matrix as rows, cols and data; a list of numbers as a list; anything else as its text."""
    if len(element):
        parts: dict[str, object] = {child.tag: _value(child) for child in element}
        if element.get("type_id") == "opencv-matrix":
            parts["data"] = (element.findtext("data") or "").split()
        return parts
    text = (element.text or "").strip().strip('"')
    words = text.split()
    return words if len(words) > 1 and _all_numbers(words) else text


def _all_numbers(words: list[str]) -> bool:
    try:
        [float(word) for word in words]
    except ValueError:
        return False
    return True
