"""The near end of a worker process: tasks go in, outcomes come out, whatever becomes of the process."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cv3d.batch.jobs import End, Outcome, Task
from cv3d.batch.results import last_error
from cv3d.batch.worker import BEGUN
from cv3d.compute import usable_cores

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM",
)  # fmt: skip
"""What OpenMP, the linear algebra packages, numba and OpenCV take their number of threads from, torch by them."""

_MOST_GROWTH = 1 << 30
_BETWEEN_LOOKS_S = 0.05


def worker_environment(threads: int, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker: this process's, with its threads limited."""
    places = os.pathsep.join(place for place in sys.path if place)
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": places,
        "CV3D_PROGRESS": "plain",
        **more,
    }


class WorkerProcess:
    """One worker. It is started when the first task comes, and again after each end of its process."""

    def __init__(self, program: str, environment: Mapping[str, str], folder: str | None = None) -> None:
        """Make it, without starting anything.

        Args:
            program: "module:function" of what runs a command line.
            environment: of the process, complete.
            folder: where it works; None: here.
        """
        self._program, self._folder = program, folder
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._received = b""
        self._first_size: int | None = None
        self._next_look = 0.0
        self._begin, self._has_begun = 0.0, False
        self._killed_for: tuple[End, str] | None = None
        self.task: Task | None = None
        """What it is working on."""

    @property
    def connection(self) -> socket.socket | None:
        """Readable when there is news."""
        return self._connection

    def start(self, task: Task) -> None:
        """Give it a task; it has none."""
        self.task, self._begin, self._has_begun, self._killed_for = task, time.monotonic(), False, None
        line = json.dumps(vars(task)).encode() + b"\n"
        if self._connection is None:
            self._spawn()
        with contextlib.suppress(OSError):  # a process that is gone shows as the end of its messages
            if self._connection is not None:
                self._connection.sendall(line)

    def _spawn(self) -> None:
        near, far = socket.socketpair()
        with far:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cv3d.batch.worker", str(far.fileno()), self._program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._environment,
                cwd=self._folder,
                pass_fds=[far.fileno()],
                start_new_session=True,
            )
        self._connection, self._received, self._first_size = near, b"", None

    def outcome(self) -> Outcome | None:
        """What came of the task, once the connection is readable; None while there is only part of it."""
        task, connection = self.task, self._connection
        if task is None or connection is None:
            return None
        try:
            data = connection.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            return self._after_death(task)
        self._received += data
        if self._received.startswith(BEGUN):
            self._received, self._begin, self._has_begun = self._received[len(BEGUN) :], time.monotonic(), True
        if not self._received.endswith(b"\n"):
            return None
        message = json.loads(self._received)
        self._received, self.task = b"", None
        outcome = Outcome(**{**message, "end": End(message["end"])})
        self._replace_when_grown(outcome)
        return outcome

    def _after_death(self, task: Task) -> Outcome:
        process = self._process
        pid = process.pid if process is not None else 0
        code = self._discard()
        seconds = time.monotonic() - self._begin
        host = socket.gethostname()
        if self._killed_for is not None:
            end, error = self._killed_for
            return Outcome(task.id, end, None, error, seconds, host=host, pid=pid)
        said = last_error(task.log)
        how = _signal_name(-code) if code < 0 else f"it ended by itself with {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        error = f"the job's process died: {how}{hint}" + (f"; last said: {said}" if said else "")
        return Outcome(task.id, End.CRASHED, None, error, seconds, host=host, pid=pid)

    def check_limits(self) -> None:
        """Kill the process where its task is over its time or its memory."""
        task, now = self.task, time.monotonic()
        if task is None or self._process is None or self._killed_for is not None:
            return
        if task.timeout_s is not None and self._has_begun and now - self._begin > task.timeout_s:
            self.kill(End.TIMEOUT, f"took longer than --timeout {task.timeout_s:g} s")
        elif task.memory_bytes is not None and now >= self._next_look:
            self._next_look = now + _BETWEEN_LOOKS_S
            size = resident_bytes(self._process.pid)
            if size is not None and size > task.memory_bytes:
                used, limit = size / 2**30, task.memory_bytes / 2**30
                self.kill(End.FAILED, f"used {used:.2f} GiB of memory, more than --memory allows ({limit:.2f} GiB)")

    def next_check_s(self) -> float | None:
        """Seconds until :meth:`check_limits` has something to do."""
        if self.task is None:
            return None
        waits = [] if self.task.memory_bytes is None else [_BETWEEN_LOOKS_S]
        if self.task.timeout_s is not None and self._has_begun:
            waits.append(max(0.0, self._begin + self.task.timeout_s - time.monotonic()) + 0.001)
        return min(waits, default=None)

    def interrupt(self) -> None:
        """Send the job what Ctrl-C sends."""
        if self._process is not None and self.task is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    def kill(self, end: End, error: str) -> None:
        """Kill the process; the outcome will say `end` and `error`."""
        self._killed_for = (end, error)
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self.kill(End.LOST, "closed")
            self._discard()
        self.task = None

    def _discard(self) -> int:
        """The exit code of the process, which is at its end; nothing of it is left."""
        process, connection = self._process, self._connection
        self._process = self._connection = self.task = None
        if connection is not None:
            connection.close()
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # and what the job itself may have started
        return process.wait()

    def _replace_when_grown(self, outcome: Outcome) -> None:
        """Let a process go that holds a gigabyte more than after its first job, or whose last job ended oddly."""
        if self._process is None:
            return
        odd = outcome.exit_code not in (0, 1, 2, 3)
        size = resident_bytes(self._process.pid)
        if self._first_size is None:
            self._first_size = size
        if odd or (size is not None and self._first_size is not None and size > self._first_size + _MOST_GROWTH):
            self._discard()


def resident_bytes(pid: int) -> int | None:
    """Memory that a process has in use; None where that cannot be told."""
    try:
        text = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _resident_by_ps(pid) if platform.system() == "Darwin" else None


def _resident_by_ps(pid: int) -> int | None:
    done = subprocess.run(["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(done.stdout) * 1024 if done.stdout.strip().isdecimal() else None


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def default_jobs() -> int:
    """Jobs at a time: a core for each, and two gigabytes."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        memory = 8 << 30
    return max(1, min(usable_cores(), memory >> 31))
