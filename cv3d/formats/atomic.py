"""Files and folders that appear whole or not at all: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cv3d.errors import OutputError


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` as UTF-8 with its line ends as they are; see :func:`atomic_write_bytes`."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace the file at `path` by `data` in one step, creating its folder where needed.

    A reader sees the old content or the new, never a part; an interrupted call leaves the old file as it was.

    Raises:
        OutputError: the file cannot be written there.
    """
    target = Path(path)
    with _as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(_default_mode(0o666))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """A new folder that becomes `path` when the block ends without an error.

    The block fills the temporary folder that it is given. An existing `path` is kept until that moment and then
    replaced as a whole; an error or an interruption in the block leaves it untouched and removes the temporary one.

    Args:
        path: where the folder shall be.
        overwrite: replace a folder that is there and not empty.

    Raises:
        OutputError: `path` is a file, or a folder with content and `overwrite` is off, or cannot be written.
    """
    target = Path(path)
    with _as_output_error(target):
        if target.exists() and not target.is_dir():
            raise OutputError(f"{target}: is a file, not a folder")
        if not overwrite and target.is_dir() and any(target.iterdir()):
            raise OutputError(f"{target}: is not empty; --overwrite replaces it")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        yield temporary
        with _as_output_error(target):
            temporary.chmod(_default_mode(0o777))
            _exchange(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(new: Path, target: Path) -> None:
    """Move the folder `new` to `target`; what was there is removed only once `new` stands in its place."""
    if not target.exists():
        new.rename(target)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    old = retired / target.name
    try:
        target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            old.rename(target)
            raise
    finally:
        shutil.rmtree(retired, ignore_errors=True)


@contextlib.contextmanager
def _as_output_error(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


def _default_mode(wanted: int) -> int:
    """`wanted` under the process's umask: what a plain open() or mkdir() gives, where mkstemp gives owner only."""
    mask = os.umask(0)
    os.umask(mask)
    return wanted & ~mask
