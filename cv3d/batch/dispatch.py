"""The loop of a batch: jobs from the journal to the engine, outcomes back, outputs into their places."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from cv3d.batch.jobs import End, Job, Outcome, State, Task
from cv3d.batch.journal import Journal, Row
from cv3d.batch.local import Slots
from cv3d.batch.options import BatchOptions
from cv3d.batch.publishing import LOGS, Layout, publish
from cv3d.errors import EXIT_USAGE
from cv3d.formats.json_text import to_json
from cv3d.progress import Progress

STAGE = "jobs"
MOST_LOSSES = 5
"""Attempts that may go down with their machines before the job is taken to be the cause."""

_AHEAD = 512
_FLUSH_AFTER = 256
_FLUSH_EVERY_S = 0.1
_GRACE_S = 15.0

_FINAL = {End.DONE: State.DONE, End.TIMEOUT: State.TIMEOUT, End.CRASHED: State.CRASHED, End.LOST: State.CRASHED}


class Engine(Protocol):
    """Where tasks run."""

    name: str

    @property
    def slots(self) -> Slots:
        """How many jobs run at a time."""

    @property
    def has_gpus(self) -> bool:
        """Whether there is a GPU to be shared out."""

    @property
    def busy(self) -> int:
        """How many tasks it has."""

    def start(self, task: Task) -> bool:
        """Take a task where there is a place for it; whether there was."""

    def wait(self, seconds: float) -> list[Outcome]:
        """What has ended, after at most so many seconds."""

    def interrupt(self) -> None:
        """Send every job what Ctrl-C sends."""

    def kill(self) -> None:
        """Kill every job; each is reported as interrupted."""

    def close(self) -> None:
        """Give everything back."""


def wants_gpu(job: Job) -> bool:
    """Whether a job runs on a GPU where there is one: by its --device, else by CV3D_DEVICE."""
    device = os.environ.get("CV3D_DEVICE", "auto")
    for k, argument in enumerate(job.arguments):
        if argument.startswith("--device="):
            device = argument.partition("=")[2]
        elif argument == "--device" and k + 1 < len(job.arguments):
            device = job.arguments[k + 1]
    return device != "cpu"


class Stop:
    """What Ctrl-C asks for: once, that jobs end gracefully; twice, at once."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: object) -> None:
        """Handle a signal."""
        self.count += 1


class Dispatcher:
    """Runs all pending jobs of a journal's run."""

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        layout: Layout,
        options: BatchOptions,
        progress: Progress,
        on_status: Callable[[str], None],
        stop: Stop,
    ) -> None:
        self._journal, self._engine, self._layout, self._options = journal, engine, layout, options
        self._progress, self._on_status, self._stop = progress, on_status, stop
        self._queue: deque[Row] = deque()
        self._position = -1
        self._is_read = False
        self._running: dict[int, Row] = {}
        self._changes: list[tuple[int, Mapping[str, object]]] = []
        self._arrived: list[tuple[Row, Outcome, State]] = []
        self._last_flush = time.monotonic()
        self._failed = 0
        self._is_stopping = False

    def run(self) -> None:
        """Run them; returns when none is left, or none is to be started any more.

        Raises:
            KeyboardInterrupt: the user asked to stop. Jobs that were running are pending again.
        """
        asked_at, asked = 0.0, 0
        try:
            while True:
                if self._stop.count > asked:
                    asked, asked_at, self._is_stopping = self._stop.count, time.monotonic(), True
                    if asked == 1:
                        self._engine.interrupt()
                if asked > 1 or (asked and time.monotonic() - asked_at > _GRACE_S):
                    self._engine.kill()
                if not self._is_stopping:
                    self._fill()
                if not self._engine.busy and (self._is_stopping or not self._queue):
                    break
                for outcome in self._engine.wait(_FLUSH_EVERY_S):
                    self._take(outcome)
                if len(self._arrived) >= _FLUSH_AFTER or time.monotonic() - self._last_flush > _FLUSH_EVERY_S:
                    self._flush()
        finally:
            self._flush()
            self._flush()
        if asked:
            raise KeyboardInterrupt

    def _fill(self) -> None:
        """Give the engine all that it has places for."""
        for _ in range(_AHEAD):
            if not self._is_read and len(self._queue) < _AHEAD // 2:
                self._read_ahead()
            if not self._queue or not self._start_one():
                return

    def _read_ahead(self) -> None:
        found = self._journal.rows(State.PENDING, self._position, _AHEAD)
        self._queue.extend(row for _, row in found)
        self._is_read = len(found) < _AHEAD
        if found:
            self._position = found[-1][0]

    def _start_one(self) -> bool:
        """Start the first job that there is a place for, or turn it down; whether there was one."""
        waits_for_gpu = False
        for k, row in enumerate(self._queue):
            needs_gpu = self._engine.has_gpus and wants_gpu(row.job)
            if needs_gpu and waits_for_gpu:
                continue
            problem = self._obstacle(row)
            if problem:
                del self._queue[k]
                self._settle(row, Outcome(row.id, End.FAILED, 1, problem), State.FAILED, row.attempts)
                return True
            task = self._task(row, needs_gpu)
            if self._engine.start(task):
                del self._queue[k]
                self._running[row.id] = row
                running = {"state": State.RUNNING, "work": task.work, "started": time.time()}
                self._changes.append((row.id, running))
                return True
            if not needs_gpu:
                return False
            waits_for_gpu = True
        return False

    def _obstacle(self, row: Row) -> str:
        """Why a job must not be run; "" where it may."""
        if self._layout.out is None or self._options.overwrite or row.output_digest is not None:
            return ""
        target = self._layout.out / row.job.name
        if not os.path.lexists(target):
            return ""
        return f"{target}: is there already, and not by this batch; --overwrite replaces it"

    def _task(self, row: Row, needs_gpu: bool) -> Task:
        job, options, layout = row.job, self._options, self._layout
        attempt = f"{row.id}-{self._journal.generation}-{row.attempts}-{row.losses}"
        return Task(
            row.id, job.verb, job.input, job.arguments, job.name.rpartition("/")[2], job.writes,
            os.path.join(layout.work, attempt),  # noqa: PTH118 - a hundred thousand of them
            f"{layout.state}/{LOGS}/{job.name}.log",
            options.timeout_s, options.memory_bytes, needs_gpu,
            f"{layout.url.rstrip('/')}/{job.name}" if layout.url else "",
            options.overwrite or row.output_digest is not None,
        )  # fmt: skip

    def _take(self, outcome: Outcome) -> None:
        """What follows from an outcome: again, or for good."""
        row = self._running.pop(outcome.id)
        if self._stop.count and outcome.end in (End.INTERRUPTED, End.CRASHED, End.LOST):
            self._changes.append((row.id, {"state": State.PENDING}))
            return
        if outcome.end is End.LOST and row.losses < MOST_LOSSES:
            self._again(row, row.attempts, row.losses + 1)
            return
        attempts = row.attempts + 1
        is_final = outcome.end is End.DONE or outcome.exit_code == EXIT_USAGE or attempts > self._options.retry
        if not is_final and not self._is_stopping:
            self._again(row, attempts, row.losses)
            return
        self._settle(row, outcome, _FINAL.get(outcome.end, State.FAILED), attempts)

    def _again(self, row: Row, attempts: int, losses: int) -> None:
        changed = {"state": State.PENDING, "attempts": attempts, "losses": losses}
        self._changes.append((row.id, changed))
        job = row.job
        self._queue.append(Row(row.id, job, State.PENDING, attempts, losses, row.output_digest, None, None))

    def _settle(self, row: Row, outcome: Outcome, verdict: State, attempts: int) -> None:
        """The last attempt at a job is over; what it wrote waits for the next flush."""
        columns: dict[str, object] = {
            "state": verdict,
            "attempts": attempts,
            "seconds": round(outcome.seconds, 4),
            "exit_code": outcome.exit_code,
            "error": outcome.error,
            "figures": to_json(outcome.figures) if outcome.figures else None,
            "host": outcome.host,
            "pid": outcome.pid,
        }
        if outcome.output_digest is not None:
            columns |= {"output_digest": outcome.output_digest, "output_bytes": outcome.output_bytes}
            if not self._layout.url:
                columns |= {"state": State.PUBLISHING, "verdict": verdict}
        self._changes.append((row.id, columns))
        self._arrived.append((row, outcome, verdict))
        if verdict is not State.DONE:
            self._failed += 1
            self._is_stopping = self._is_stopping or self._options.fail_fast

    def _flush(self) -> None:
        """Commit, then move outputs into their places: a kill between the two is found out by what is there."""
        self._last_flush = time.monotonic()
        if not self._changes and not self._arrived:
            return
        with self._journal.transaction():
            self._journal.update(self._changes)
        arrived, self._changes, self._arrived = self._arrived, [], []
        for row, outcome, verdict in arrived:
            if outcome.output_digest is not None and not self._layout.url:
                work = self._task(row, False).work
                self._changes.append((row.id, publish(row, outcome.parcel, Path(work), verdict, self._layout)))
            self._progress.advance(STAGE)
        if arrived:
            self._on_status(f"{self._failed} failed" if self._failed else "")
