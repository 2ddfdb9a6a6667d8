"""A worker: a process that runs one job after another, each as the command line would.

Packages that a command loads stay loaded for the next. The process that started it holds the other end of a socket
over which tasks and outcomes go, a JSON object a line; when that process is gone, however, so is the worker.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

from cv3d.batch.jobs import End, Outcome, Task, argument_list
from cv3d.batch.outputs import digest_of, remove_tree
from cv3d.batch.places import exists, fetch, put
from cv3d.batch.results import figures_of, last_error
from cv3d.errors import EXIT_BELOW_QUALITY, EXIT_INTERRUPTED, EXIT_OK, Cv3dError, OutputError
from cv3d.formats.atomic import atomic_write_text

Main = Callable[[Sequence[str]], int]
"""A program: takes the arguments after its name, returns its exit code."""

BEGUN = b"{}\n"
"""Sent when a task begins: from now on its time counts."""

_MOST_RESULT = 64 << 20


def load(name: str) -> Main:
    """The function that "module:function" names."""
    module, _, function = name.partition(":")
    found: Main = getattr(import_module(module), function)
    return found


def run_task(task: Task, main: Main, host: str) -> Outcome:
    """Run one job in this process, its streams redirected, and look at what it wrote."""
    begin = time.monotonic()
    work = Path(task.work)
    with contextlib.suppress(FileExistsError):
        work.mkdir(parents=True)
    said = ""
    try:
        with _redirected(task.log) as result_file:
            source = fetch(task.input, work / ".input") if task.input else ""
            code = _call(main, argument_list(task, source, str(work / task.output)))
            size = os.lseek(result_file, 0, os.SEEK_END)
            if size <= _MOST_RESULT:
                said = os.pread(result_file, size, 0).decode(errors="replace")
    except Cv3dError as error:
        outcome = Outcome(task.id, End.FAILED, error.exit_code, " ".join(str(error).split()))
    else:
        outcome = _judged(task, code, said)
    shutil.rmtree(work / ".input", ignore_errors=True)
    if outcome.output_digest is None:
        remove_tree(work)
    return replace(outcome, seconds=time.monotonic() - begin, host=host, pid=os.getpid())


def _judged(task: Task, code: int, said: str) -> Outcome:
    """The outcome of a command that ran to its end."""
    output = Path(task.work) / task.output
    figures = figures_of(said)
    if code not in (EXIT_OK, EXIT_BELOW_QUALITY):
        end = End.INTERRUPTED if code == EXIT_INTERRUPTED else End.FAILED
        return Outcome(task.id, end, code, last_error(task.log) or f"exit code {code}", figures=figures)
    end = End.DONE if code == EXIT_OK else End.FAILED
    error = "" if code == EXIT_OK else last_error(task.log) or "below the quality asked for"
    try:
        if not task.writes:
            atomic_write_text(output, said)
        if not output.exists():
            if code == EXIT_OK:
                error, end = f"the command wrote nothing to -o {task.output}", End.FAILED
            return Outcome(task.id, end, code, error, figures=figures)
        digest, size = digest_of(output)
        if task.url:
            if not task.replaces and exists(task.url):
                raise OutputError(f"{task.url}: is there already, and not by this batch; --overwrite replaces it")
            put(output, task.url)
    except (Cv3dError, OSError) as problem:
        return Outcome(task.id, End.FAILED, 1, " ".join(str(problem).split()), figures=figures)
    return Outcome(task.id, end, code, error, figures=figures, output_digest=digest, output_bytes=size)


def _call(main: Main, arguments: Sequence[str]) -> int:
    """The exit code of the program, whatever it does to this process's state."""
    folder, environment = Path.cwd(), dict(os.environ)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return main(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, previous)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os.chdir(folder)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)


@contextlib.contextmanager
def _redirected(log: str) -> Iterator[int]:
    """Standard error into the log, standard output into a file without a name, which the block is given."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    try:
        said = os.open(log, flags, 0o666)
    except FileNotFoundError:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        said = os.open(log, flags, 0o666)
    result = _nameless_file()
    kept = os.dup(1), os.dup(2)
    try:
        os.dup2(result, 1)
        os.dup2(said, 2)
        yield result
    finally:
        for k, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, k)
        for descriptor in (*kept, said, result):
            os.close(descriptor)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("result")
    import tempfile

    with tempfile.TemporaryFile() as stream:
        return os.dup(stream.fileno())


def _end_with(connection: socket.socket, parent: int) -> None:
    """End this process, whatever it is doing, when the other end of the socket or the process that holds it is gone."""
    hung_up = select.poll()
    hung_up.register(connection, select.POLLHUP | getattr(select, "POLLRDHUP", 0))
    while not hung_up.poll(1000) and os.getppid() == parent:
        pass
    os._exit(0)


def serve(descriptor: int, program: str) -> None:
    """Run tasks until the other end of the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable(file=2)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    connection = socket.socket(fileno=descriptor)
    threading.Thread(target=_end_with, args=(connection, os.getppid()), daemon=True).start()
    main, host = load(program), socket.gethostname()
    gone = contextlib.suppress(BrokenPipeError, ConnectionResetError)  # the batch was killed: so is what it asked for
    with gone, connection.makefile("rb") as lines:
        for line in lines:
            connection.sendall(BEGUN)
            outcome = run_task(Task(**json.loads(line)), main, host)
            connection.sendall(json.dumps(asdict(outcome)).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
