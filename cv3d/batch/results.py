"""What is left of a job's result in the journal, and the result of a batch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SCHEMA = "cv3d.batch/1"
MOST_FIGURES = 64
"""Flat figures that are kept of one job."""
MOST_FAILURES = 100
"""Failures that the result lists; the table has all."""

_LONGEST_TEXT = 200
_LOG_END = 16384
_NOT_FIGURES = ("schema", "run_digest")


def figures_of(text: str) -> dict[str, object]:
    """The flat figures of a command's JSON: `{"frames": {"total": 3}}` gives `frames.total`; lists are passed over."""
    try:
        result = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(result, dict):
        return {}
    figures: dict[str, object] = {}
    for name, value in _leaves(result, ""):
        if len(figures) == MOST_FIGURES:
            break
        figures[name] = value
    return figures


def _leaves(content: Mapping[str, object], above: str) -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _LONGEST_TEXT):
            if above or key not in _NOT_FIGURES:
                yield f"{above}{key}", value
        elif isinstance(value, dict) and above.count(".") < 2:
            yield from _leaves(value, f"{above}{key}.")


def last_error(log: str | os.PathLike[str]) -> str:
    """The last line of a log that is an error, else its last line at all; "" where there is none."""
    try:
        with Path(log).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _LOG_END))
            lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1][:1000]


@dataclass(frozen=True)
class Failure:
    """A job that did not succeed."""

    name: str
    """Name of its output."""
    input: str
    """What it worked on."""
    state: str
    """failed, timeout or crashed."""
    exit_code: int | None
    """Exit code of its command; None where it did not get that far."""
    attempts: int
    """How often it was tried."""
    error: str
    """One line."""


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch."""

    out: str
    """Folder or URL of the outputs."""
    total: int
    """Jobs of the plan."""
    done: int
    """Succeeded in this run."""
    skipped: int
    """Had succeeded before, with the same inputs, arguments and version."""
    failed: int
    """Failed, ran out of time or crashed."""
    pending: int
    """Not tried: the batch stopped at the first failure."""
    seconds: float
    """Time of the run, the plan included."""
    planning_seconds: float
    """Time of the plan."""
    engine: str
    """local or ray."""
    jobs: int
    """Jobs at a time, at most."""
    threads: int
    """Threads of each."""
    failures: tuple[Failure, ...]
    """The first of them."""
    files: tuple[str, ...]
    """What the batch itself has written, below `state_folder`."""
    state_folder: str
    """Folder of the journal, the logs and the summary: OUT, where that is a folder."""
    notes: tuple[str, ...]
    """What the user should know of it."""

    @property
    def succeeded(self) -> bool:
        """Whether every job of the plan is done."""
        return self.done + self.skipped == self.total

    @property
    def jobs_per_second(self) -> float:
        """Jobs that this run brought to an end, by its time."""
        return (self.done + self.failed) / self.seconds if self.seconds > 0.0 else 0.0

    def as_result(self) -> dict[str, object]:
        """The object that `--json` prints."""
        return {
            "schema": SCHEMA,
            "out": self.out,
            "total": self.total,
            "done": self.done,
            "failed": self.failed,
            "skipped": self.skipped,
            "pending": self.pending,
            "seconds": round(self.seconds, 3),
            "planning_seconds": round(self.planning_seconds, 3),
            "jobs_per_second": round(self.jobs_per_second, 3),
            "engine": self.engine,
            "jobs": self.jobs,
            "threads": self.threads,
            "failures": [vars(failure) for failure in self.failures],
            "notes": list(self.notes),
            "files": list(self.files),
        }


@dataclass(frozen=True)
class Plan:
    """What a batch would do."""

    out: str
    """Folder or URL of the outputs."""
    total: int
    """Jobs."""
    skipped: int
    """Of them, done already."""
    jobs: int
    """Jobs at a time, at most."""
    threads: int
    """Threads of each."""
    commands: tuple[str, ...]
    """The first command lines, as a shell has them."""

    def as_result(self) -> dict[str, object]:
        """The object that `--json` prints."""
        content = {name: value for name, value in vars(self).items() if name != "commands"}
        return {"schema": "cv3d.batch_plan/1", **content, "commands": list(self.commands)}
