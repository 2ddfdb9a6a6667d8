"""From what the user names to the jobs of a batch, one after the other."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import cv3d
from cv3d.batch.jobs import INPUT, Job
from cv3d.batch.naming import fill, input_fields, output_name
from cv3d.batch.places import fingerprint, is_url, matching
from cv3d.errors import InputError

TakesOutput = Callable[[str], bool]
"""Whether a command takes `-o`; raises UsageError for what is no command."""


@dataclass(frozen=True)
class Order:
    """One command for any number of inputs: a line of a jobs file, or what the command line says."""

    verb: str
    """The command: "odometry", "evaluate trajectory"."""
    input: str
    """Path, glob or URL; "" for a command without."""
    arguments: tuple[str, ...] = ()
    """What follows; `{input}` and the fields of :mod:`cv3d.batch.naming` are filled in for each input."""
    name: str = "{stem}"
    """Template of the outputs' names."""


def jobs_of(orders: Iterable[Order], takes_output: TakesOutput, out: str) -> Iterator[Job]:
    """The jobs that the orders make, in their order, inputs of one glob sorted.

    Args:
        orders: what to do.
        takes_output: tells of the commands.
        out: the batch's own output, which is no input.

    Raises:
        InputError: a glob matches nothing.
        UsageError: no such command, or a name is not usable.
    """
    index, own = 0, os.path.abspath(out)  # noqa: PTH100 - as text, like the inputs
    writes_by_verb: dict[str, bool] = {}
    for order in orders:
        if order.verb not in writes_by_verb:
            writes_by_verb[order.verb] = takes_output(order.verb)
        writes = writes_by_verb[order.verb]
        for source in expand(order.input):
            if source and os.path.abspath(source) == own:  # noqa: PTH100
                continue
            yield _job(order, source, index, writes)
            index += 1


def _job(order: Order, source: str, index: int, writes: bool) -> Job:
    fields = input_fields(source, index, order.verb)
    name = output_name(order.name, fields, source or order.verb)
    if not writes:
        name = f"{name}.json"
    arguments = tuple(fill(argument, fields) for argument in order.arguments)
    if source and not any(INPUT in argument for argument in arguments):
        arguments = (INPUT, *arguments)
    return Job(order.verb, source, arguments, name, writes)


def expand(given: str) -> Iterator[str]:
    """The inputs that a path, glob or URL names.

    Raises:
        InputError: a glob matches nothing.
    """
    if is_url(given):
        found: Iterable[str] = matching(given)
    elif glob.has_magic(given) and not os.path.lexists(given):
        found = sorted(glob.iglob(os.path.expanduser(given), recursive=True))  # noqa: PTH207, PTH111 - as the user wrote it
    else:
        found = [given]
    nothing = True
    for source in found:
        nothing = False
        yield source
    if nothing:
        raise InputError(f"{given}: nothing matches this pattern")


class Digester:
    """Tells whether a job is still the same: command, arguments, input, files among the arguments, version."""

    def __init__(self, program: str) -> None:
        self._fixed = (cv3d.__version__, program)
        self._file = lru_cache(4096)(_file_mark)

    def __call__(self, job: Job) -> str:
        """SHA-256 of all that the job's result depends on, files by size and time of change."""
        files = tuple(self._file(argument.partition("=")[2] or argument) for argument in job.arguments)
        seen = fingerprint(job.input) if job.input else ()
        text = repr((self._fixed, job.verb, job.arguments, job.writes, job.input, seen, files))
        return sha256(text.encode(errors="surrogateescape")).hexdigest()


def _file_mark(argument: str) -> tuple[object, ...]:
    return fingerprint(argument) if not is_url(argument) and os.path.lexists(argument) else ()
