"""The bytes of a camera file, and what kind of text they are."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import yaml

from cv3d.errors import FormatError, InputError


class OpenCvLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with OpenCV's `!!opencv-matrix`, which becomes a mapping of rows, cols, dt and data."""


def _construct_matrix(loader: OpenCvLoader, node: yaml.MappingNode) -> object:
    return loader.construct_mapping(node, deep=True)


OpenCvLoader.add_constructor("tag:yaml.org,2002:opencv-matrix", _construct_matrix)

STANDARD_INPUT = "-"
"""What the standard input is called in the place of a file."""
_MAX_YAML = 1 << 20
"""Characters up to which a text is tried as YAML, whose parser takes seconds for more."""
_MAX_BYTES = 64 << 20
"""A camera file is some kilobytes; whole recordings are not read to find that out."""


class Content:
    """A file in memory, parsed at most once in each of the notations that camera files use."""

    def __init__(self, data: bytes, source: str, path: Path | None = None) -> None:
        self.data = data
        self.path = path
        """Where it lies, if anywhere."""
        self.source = source
        """How messages call it, usually the file's path."""

    @classmethod
    def of_file(cls, path: Path) -> Content:
        """Read a file, or what comes in where it is called "-".

        Raises:
            InputError: it cannot be read, is empty, or is too large to be a camera file.
        """
        if str(path) == STANDARD_INPUT:
            return cls._checked(sys.stdin.buffer.read(), "standard input", None)
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise InputError(f"{path}: is no camera file: it is larger than {_MAX_BYTES >> 20} MB")
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file or folder") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
        return cls._checked(data, str(path), path)

    @classmethod
    def _checked(cls, data: bytes, source: str, path: Path | None) -> Content:
        if not data.strip():
            raise FormatError(f"{source}: is empty")
        return cls(data, source, path)

    def beside(self, name: str) -> Content | None:
        """The file of that name in the same folder; None where there is none."""
        if self.path is None or not (self.path.parent / name).is_file():
            return None
        return Content.of_file(self.path.parent / name)

    @cached_property
    def text(self) -> str | None:
        """The file as UTF-8 text without a byte order mark; None where it is binary."""
        if b"\0" in self.data:
            return None
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return None

    @cached_property
    def json(self) -> object:
        """The value of a JSON text; None where it is none."""
        if self.text is None or self.text.lstrip()[:1] not in ("{", "["):
            return None
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    @cached_property
    def python(self) -> object:
        """The value of a Python literal, which may have comments; None where it is none."""
        if self.text is None or not self.text.rstrip().endswith("}"):
            return None
        try:
            return ast.literal_eval(self.text.strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None

    @cached_property
    def yaml(self) -> Mapping[object, object] | None:
        """The fields of a YAML text, OpenCV's dialect included; None where there are none."""
        if self.text is None or len(self.text) > _MAX_YAML:
            return None
        try:
            value = yaml.load(first_document(without_directive(self.text)), OpenCvLoader)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError):
            return None
        return value if isinstance(value, Mapping) else None


def without_directive(text: str) -> str:
    """A YAML text without its first line where that is `%YAML:1.0`, OpenCV's own spelling, which YAML does not have."""
    first, _, rest = text.partition("\n")
    return rest if first.startswith("%YAML") else text


def first_document(text: str) -> str:
    """The first of several YAML documents: `rostopic echo` and `ros2 topic echo` end every message with a `---`."""
    head, separator, rest = text.partition("\n---")
    if not separator:
        return text
    is_start = not any(line.strip() and not line.lstrip().startswith(("#", "---", "%")) for line in head.splitlines())
    return f"{head}\n---{first_document(rest)}" if is_start else f"{head}\n"
