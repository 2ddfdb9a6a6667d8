"""Results as JSON text: numpy values, paths, enums and dataclasses in, strict JSON out."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from os import PathLike, fspath


def to_json(value: object, indent: int | None = None, ascii_only: bool = False) -> str:
    """`value` as one JSON text without a trailing newline.

    Dataclasses become objects, enums their values, paths strings, arrays nested lists, sets and tuples lists.
    JSON has no NaN or infinity: a number that is not finite becomes null.

    Args:
        value: what to write.
        indent: spaces per level; None writes one line.
        ascii_only: escape everything beyond ASCII, for streams of unknown encoding. Text that is not valid
            Unicode (a file name in another encoding) is always escaped.

    Raises:
        TypeError: `value` holds something that JSON cannot say, such as an object of an unknown class.
    """
    plain = jsonable(value)
    separators = (",", ":") if indent is None else None
    text = json.dumps(plain, indent=indent, ensure_ascii=ascii_only, allow_nan=False, separators=separators)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(plain, indent=indent, allow_nan=False, separators=separators)
    return text


def jsonable(value: object) -> object:
    """`value` in terms of dict, list, str, int, float, bool and None; see :func:`to_json`."""
    if isinstance(value, Enum):
        return jsonable(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item) for item in value), key=repr)
    if isinstance(value, PathLike):
        return fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    # numpy scalars and arrays, and torch tensors: neither package is imported for the sake of a text.
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _key(key: object) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str | int) and not isinstance(key, bool):
        return str(key)
    raise TypeError(f"no JSON key from {type(key).__name__}")
