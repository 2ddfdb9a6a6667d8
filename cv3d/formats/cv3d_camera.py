"""cv3d's own camera file: JSON with the schema `cv3d.camera/1`.

{"schema": …, "model": …, "width": …, "height": …, "params": {name: value}} and whatever else belongs to the camera,
such as its covariance, which is kept but not interpreted here. Pixel origin: the centre of the top-left pixel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from cv3d.errors import Cv3dError, FormatError
from cv3d.formats.fields import Fields
from cv3d.formats.json_text import to_json
from cv3d.geometry.cameras.camera import Camera
from cv3d.geometry.cameras.registry import get_model

SCHEMA = "cv3d.camera/1"
_OWN_FIELDS = frozenset(["schema", "model", "width", "height", "params"])


def dumps(camera: Camera, extra: Mapping[str, object] | None = None) -> str:
    """The text of a camera file.

    Args:
        camera: the camera.
        extra: further top-level fields, anything that JSON can say.

    Raises:
        FormatError: a further field has the name of one of the camera's own.
    """
    extra = extra or {}
    if taken := _OWN_FIELDS & set(extra):
        raise FormatError(f"a camera file cannot hold a second field {', '.join(sorted(taken))}")
    return to_json({"schema": SCHEMA, **camera.as_dict(), **extra}, indent=2) + "\n"


def loads(text: str, source: str = "") -> Camera:
    """The camera of a camera file.

    Raises:
        FormatError: a field is missing or not what it should be; the message names `source` and the field.
    """
    return loads_with_extra(text, source)[0]


def loads_with_extra(text: str, source: str = "") -> tuple[Camera, dict[str, object]]:
    """As :func:`loads`, with the further top-level fields."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{source}: not readable as JSON: {error}".removeprefix(": ")) from error
    fields = Fields(parsed, source)
    schema = fields.text("schema")
    if schema != SCHEMA:
        fields.fail(f"field 'schema' is '{schema}'; this version of cv3d reads '{SCHEMA}'")
    return read_camera_fields(fields), {key: fields.raw(key) for key in fields.names() if key not in _OWN_FIELDS}


def read_camera_fields(fields: Fields) -> Camera:
    """The camera of the fields model, width, height and params.

    Raises:
        FormatError: one of them is missing or not what it should be.
    """
    model = fields.text("model")
    try:
        names = get_model(model).param_names
    except Cv3dError as error:
        fields.fail(f"field 'model': {error}")
    params = fields.part("params")
    if unknown := [name for name in params.names() if name not in names]:
        fields.fail(f"field 'params' holds {', '.join(unknown)}, which camera model '{model}' does not have")
    values = [params.number(name) for name in names]
    return fields.camera(model, fields.integer("width"), fields.integer("height"), values)
