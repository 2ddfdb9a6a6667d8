"""What a Ray task does on its node: hand a job to a worker process there, and bring home what it wrote."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from cv3d.batch.jobs import End, Outcome, Task
from cv3d.batch.local import VISIBLE
from cv3d.batch.outputs import pack
from cv3d.batch.places import node_and_path
from cv3d.batch.workers import WorkerProcess, worker_environment

_MOST_LOG = 65536
_GRACE_S = 10.0


@dataclass(frozen=True)
class Errand:
    """What all tasks of one batch have in common."""

    program: str
    """"module:function" of what runs a command line."""
    threads: int
    """Threads of a job."""
    folder: str
    """Where the batch was called, which relative paths start from."""
    places: tuple[str, ...]
    """Where the batch's Python finds its modules; on a node they come after its own."""
    variables: tuple[tuple[str, str], ...]
    """The batch's own CV3D_* environment."""
    beacon: str
    """A file beside the outputs ..."""
    beacon_text: str
    """... and what is in it: a node that reads the same shares the batch's file system."""


_workers: dict[tuple[Errand, str], WorkerProcess] = {}


def node_has(paths: tuple[str, ...]) -> tuple[bool, ...]:
    """Which of these paths are on this node."""
    return tuple(os.path.lexists(path) for path in paths)


def run_on_node(errand: Errand, task: Task) -> Outcome:
    """Run one job here.

    Where this node sees the batch's folder the job writes right there, else into a temporary one, and what it wrote
    comes back in the outcome.
    """
    import ray

    host = f"{socket.gethostname()} node {ray.get_runtime_context().get_node_id()[:8]}"
    node, path = node_and_path(task.input)
    if path is not None and task.input and not node:
        task = replace(task, input=os.path.join(errand.folder, path))  # noqa: PTH118 - as text
    if _shares(errand):
        return replace(_run(errand, task), host=host)
    folder = Path(tempfile.mkdtemp(prefix="cv3d-batch-"))
    try:
        here = replace(task, work=str(folder / "work"), log=str(folder / "log"))
        outcome = replace(_run(errand, here), host=host)
        if outcome.output_digest is not None and not task.url:
            outcome = replace(outcome, parcel=pack(folder / "work" / task.output))
        with contextlib.suppress(OSError):
            outcome = replace(outcome, log=Path(here.log).read_bytes()[-_MOST_LOG:])
        return outcome
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _shares(errand: Errand) -> bool:
    try:
        return Path(errand.beacon).read_text(encoding="utf-8") == errand.beacon_text
    except (OSError, UnicodeDecodeError):
        return False


def _run(errand: Errand, task: Task) -> Outcome:
    worker = _worker(errand)
    try:
        worker.start(task)
        return _outcome(worker)
    except KeyboardInterrupt:  # what Ray's cancel comes as
        worker.interrupt()
        return _outcome(worker, time.monotonic() + _GRACE_S)
    except BaseException:
        worker.close()
        raise


def _outcome(worker: WorkerProcess, until: float | None = None) -> Outcome:
    """Wait for the end of the worker's task; it is killed at `until`."""
    while worker.connection is not None:
        worker.check_limits()
        if until is not None and time.monotonic() > until:
            worker.kill(End.INTERRUPTED, "interrupted")
        ready, _, _ = select.select([worker.connection], [], [], min(1.0, worker.next_check_s() or 1.0))
        if ready and (outcome := worker.outcome()) is not None:
            return outcome
    raise RuntimeError("the worker's process is gone without a word")


def _worker(errand: Errand) -> WorkerProcess:
    """The worker of this process for the GPU that Ray gave it just now; one at a time."""
    gpu = os.environ.get(VISIBLE, "")
    worker = _workers.get((errand, gpu))
    if worker is None:
        for other in _workers.values():
            other.close()
        _workers.clear()
        own = [place for place in sys.path if place]
        places = os.pathsep.join([*own, *(place for place in errand.places if place not in own)])
        environment = worker_environment(errand.threads, {"PYTHONPATH": places, **dict(errand.variables)})
        folder = errand.folder if Path(errand.folder).is_dir() else None
        worker = _workers[errand, gpu] = WorkerProcess(errand.program, environment, folder)
    return worker
