"""One connection to an SQLite file that several processes share, and what its failures mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from cv3d.errors import Cv3dError, FormatError, InputError, OutputError

_PAUSE = 0.05
_PRIMARY = 0xFF
"""SQLite's extended codes carry the primary one in their lowest byte."""


class Connection:
    """A connection; in WAL mode readers never wait, writers queue, and what is committed survives a crash."""

    def __init__(self, path: Path, *, read_only: bool, busy_seconds: float) -> None:
        """Open the file, or create it. Nothing is changed in it yet.

        Raises:
            InputError: it is to be read, and is not there.
            OutputError: it cannot be created or written.
            FormatError: it is no SQLite database.
        """
        self.path = path
        self.read_only = read_only
        self._busy_seconds = busy_seconds
        self._has_log = False
        if read_only and not path.is_file():
            raise InputError(f"{path}: there is no such feature store")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: its folder does not exist; create it first")
        with self.explained():
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?{_mode(path, read_only)}",
                timeout=busy_seconds,
                isolation_level=None,
                uri=True,
            )
        try:
            with self.explained():
                self._connection.execute("PRAGMA foreign_keys = ON")
                self._connection.execute("SELECT count(*) FROM sqlite_master")
        except BaseException:
            self._connection.close()
            raise

    @property
    def raw(self) -> sqlite3.Connection:
        """The connection itself, to be used inside :meth:`explained` or :meth:`transaction`."""
        return self._connection

    def use_write_ahead_log(self) -> None:
        """Turn the log on, before anything is written.

        Raises:
            OutputError: another process keeps the file to itself, or the disk is full.
        """
        with self.explained():
            self._turn_log_on()
            self._has_log = True
            # With a write-ahead log this cannot corrupt the file; a power cut may undo the last commits.
            self._connection.execute("PRAGMA synchronous = NORMAL")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of a block or nothing of it; a block inside a block belongs to the outer one.

        The write lock is taken at the start: a transaction that begins by reading could not wait for it later.

        Raises:
            OutputError: the store is open for reading only, another process holds the lock, or the disk is full.
        """
        if self.read_only:
            raise OutputError(f"{self.path}: the feature store was opened for reading only")
        with self.explained():
            is_outer = not self._connection.in_transaction
            try:
                if is_outer:
                    self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                if is_outer:
                    self._connection.execute("COMMIT")
            except BaseException:
                if is_outer and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all queries of a block see one state, whatever other processes write meanwhile."""
        with self.explained():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn SQLite's failures inside the block into cv3d's."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._explain(error) from error

    def close(self) -> None:
        """Close; the last process to do so leaves one file, without a log that readers would have to make anew."""
        with self.explained():
            try:
                if self._has_log:
                    # Refused while another process has the file open; then that one does it.
                    with contextlib.suppress(sqlite3.DatabaseError):
                        self._connection.execute("PRAGMA busy_timeout = 0")
                        self._connection.execute("PRAGMA journal_mode = DELETE")
            finally:
                self._connection.close()

    def _turn_log_on(self) -> None:
        # SQLite's own waiting does not cover this change of mode.
        give_up = time.monotonic() + self._busy_seconds
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _PRIMARY not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if time.monotonic() > give_up:
                    raise
                time.sleep(_PAUSE)
            else:
                return

    def _explain(self, error: sqlite3.DatabaseError) -> Cv3dError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
        kept = "everything finished before is kept"
        if code == sqlite3.SQLITE_FULL:
            return OutputError(f"{self.path}: the disk is full; free some space and run again: {kept}")
        if code == sqlite3.SQLITE_IOERR:
            return OutputError(f"{self.path}: the disk failed or is full ({error}); run again: {kept}")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            waited = f"for {self._busy_seconds:g} s"
            return OutputError(f"{self.path}: another process has been writing {waited}; run again when it is done")
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return FormatError(
                f"{self.path}: is no feature store, or a damaged one ({error}); delete it or name another"
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return OutputError(f"{self.path}: the feature store cannot be opened or written ({error})")
        return FormatError(f"{self.path}: the feature store cannot be used ({error})")


def _mode(path: Path, read_only: bool) -> str:
    if not read_only:
        return "mode=rwc"
    # A log needs a file beside the database, which a folder that cannot be written to does not allow; a database
    # that nobody can write has no need of one.
    has_log = path.with_name(path.name + "-wal").exists()
    return "mode=ro" if has_log or os.access(path.parent, os.W_OK) else "mode=ro&immutable=1"
