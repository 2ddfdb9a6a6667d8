"""Text files of recordings, read with messages that name them."""

from __future__ import annotations

from pathlib import Path

from cv3d.errors import FormatError, InputError


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it cannot be read.
        FormatError: it is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        if b"\0" in data:
            raise ValueError
        return data.decode("utf-8-sig")
    except ValueError as error:
        raise FormatError(f"{path}: is no text") from error
