"""cv3d's own file of several cameras: JSON with the schema `cv3d.rig/1`.

{"schema": …, "is_metric": true, "cameras": [{"name": …, "model", "width", "height", "params" as in a camera file,
"cam_from_cam0": 4x4 row by row, or null}]} and whatever else belongs to the rig, which is kept but not interpreted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import Cv3dError, FormatError
from cv3d.formats.cv3d_camera import read_camera_fields
from cv3d.formats.fields import Fields
from cv3d.formats.json_text import to_json
from cv3d.formats.poses import read_transform
from cv3d.geometry.cameras.rig import Rig, RigCamera

SCHEMA = "cv3d.rig/1"
_OWN_FIELDS = frozenset(["schema", "is_metric", "cameras"])


def dumps(rig: Rig, extra: Mapping[str, object] | None = None) -> str:
    """The text of a rig file.

    Args:
        rig: the cameras.
        extra: further top-level fields, anything that JSON can say.

    Raises:
        FormatError: a further field has the name of one of the rig's own.
    """
    extra = extra or {}
    if taken := _OWN_FIELDS & set(extra):
        raise FormatError(f"a rig file cannot hold a second field {', '.join(sorted(taken))}")
    cameras = [{"name": one.name, **one.camera.as_dict(), "cam_from_cam0": one.cam_from_cam0} for one in rig.cameras]
    return to_json({"schema": SCHEMA, "is_metric": rig.is_metric, "cameras": cameras, **extra}, indent=2) + "\n"


def loads(text: str, source: str = "") -> Rig:
    """The cameras of a rig file.

    Raises:
        FormatError: a field is missing or not what it should be; the message names `source` and the field.
    """
    return loads_with_extra(text, source)[0]


def loads_with_extra(text: str, source: str = "") -> tuple[Rig, dict[str, object]]:
    """As :func:`loads`, with the further top-level fields."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{source}: not readable as JSON: {error}".removeprefix(": ")) from error
    fields = Fields(parsed, source)
    schema = fields.text("schema")
    if schema != SCHEMA:
        fields.fail(f"field 'schema' is '{schema}'; this version of cv3d reads '{SCHEMA}'")
    is_metric = fields.raw("is_metric")
    if not isinstance(is_metric, bool):
        fields.fail(f"field 'is_metric' should be true or false, but is {is_metric!r}")
    cameras = tuple(_camera(entry) for entry in fields.parts("cameras"))
    try:
        rig = Rig(cameras, is_metric)
    except Cv3dError as error:
        fields.fail(str(error))
    return rig, {key: fields.raw(key) for key in fields.names() if key not in _OWN_FIELDS}


def _camera(fields: Fields) -> RigCamera:
    return RigCamera(fields.text("name"), read_camera_fields(fields), _pose(fields))


def _pose(fields: Fields) -> NDArray[np.float64] | None:
    if fields.raw("cam_from_cam0") is None:
        return None
    return read_transform(fields, "cam_from_cam0", fields.numbers("cam_from_cam0", 16))
