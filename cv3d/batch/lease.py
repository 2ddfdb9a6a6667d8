"""One batch at a time on one folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from cv3d.errors import OutputError


@contextlib.contextmanager
def lease(path: Path, what: Path) -> Iterator[None]:
    """Hold `path` locked for the block.

    The lock is the operating system's own and is gone the moment its process is: a killed batch leaves none behind.
    File systems of a network keep it for all their machines where they keep POSIX locks (NFS from version 4).

    Args:
        path: the lock's file; its folder exists.
        what: the folder that it stands for, for the message.

    Raises:
        OutputError: another process holds it, or the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            raise OutputError(f"{what}: is being worked on by {holder}; wait for it, or name another folder") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)
