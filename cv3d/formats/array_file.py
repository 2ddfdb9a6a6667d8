"""cv3d's own files of arrays, by which interrupted work goes on: whole and unharmed, or told to be neither.

A line of text with the schema, such as "cv3d.scene/1", and the SHA-256 of the rest; then numpy's `.npz`, uncompressed,
of which `about` is a JSON text that says what the other arrays are of.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cv3d.errors import FormatError
from cv3d.formats.atomic import atomic_write_bytes

Arrays = Mapping[str, NDArray[Any]]
_ABOUT = "about"


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """What such a file holds."""

    about: Mapping[str, Any]
    """As it was given; what JSON has no type for has become a list, a text or None."""
    arrays: Arrays


def write_arrays(path: str | os.PathLike[str], schema: str, about: Mapping[str, Any], arrays: Arrays) -> None:
    """Write arrays, in one step.

    Args:
        path: the file.
        schema: family and version, such as "cv3d.scene/1".
        about: what JSON can say; floats come back to the bit, NaN and infinity too.
        arrays: by name; no objects.

    Raises:
        OutputError: the file cannot be written there.
    """
    text = json.dumps(dict(about), sort_keys=True).encode("ascii")
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{_ABOUT: np.frombuffer(text, np.uint8)}, **arrays)
    content = buffer.getvalue()
    atomic_write_bytes(path, f"{schema} {sha256(content).hexdigest()}\n".encode("ascii") + content)


def read_arrays(path: str | os.PathLike[str], schema: str) -> ArrayFile | None:
    """Read what :func:`write_arrays` wrote.

    Args:
        path: the file.
        schema: family and version.

    Returns:
        Its content; None where there is no file, or one of another version.

    Raises:
        FormatError: the file cannot be read, is of another kind, or is damaged.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    head, _, content = data.partition(b"\n")
    found, _, checksum = head.partition(b" ")
    if found.rpartition(b"/")[0].decode("ascii", "replace") != schema.rpartition("/")[0]:
        raise FormatError(f"{path}: is not what cv3d keeps there; remove it")
    if found != schema.encode("ascii"):
        return None
    if checksum != sha256(content).hexdigest().encode("ascii"):
        raise FormatError(f"{path}: is damaged: its content does not have the checksum that it was written with")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return ArrayFile(json.loads(arrays.pop(_ABOUT).tobytes()), arrays)
    except (ValueError, KeyError, EOFError) as error:
        raise FormatError(f"{path}: cannot be understood: {error}; remove it") from error
