"""The engine of this machine: a fixed number of worker processes."""

from __future__ import annotations

import os
import select
import sys
from dataclasses import dataclass
from pathlib import Path

from cv3d.batch.jobs import End, Outcome, Task
from cv3d.batch.workers import WorkerProcess, worker_environment

VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpus_here() -> tuple[str, ...]:
    """The GPUs of this machine, as a job is told which it may see; asked without loading anything.

    On a Mac with Apple's processor it is "mps". The variable CUDA_VISIBLE_DEVICES narrows NVIDIA's.
    """
    if sys.platform == "darwin":
        return ("mps",) if os.uname().machine == "arm64" else ()
    devices = [path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdecimal()]
    present = tuple(str(k) for k in range(len(devices)))
    narrowed = os.environ.get(VISIBLE)
    if narrowed is None:
        return present
    return tuple(name for name in narrowed.replace(" ", "").split(",") if name) if present else ()


@dataclass(frozen=True)
class Slots:
    """How many jobs run at a time."""

    jobs: int
    """In all."""
    threads: int
    """Of each."""
    gpus: tuple[str, ...] = ()
    """GPUs to be shared out."""
    per_gpu: int = 1
    """Jobs that use one of them at a time."""


class LocalEngine:
    """Runs tasks in worker processes of this machine."""

    name = "local"

    def __init__(self, program: str, slots: Slots) -> None:
        """Make it; processes start with their first task.

        Args:
            program: "module:function" of what runs a command line.
            slots: how many jobs at a time.
        """
        self.slots = slots
        self._with_gpu: list[WorkerProcess] = []
        self._without: list[WorkerProcess] = []
        shares = [gpu for _ in range(slots.per_gpu) for gpu in slots.gpus][: slots.jobs]
        for k in range(slots.jobs):
            gpu = shares[k] if k < len(shares) else ""
            more = {VISIBLE: gpu} if gpu and gpu != "mps" else {}
            worker = WorkerProcess(program, worker_environment(slots.threads, more))
            (self._with_gpu if gpu else self._without).append(worker)

    @property
    def _workers(self) -> list[WorkerProcess]:
        return [*self._without, *self._with_gpu]

    @property
    def has_gpus(self) -> bool:
        """Whether there is one to be shared out."""
        return bool(self._with_gpu)

    @property
    def busy(self) -> int:
        """How many tasks are running."""
        return sum(worker.task is not None for worker in self._workers)

    def start(self, task: Task) -> bool:
        """Start a task where there is a free place for it; whether there was."""
        places = self._with_gpu if task.needs_gpu else self._workers
        worker = next((worker for worker in places if worker.task is None), None)
        if worker is None:
            return False
        worker.start(task)
        return True

    def wait(self, seconds: float) -> list[Outcome]:
        """What has ended, after at most so many seconds or at the first end."""
        workers = [worker for worker in self._workers if worker.task is not None]
        for worker in workers:
            worker.check_limits()
        checks = [wait for worker in workers if (wait := worker.next_check_s()) is not None]
        sockets = {worker.connection: worker for worker in workers if worker.connection is not None}
        ready, _, _ = select.select(list(sockets), [], [], min([seconds, *checks]))
        outcomes = [sockets[one].outcome() for one in ready]
        return [outcome for outcome in outcomes if outcome is not None]

    def interrupt(self) -> None:
        """Send every job what Ctrl-C sends."""
        for worker in self._workers:
            worker.interrupt()

    def kill(self) -> None:
        """Kill every job; each is reported as interrupted."""
        for worker in self._workers:
            if worker.task is not None:
                worker.kill(End.INTERRUPTED, "interrupted")

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()
