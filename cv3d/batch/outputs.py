"""What jobs write: its digest, and its way from the folder of an attempt to its place."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
from pathlib import Path

from cv3d.errors import OutputError

_BLOCK = 1 << 20


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 and bytes of a file, or of a folder with the names and contents of all that is in it."""
    hasher, size = hashlib.sha256(), 0
    for name, file in _files(path):
        hasher.update(f"{name}\0{file.stat().st_size}\0".encode(errors="surrogateescape"))
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                hasher.update(block)
                size += len(block)
    return hasher.hexdigest(), size


def _files(path: Path) -> list[tuple[str, Path]]:
    if not path.is_dir():
        return [("", path)]
    return sorted(
        (os.path.relpath(Path(folder) / name, path), Path(folder) / name)
        for folder, _, names in os.walk(path)
        for name in names
    )


def move_into_place(new: Path, target: Path) -> None:
    """Rename what an attempt has written to its place; what stood there goes once the new is in.

    At no moment is there a part of it at `target`. Killed in between, the call can be made again.

    Args:
        new: a file or folder in the attempt's own folder, on the file system of `target`.
        target: its place.

    Raises:
        OutputError: it cannot be renamed.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if new.is_dir() and os.path.lexists(target):
            retired = new.parent / ".replaced"
            shutil.rmtree(retired, ignore_errors=True)
            target.rename(retired)
        elif target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        new.rename(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


def remove_tree(folder: Path) -> None:
    """Remove a folder that is empty most of the time; what cannot be removed stays."""
    try:
        folder.rmdir()
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def pack(path: Path) -> bytes:
    """A file or folder as a tar archive in memory."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(path, path.name)
    return stream.getvalue()


def unpack(parcel: bytes, folder: Path) -> None:
    """The content of :func:`pack` in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(io.BytesIO(parcel)) as stream, tarfile.open(fileobj=stream) as archive:
        archive.extractall(folder, filter="data")
