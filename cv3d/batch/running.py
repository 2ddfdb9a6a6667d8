"""`cv3d.batch(...)`: many jobs, each once, whatever happens in between."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import cv3d
from cv3d.batch.dispatch import STAGE, Dispatcher, Engine, Stop
from cv3d.batch.jobs import INPUT, State
from cv3d.batch.journal import Journal, Row
from cv3d.batch.lease import lease
from cv3d.batch.local import LocalEngine, Slots, gpus_here
from cv3d.batch.options import BatchOptions, EngineName, Program
from cv3d.batch.places import is_url
from cv3d.batch.planning import Digester, Order, TakesOutput, jobs_of
from cv3d.batch.publishing import LOGS, Layout, settle_unpublished
from cv3d.batch.results import MOST_FAILURES, BatchResult, Failure, Plan
from cv3d.batch.summary import write_tables
from cv3d.batch.workers import default_jobs
from cv3d.compute import usable_cores
from cv3d.errors import OutputError, UsageError
from cv3d.formats.atomic import atomic_write_text
from cv3d.formats.json_text import to_json
from cv3d.progress import SILENT, Progress

JOURNAL_FILE = "journal.sqlite"
RESULT_FILE = "result.json"
MOST_COMMANDS = 20
"""Command lines that a dry run shows."""

_TRY_AGAIN = (State.FAILED, State.TIMEOUT, State.CRASHED)


def batch(
    orders: Iterable[Order],
    out: str | Path,
    *,
    options: BatchOptions | None = None,
    program: Program | None = None,
    progress: Progress = SILENT,
    on_status: Callable[[str], None] = lambda _: None,
) -> BatchResult:
    """Run commands on many inputs.

    Outputs appear whole or not at all, each once. The journal in `out` knows what is done: the same call after an
    interruption or a kill goes on where it was, and keeps what is done as long as command, arguments, input and
    version are the same. Failures of a run that came to its end are tried again by the next.

    Args:
        orders: what to do; taken as they come, not held in memory.
        out: folder or URL of the outputs, one below it for each job.
        options: how.
        program: what runs a command line; the `cv3d` command by default.
        progress: told of the jobs as they end.
        on_status: told in a few words how it goes.

    Returns:
        What became of it; the tables lie in `out`.

    Raises:
        UsageError: two jobs would write to one place, or the options make no sense.
        OutputError: `out` cannot be written, or another batch works on it.
        KeyboardInterrupt: interrupted; the jobs that were running are pending again.
    """
    begin = time.monotonic()
    options, program = options or BatchOptions(), program or Program()
    _check(options)
    layout = _layout(str(out), options)
    _make_folders(layout)
    with lease(layout.state / ".batch" / "lock", layout.state), _journal(layout) as journal, _stoppable() as stop:
        progress.start("plan")
        _take_up(journal, orders, layout, options, program)
        progress.finish("plan")
        planned = time.monotonic()
        pending = journal.counts().get(State.PENDING, 0)
        engine = _engine(program, options, layout, pending)
        try:
            progress.start(STAGE, pending)
            Dispatcher(journal, engine, layout, options, progress, on_status, stop).run()
            progress.finish(STAGE)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_how_far(journal, layout)) from None
        finally:
            engine.close()
        shutil.rmtree(layout.work, ignore_errors=True)
        journal.end()
        return _finished(journal, layout, engine, begin, planned)


def plan(
    orders: Iterable[Order], out: str | Path, *, options: BatchOptions | None = None, program: Program | None = None
) -> Plan:
    """What :func:`batch` would do with the same arguments; nothing is written.

    Raises:
        UsageError: as there.
        OutputError: the journal in `out` cannot be read.
    """
    options, program = options or BatchOptions(), program or Program()
    _check(options)
    layout = _layout(str(out), options)
    path = layout.state / ".batch" / JOURNAL_FILE
    journal = Journal(path if path.exists() else None)
    try:
        with journal.transaction(keep=False):
            _plan(journal, orders, layout, options, program)
            counts = journal.counts()
            slots = _slots(options, counts.get(State.PENDING, 0))
            rows = [row for _, row in journal.rows(State.PENDING, limit=MOST_COMMANDS)]
            kept = counts.get(State.DONE, 0)
            commands = tuple(_command_line(row, layout) for row in rows)
            return Plan(str(out), sum(counts.values()), kept, slots.jobs, slots.threads, commands)
    finally:
        journal.close()


def _check(options: BatchOptions) -> None:
    for name, value in (("--jobs", options.jobs), ("--threads", options.threads), ("--per-gpu", options.per_gpu)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: is at least 1")
    if options.timeout_s is not None and options.timeout_s <= 0.0:
        raise UsageError(f"--timeout {options.timeout_s:g}: is a number of seconds above 0")


def _layout(out: str, options: BatchOptions) -> Layout:
    if is_url(out):
        name = out.rstrip("/").rpartition("/")[2] or "batch"
        return Layout(Path(options.state_folder or f"{name}_batch").absolute(), None, out)
    folder = Path(out).expanduser().absolute()
    state = Path(options.state_folder).absolute() if options.state_folder else folder
    return Layout(state, folder)


def _make_folders(layout: Layout) -> None:
    try:
        for folder in (layout.state, layout.state / ".batch", layout.work, layout.state / LOGS, layout.out):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{layout.state}: cannot be written: {error.strerror or error}") from error
    if layout.out is not None and layout.out.stat().st_dev != layout.work.stat().st_dev:
        raise OutputError(f"{layout.state}: --state lies on another file system than OUT; outputs are renamed into OUT")


@contextmanager
def _journal(layout: Layout) -> Iterator[Journal]:
    journal = Journal(layout.state / ".batch" / JOURNAL_FILE)
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def _stoppable() -> Iterator[Stop]:
    """Ctrl-C counted instead of raised, where this is the main thread; elsewhere it goes its own way."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _take_up(
    journal: Journal, orders: Iterable[Order], layout: Layout, options: BatchOptions, program: Program
) -> None:
    """Bring the journal to where this run begins."""
    settle_unpublished(journal, layout)
    shutil.rmtree(layout.work, ignore_errors=True)
    layout.work.mkdir(parents=True, exist_ok=True)
    (layout.state / RESULT_FILE).unlink(missing_ok=True)
    with journal.transaction():
        _plan(journal, orders, layout, options, program)


def _plan(journal: Journal, orders: Iterable[Order], layout: Layout, options: BatchOptions, program: Program) -> None:
    takes_output: TakesOutput = _named(program.takes_output)
    earlier = journal.begin(socket.gethostname(), os.getpid(), cv3d.__version__, options.overwrite)
    digest = Digester(program.main)
    total = journal.plan((job, digest(job)) for job in jobs_of(orders, takes_output, str(layout.out or layout.url)))
    if not total:
        raise UsageError("no jobs: the list of inputs is empty")
    goes_on = earlier.was_cut_off and earlier.was_anew == options.overwrite
    if not goes_on:
        journal.set_back((*_TRY_AGAIN, State.DONE) if options.overwrite else _TRY_AGAIN)
    journal.set_back([State.RUNNING])
    if layout.out is not None:
        gone = [number for number, name in journal.outputs() if not os.path.lexists(f"{layout.out}/{name}")]
        journal.update((number, {"state": State.PENDING}) for number in gone)
    journal.keep_done()


def _named(name: str) -> TakesOutput:
    module, _, function = name.partition(":")
    found: TakesOutput = getattr(import_module(module), function)
    return found


def _slots(options: BatchOptions, pending: int) -> Slots:
    gpus = gpus_here() if options.engine is EngineName.LOCAL else ()
    jobs = options.jobs or max(1, min(default_jobs(), pending))
    return Slots(jobs, options.threads or max(1, usable_cores() // jobs), gpus, options.per_gpu)


def _engine(program: Program, options: BatchOptions, layout: Layout, pending: int) -> Engine:
    if options.engine is EngineName.LOCAL:
        return LocalEngine(program.main, _slots(options, pending))
    from cv3d.batch.ray_engine import RayEngine

    return RayEngine(program.main, options, layout.state / ".batch" / "lock")


def _how_far(journal: Journal, layout: Layout) -> str:
    counts = journal.counts()
    done, total = counts.get(State.DONE, 0), sum(counts.values())
    return f"{done} of {total} jobs are done and in {layout.url or layout.out}; the same command goes on with the rest"


def _command_line(row: Row, layout: Layout) -> str:
    job = row.job
    output = ["-o", f"{layout.url or layout.out}/{job.name}"] if job.writes else []
    words = ["cv3d", *job.verb.split(), *(word.replace(INPUT, job.input) for word in job.arguments), *output]
    return shlex.join(words)


def _finished(journal: Journal, layout: Layout, engine: Engine, begin: float, planned: float) -> BatchResult:
    """The result, its tables written."""
    counts, kept, slots = journal.counts(), journal.kept(), engine.slots
    root = layout.url.rstrip("/") or str(layout.out)
    files, notes = write_tables(journal, layout.state, lambda name: f"{root}/{name}")
    failures = tuple(
        Failure(
            str(row["name"]), str(row["input"]), str(row["state"]),
            None if row["exit_code"] is None else int(str(row["exit_code"])),
            int(str(row["attempts"])), str(row["error"]),
        )
        for row in journal.table(failures_only=True, limit=MOST_FAILURES)
    )  # fmt: skip
    result = BatchResult(
        out=root,
        total=sum(counts.values()),
        done=counts.get(State.DONE, 0) - kept,
        skipped=kept,
        failed=sum(counts.get(state, 0) for state in _TRY_AGAIN),
        pending=counts.get(State.PENDING, 0),
        seconds=time.monotonic() - begin,
        planning_seconds=planned - begin,
        engine=engine.name,
        jobs=slots.jobs,
        threads=slots.threads,
        failures=failures,
        files=(*files, RESULT_FILE),
        state_folder=str(layout.state),
        notes=tuple(notes),
    )
    atomic_write_text(layout.state / RESULT_FILE, to_json(result.as_result(), indent=2) + "\n")
    return result
