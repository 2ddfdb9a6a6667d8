"""cv3d's own files, of one camera and of several: which of the two, the cameras decide."""

from __future__ import annotations

from cv3d.errors import FormatError
from cv3d.formats import cv3d_camera, cv3d_rig
from cv3d.formats.camera_file import CameraFile, ReadOptions, alone
from cv3d.formats.content import Content
from cv3d.formats.fields import Fields
from cv3d.geometry.cameras.registry import MODELS as KNOWN
from cv3d.geometry.cameras.rig import Rig

MODELS = (*KNOWN, "splined_stereographic_*")


def encode(rig: Rig) -> bytes:
    """A camera.json of one camera, a rig.json of several."""
    text = cv3d_camera.dumps(rig.cameras[0].camera) if len(rig.cameras) == 1 else cv3d_rig.dumps(rig)
    return text.encode("utf-8")


def decode(content: Content, options: ReadOptions) -> CameraFile:
    """The cameras of either kind of file.

    Raises:
        FormatError: it is neither, or a field is missing or not what it should be.
    """
    if content.text is None:
        raise FormatError(f"{content.source}: is not readable as JSON: it is no text")
    parsed = content.json
    is_rig = isinstance(parsed, dict) and str(parsed.get("schema", "")).startswith("cv3d.rig/")
    rig = (
        cv3d_rig.loads(content.text, content.source)
        if is_rig
        else alone(cv3d_camera.loads(content.text, content.source))
    )
    for one in rig.cameras:
        Fields({}, content.source).agreed_size((one.camera.width, one.camera.height), options.size)
    return CameraFile(rig, "cv3d")
