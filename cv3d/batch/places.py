"""Where inputs and outputs lie: paths of this machine, and URLs of any store that fsspec knows."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from cv3d.errors import Cv3dError, DependencyError, InputError, OutputError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

_URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether a place is given as a URL: `s3://bucket/clip.mp4`, `memory://clip.mp4`, `file:///data/clip.mp4`."""
    return _URL.match(text) is not None


def node_and_path(place: str) -> tuple[str, str | None]:
    """The machine that a place is on, and its path there.

    `file://node7/data/clip.mp4` lies on node7; `file:///data/clip.mp4` and a plain path on every machine. The path is
    None for a URL of a store that is no file system of a machine.
    """
    if not is_url(place):
        return "", place
    parts = urlsplit(place)
    if parts.scheme.lower() != "file":
        return "", None
    return "" if parts.netloc == "localhost" else parts.netloc, unquote(parts.path)


def file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """The store of a URL, and the path in it.

    Raises:
        DependencyError: fsspec, or the package that speaks the store's protocol, is not installed.
        InputError: no such protocol.
    """
    try:
        import fsspec
    except ImportError as error:
        raise DependencyError(f"{url}: URLs need fsspec: pip install fsspec") from error
    try:
        opened: tuple[AbstractFileSystem, str] = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise DependencyError(f"{url}: {error}") from error
    except ValueError as error:
        raise InputError(f"{url}: {error}") from error
    return opened


def matching(url: str) -> Iterator[str]:
    """URLs that a URL with a pattern names, sorted; of one without, itself.

    Raises:
        InputError: the store cannot be read.
    """
    with _told(url, InputError):
        store, path = file_system(url)
        if not any(mark in path for mark in "*?["):
            yield url
            return
        for found in sorted(store.glob(path)):
            yield store.unstrip_protocol(found)


def fingerprint(place: str) -> tuple[object, ...]:
    """What tells a file from its later self: size and time of change; of a store also its own mark.

    Of a folder it is that of its direct entries. A place that is not there has one of its own.
    """
    node, path = node_and_path(place)
    if path is not None:
        try:
            status = os.stat(path)  # noqa: PTH116 - a hundred thousand of them
            if stat.S_ISDIR(status.st_mode):
                return (node, *sorted(_entry(entry) for entry in os.scandir(path)))
        except OSError:
            return (node,)
        return (node, status.st_size, status.st_mtime_ns)
    with _told(place, InputError):
        store, inner = file_system(place)
        try:
            info: dict[str, Any] = store.info(inner)
        except FileNotFoundError:
            return ()
        marks = ("size", "ETag", "etag", "mtime", "LastModified", "last_modified", "created", "md5Hash")
        return tuple(str(info.get(mark)) for mark in marks)


def _entry(entry: os.DirEntry[str]) -> tuple[str, int, int]:
    status = entry.stat()
    return entry.name, 0 if entry.is_dir() else status.st_size, status.st_mtime_ns


def fetch(place: str, folder: Path) -> str:
    """A path of this machine with the content of a place: its own where it is a file here, else a copy in `folder`.

    Raises:
        InputError: it cannot be read.
    """
    _, path = node_and_path(place)
    if path is not None:
        return path
    with _told(place, InputError):
        store, inner = file_system(place)
        target = folder / Path(inner.rstrip("/")).name
        folder.mkdir(parents=True, exist_ok=True)
        if store.isdir(inner):
            store.get(inner.rstrip("/") + "/", f"{target}/", recursive=True)
        else:
            store.get_file(inner, str(target))
        return str(target)


def exists(url: str) -> bool:
    """Whether there is something at a URL."""
    with _told(url, OutputError):
        store, inner = file_system(url)
        return bool(store.exists(inner))


def put(path: Path, url: str) -> None:
    """Write a file or a folder to a URL; what is there of it already is replaced, and anything else goes.

    A store has no renaming in one step: who needs to know whether all of it is there asks the journal.

    Raises:
        OutputError: it cannot be written.
    """
    with _told(url, OutputError):
        store, inner = file_system(url)
        if store.exists(inner):
            store.rm(inner, recursive=True)
        store.makedirs(store._parent(inner), exist_ok=True)
        if path.is_dir():
            store.put(f"{path}/", inner.rstrip("/") + "/", recursive=True)
        else:
            store.put_file(str(path), inner)


@contextlib.contextmanager
def _told(url: str, kind: type[Cv3dError]) -> Iterator[None]:
    """Whatever a store raises, as one line."""
    try:
        yield
    except Cv3dError:
        raise
    except Exception as error:  # a store raises what its own library raises
        raise kind(f"{url}: {type(error).__name__}: {error}") from error
