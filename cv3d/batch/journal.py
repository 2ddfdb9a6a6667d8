"""The journal of a batch: an SQLite file that knows of every job what became of it.

It is in write-ahead mode and its commits gather many jobs. A commit outlives the death of any process at any moment.
After a power failure the last commits may be missing, never half there: their jobs are done again.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cv3d.batch.jobs import Job, State
from cv3d.errors import OutputError, UsageError
from cv3d.formats.json_text import to_json

LAYOUT = 1
"""Version of the tables, kept as the file's user_version."""

_TABLES = """
CREATE TABLE run (
    generation INTEGER PRIMARY KEY, started REAL, ended REAL, host TEXT, pid INTEGER, version TEXT, anew INTEGER
);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, position INTEGER NOT NULL, generation INTEGER NOT NULL,
    verb TEXT NOT NULL, input TEXT NOT NULL, arguments TEXT NOT NULL, writes INTEGER NOT NULL, digest TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', kept INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0,
    started REAL, seconds REAL, exit_code INTEGER, error TEXT,
    output_digest TEXT, output_bytes INTEGER, work TEXT, verdict TEXT, figures TEXT, host TEXT, pid INTEGER
);
CREATE INDEX jobs_by_state ON jobs (generation, state, position);
"""
_PLAN = """
INSERT INTO jobs (name, position, generation, verb, input, arguments, writes, digest)
VALUES (:name, :position, :generation, :verb, :input, :arguments, :writes, :digest)
ON CONFLICT (name) DO UPDATE SET
    position = excluded.position, generation = excluded.generation, verb = excluded.verb, input = excluded.input,
    arguments = excluded.arguments, writes = excluded.writes,
    state = CASE WHEN digest = excluded.digest THEN state ELSE 'pending' END,
    attempts = CASE WHEN digest = excluded.digest THEN attempts ELSE 0 END,
    losses = 0, digest = excluded.digest
WHERE jobs.generation <> excluded.generation
"""
_AT_ONCE = 2000


@dataclass(frozen=True)
class Row:
    """One job as the journal has it."""

    id: int
    """Its number in the journal."""
    job: Job
    """The job."""
    state: State
    """Where it is."""
    attempts: int
    """How often it was tried."""
    losses: int
    """How often an attempt was lost with its machine."""
    output_digest: str | None
    """SHA-256 of the output that stands in its place, or is about to."""
    work: str | None
    """Folder of the last attempt."""
    verdict: State | None
    """What it is once its output is in its place."""


@dataclass(frozen=True)
class Earlier:
    """The run before this one."""

    was_cut_off: bool
    """It did not come to its end."""
    was_anew: bool
    """It was to do all again."""


_COLUMNS = "id, verb, input, arguments, name, writes, state, attempts, losses, output_digest, work, verdict"


def _row(values: tuple[object, ...]) -> Row:
    number, verb, source, arguments, name, writes, state, attempts, losses, digest, work, verdict = values
    job = Job(str(verb), str(source), tuple(json.loads(str(arguments))), str(name), bool(writes))
    return Row(
        int(str(number)),
        job,
        State(str(state)),
        int(str(attempts)),
        int(str(losses)),
        None if digest is None else str(digest),
        None if work is None else str(work),
        None if verdict is None else State(str(verdict)),
    )


class Journal:
    """The journal's file, opened by the one process that holds the lease. Of one thread."""

    def __init__(self, path: Path | None) -> None:
        """Open or make it.

        Args:
            path: the file; None: in memory alone.

        Raises:
            OutputError: it cannot be written, or is of another version.
        """
        self._name = str(path) if path is not None else ":memory:"
        try:
            self._db = sqlite3.connect(self._name, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: each checkpoint waits for the disk
            layout = self._db.execute("PRAGMA user_version").fetchone()[0]
            if layout == 0:
                self._db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
        except sqlite3.Error as error:
            raise OutputError(f"{self._name}: the journal cannot be opened: {error}") from error
        if layout not in (0, LAYOUT):
            raise OutputError(f"{self._name}: is the journal of another version of cv3d; name another folder")
        self.generation = 0

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self, keep: bool = True) -> Iterator[None]:
        """All of the block or nothing of it; nothing, too, unless `keep`."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT" if keep else "ROLLBACK")

    def begin(self, host: str, pid: int, version: str, anew: bool = False) -> Earlier:
        """Note that a run begins, and tell of the one before it.

        Args:
            host: name of this machine.
            pid: this process.
            version: of cv3d.
            anew: whether all is to be done again.
        """
        last = self._db.execute("SELECT ended, anew FROM run ORDER BY generation DESC LIMIT 1").fetchone()
        cursor = self._db.execute(
            "INSERT INTO run (started, host, pid, version, anew) VALUES (?, ?, ?, ?, ?)",
            (time.time(), host, pid, version, anew),
        )
        self.generation = int(cursor.lastrowid or 0)
        return Earlier(last is not None and last[0] is None, bool(last and last[1]))

    def end(self) -> None:
        """Note that the run came to its end."""
        self._db.execute("UPDATE run SET ended = ? WHERE generation = ?", (time.time(), self.generation))

    def plan(self, jobs: Iterable[tuple[Job, str]]) -> int:
        """Take up the jobs of this run, in their order; how many they are.

        A job that the journal knows under its name keeps its state unless its digest is another. The jobs are taken
        as they come, a few thousand in memory at a time.

        Args:
            jobs: each with the digest of all that its result depends on.

        Raises:
            UsageError: two jobs have outputs of the same name, or one's lies within another's.
        """
        total, nested, source = 0, False, iter(jobs)
        while batch := list(islice(source, _AT_ONCE)):
            rows = [self._planned(job, digest, total + k) for k, (job, digest) in enumerate(batch)]
            self._db.execute("SAVEPOINT batch")
            if self._db.executemany(_PLAN, rows).rowcount != len(rows):
                self._db.execute("ROLLBACK TO batch")
                self._name_collision(rows)
            self._db.execute("RELEASE batch")
            nested = nested or any("/" in job.name for job, _ in batch)
            total += len(batch)
        if nested:
            self._check_nesting()
        return total

    def _planned(self, job: Job, digest: str, position: int) -> dict[str, object]:
        return {
            "name": job.name,
            "position": position,
            "generation": self.generation,
            "verb": job.verb,
            "input": job.input,
            "arguments": to_json(job.arguments),
            "writes": job.writes,
            "digest": digest,
        }

    def _name_collision(self, rows: list[dict[str, object]]) -> None:
        for row in rows:
            if self._db.execute(_PLAN, row).rowcount != 1:
                other = self._db.execute("SELECT input FROM jobs WHERE name = ?", (row["name"],)).fetchone()[0]
                raise UsageError(
                    f"'{other}' and '{row['input']}' would both be written to '{row['name']}': tell them apart, "
                    "e.g. with --name '{parent}_{stem}' or '{index:06d}_{stem}'"
                )

    def _check_nesting(self) -> None:
        names = self._db.execute(
            "SELECT name, input FROM jobs WHERE generation = ? AND instr(name, '/')", (self.generation,)
        )
        known = set()
        for name, source in names:
            parts = name.split("/")
            for above in ("/".join(parts[:depth]) for depth in range(1, len(parts))):
                if above in known:
                    continue
                known.add(above)
                other = self._db.execute(
                    "SELECT input FROM jobs WHERE name = ? AND generation = ?", (above, self.generation)
                ).fetchone()
                if other is not None:
                    raise UsageError(f"'{source}' would be written to '{name}', inside of '{above}' of '{other[0]}'")

    def set_back(self, states: Iterable[State]) -> None:
        """Make the jobs of this run that are in `states` pending again, with fresh attempts."""
        self._db.executemany(
            "UPDATE jobs SET state = 'pending', attempts = 0, losses = 0 WHERE generation = ? AND state = ?",
            [(self.generation, state) for state in states],
        )

    def keep_done(self) -> None:
        """Mark what is done already as kept, which sets it apart from what this run does."""
        self._db.execute("UPDATE jobs SET kept = (state = 'done') WHERE generation = ?", (self.generation,))

    def rows(self, state: State, after: int = -1, limit: int = -1) -> list[tuple[int, Row]]:
        """Jobs of this run in a state, by position, from the one behind `after` on; each with its position."""
        found = self._db.execute(
            f"SELECT position, {_COLUMNS} FROM jobs WHERE generation = ? AND state = ? AND position > ? "
            "ORDER BY position LIMIT ?",
            (self.generation, state, after, limit),
        )
        return [(values[0], _row(values[1:])) for values in found]

    def all_publishing(self) -> list[Row]:
        """Jobs of any run whose output was on its way."""
        found = self._db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE state = 'publishing'")
        return [_row(values) for values in found]

    def update(self, changes: Iterable[tuple[int, Mapping[str, object]]]) -> None:
        """Write columns of jobs by their numbers; within :meth:`transaction` where there are several."""
        for number, columns in changes:
            names = ", ".join(f"{name} = ?" for name in columns)
            self._db.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*columns.values(), number))

    def counts(self) -> dict[State, int]:
        """How many jobs of this run are in each state."""
        query = "SELECT state, count(*) FROM jobs WHERE generation = ? GROUP BY state"
        found = self._db.execute(query, (self.generation,))
        return {State(state): count for state, count in found}

    def kept(self) -> int:
        """How many were done before this run."""
        query = "SELECT count(*) FROM jobs WHERE generation = ? AND kept AND state = 'done'"
        return int(self._db.execute(query, (self.generation,)).fetchone()[0])

    def table(self, failures_only: bool = False, limit: int = -1) -> Iterator[dict[str, object]]:
        """Every job of this run as a row of the summary, by position."""
        names = (
            "name", "input", "state", "exit_code", "seconds", "attempts", "error", "verb", "host",
            "output_bytes", "output_digest", "figures",
        )  # fmt: skip
        states = "AND state IN ('failed', 'timeout', 'crashed')" if failures_only else ""
        query = f"SELECT {', '.join(names)} FROM jobs WHERE generation = ? {states} ORDER BY position LIMIT ?"
        with closing(self._db.cursor()) as cursor:
            for values in cursor.execute(query, (self.generation, limit)):
                yield dict(zip(names, values, strict=True))

    def outputs(self) -> Iterator[tuple[int, str]]:
        """Number and name of every job of this run that is done."""
        yield from self._db.execute(
            "SELECT id, name FROM jobs WHERE generation = ? AND state = 'done'", (self.generation,)
        )
