"""The pictures of a folder and the folders of a recording."""

from __future__ import annotations

from pathlib import Path

from cv3d.errors import InputError
from cv3d.media.inputs import PICTURE_SUFFIXES, natural_key
from cv3d.media.sequences.depth_files import DEPTH_SUFFIXES


def pictures_in(folder: Path, suffixes: frozenset[str] = PICTURE_SUFFIXES) -> list[Path]:
    """The picture files of a folder itself, naturally sorted; hidden ones are passed over.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from error
    found = [path for path in entries if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    return sorted(found, key=lambda path: natural_key(path.name))


def depths_in(folder: Path) -> list[Path]:
    """The depth files of a folder itself, naturally sorted.

    Raises:
        InputError: the folder cannot be read.
    """
    return pictures_in(folder, DEPTH_SUFFIXES)
