"""How a batch is run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EngineName(StrEnum):
    """Where jobs run."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is run."""

    jobs: int | None = None
    """Jobs at a time; None: a core and two gigabytes for each, with Ray as many as the cluster has cores for."""
    threads: int | None = None
    """Threads of each job; None: the cores shared out among the jobs."""
    retry: int = 0
    """Further attempts at a job that failed, crashed or ran out of time; none at one that was called wrongly."""
    timeout_s: float | None = None
    """Seconds after which a job is killed."""
    memory_bytes: int | None = None
    """Resident memory beyond which a job is killed."""
    fail_fast: bool = False
    """Start nothing more after the first failure."""
    per_gpu: int = 1
    """Jobs that share a GPU at a time."""
    overwrite: bool = False
    """Do all again, and replace what is there."""
    engine: EngineName = EngineName.LOCAL
    """Where jobs run."""
    address: str | None = None
    """Of the Ray cluster; None: the one that Ray finds, else one of this machine for the time being."""
    state_folder: str | None = None
    """Folder of journal, logs and summary; None: OUT, and for a URL a folder here that is named after it."""


@dataclass(frozen=True)
class Program:
    """What the jobs run. Functions are named, not given: they are loaded in the workers."""

    main: str = "cv3d.cli:main"
    """"module:function" that takes the arguments after the program's name and returns the exit code."""
    takes_output: str = "cv3d.cli.batch:takes_output"
    """"module:function" that says of a command whether it takes `-o`."""
