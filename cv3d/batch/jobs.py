"""What a job is, before it runs (:class:`Job`), while it runs (:class:`Task`) and afterwards (:class:`Outcome`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

INPUT = "{input}"
"""Stands in a job's arguments for the path of its input."""


class State(StrEnum):
    """Where a job is."""

    PENDING = "pending"
    RUNNING = "running"
    PUBLISHING = "publishing"
    """It has run, and what it wrote is on its way to its place."""
    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    """Its process was killed or died of itself."""


class End(StrEnum):
    """How one attempt at a job ended."""

    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    LOST = "lost"
    """Through no fault of its own: its machine went away."""
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Job:
    """One command on one input."""

    verb: str
    """The command, after its group where it has one: "odometry", "evaluate trajectory"."""
    input: str
    """Path or URL that the command works on; "" where it takes none."""
    arguments: tuple[str, ...]
    """What follows the verb. `{input}` stands for the input."""
    name: str
    """Where its output goes, below OUT, with `/` between folders. No two jobs have the same."""
    writes: bool
    """Whether the command takes `-o`; otherwise its result is kept as a JSON file."""


@dataclass(frozen=True)
class Task:
    """One attempt at a job, as a worker is told of it."""

    id: int
    """Number of the job in the journal."""
    verb: str
    """The command."""
    input: str
    """Path or URL of the input."""
    arguments: tuple[str, ...]
    """What follows the verb; `{input}` stands for the input."""
    output: str
    """Last part of the output's name; what the command is told to write in `work`."""
    writes: bool
    """Whether the command takes `-o`."""
    work: str
    """Folder of this attempt alone, absolute."""
    log: str
    """File that takes what the command says on standard error, absolute."""
    timeout_s: float | None = None
    """Seconds after which it is killed."""
    memory_bytes: int | None = None
    """Resident memory beyond which it is killed."""
    needs_gpu: bool = False
    """Whether it takes a slot of a GPU."""
    url: str = ""
    """Where the output goes, where that is a store; "" where it is renamed into its place."""
    replaces: bool = False
    """Whether what is at `url` may be replaced."""


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended."""

    id: int
    """Number of the job in the journal."""
    end: End
    """How it ended."""
    exit_code: int | None = None
    """Exit code of the command; None where it did not get that far."""
    error: str = ""
    """One line; empty where it succeeded."""
    seconds: float = 0.0
    """Time it took."""
    figures: Mapping[str, object] = field(default_factory=dict)
    """Flat figures of the command's result: numbers, words, truth values, by dotted name."""
    output_digest: str | None = None
    """SHA-256 of what it wrote; None: nothing that is to be kept."""
    output_bytes: int = 0
    """Size of what it wrote."""
    host: str = ""
    """Name of the machine."""
    pid: int = 0
    """Process that ran it."""
    parcel: bytes | None = None
    """What it wrote as a tar archive, where it could not be written beside its place."""
    log: bytes | None = None
    """The end of its log, likewise."""


def argument_list(task: Task, input_path: str, output_path: str) -> list[str]:
    """The command line of an attempt, after the program's name."""
    placed = [argument.replace(INPUT, input_path) for argument in task.arguments]
    output = ["-o", output_path] if task.writes else []
    as_json = [] if "--json" in placed else ["--json"]
    return [*task.verb.split(), *output, *as_json, *placed]
